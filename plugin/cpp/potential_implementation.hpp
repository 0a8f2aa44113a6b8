// What Potential keeps out of its public header. Internal: needs torch.
#pragma once

#include "potential.hpp"
#include "stages.hpp"

#include <torch/script.h>

namespace mollifield {

// On the host, as double.
std::vector<double> to_vector(const at::Tensor &tensor);

// What a model gives, before it is turned into plain numbers: as members of StagedEvaluation; by member of all members.
struct Differentiated {
  at::Tensor atomic_energies, latent, noise_features, edge_gradients, edge_moments;
};

// [t, n, W] of trunks from `first` on -> what atoms `nodes` have, those of which there are any; null: all in order.
// `features` says how many trunks and atoms there are.
void put_features(Features &features, const at::Tensor &found, std::size_t first, const std::vector<int> *nodes);

struct Potential::Implementation {
  std::string path, checksum;
  torch::jit::Module module;          // as in the file
  mutable torch::jit::Module frozen;  // the same for calls: weights are constants, what depends on them alone folded
  torch::Device device{"cpu"};
  std::string device_name, dtype_name;
  at::ScalarType dtype = at::kFloat;
  std::vector<std::string> species;
  Calibration calibration;
  std::vector<std::string> labels;
  LatentSpace latent_space;
  double r_max = 0.0;
  int n_layers = 0, n_members = 0, threads = 1;
  int only_member = -1;  // of the file's members, the one in `module`; -1: all
  bool shared_trunk = false;
  at::Tensor basis, mixing;  // contract::BASIS_KEY, MIXING_KEY; undefined where the file has none
  bool verified = false;
  mutable std::vector<std::shared_ptr<Implementation>> members;  // each as a model of its own, once it was needed

  c10::IValue attribute(const std::string &name) const
  {
    if (!module.hasattr(name)) throw std::runtime_error("it has no attribute '" + name + "'");
    return module.attr(name);
  }

  at::Tensor reference(const c10::impl::GenericDict &frame, const std::string &key) const;
  void keep_member(int k);
  // Member k as a model of its own.
  std::unique_ptr<Implementation> single(int k, bool with_verification) const;
  void freeze();
  void read_attributes();
  void check_attributes() const;
  void verify();
  void verify_frame(const c10::impl::GenericDict &frame, std::size_t number) const;
  bool has_stages() const;
  void mix_members(at::Tensor &edge_gradients) const;
  bool has_noise_head() const;
  Noise noise(const Graph &graph, const Evaluation &evaluation, const std::vector<double> &forces) const;
  // `inputs` with edge vectors [1, E, 3] as they are; without edges there may be no gradients.
  Differentiated differentiate(StageInputs &inputs, const Request &request) const;
  Evaluation evaluate(const Graph &graph, const Request &request = {}) const;
  Evaluation evaluate(const ResidentGraph &graph, const double *positions, double unit, const Request &request) const;
  Evaluation evaluate_stream(const Graph &graph, const Request &request) const;
};

}  // namespace mollifield
