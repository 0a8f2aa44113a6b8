// An exported model evaluated layer by layer (contract.py), and differentiated by hand from layer to layer, so that
// processes exchange features and gradients in between. Internal: needs torch.
#pragma once

#include "halo.hpp"

#include <torch/script.h>

#include <array>

namespace mollifield {

struct StageInputs {
  at::Tensor edge_vectors;     // [G, E, 3] leaf that asks for its gradient
  at::Tensor edge_index;       // [2, E]
  at::Tensor types;            // [N'] atoms that receive, then ghosts that only send
  at::Tensor asked;            // Halo::asked(), where there is a halo
  std::int64_t n_centres = 0;  // atoms that receive
  std::int64_t n_local = 0;    // atoms that count in the energy
};

// What is differentiated of energies [M, N]: the sum over members, or each of them, of those in `basis` [R] where it is
// defined; of the first `n_local` atoms.
std::vector<at::Tensor> member_energies(const at::Tensor &atomic_energies, std::int64_t n_local, bool by_member,
                                        const at::Tensor &basis);

class StagedEvaluation {
 public:
  // `halo`: null where no ghost row comes from elsewhere. With `moments`, backward() finds `edge_moments` too.
  // `by_member`: gradients of each member (of `basis`), which share a trunk: several seeds through one graph and one
  // exchange.
  StagedEvaluation(torch::jit::Module &module, int n_layers, const StageInputs &inputs, Halo *halo, bool moments,
                   bool by_member, at::Tensor basis, const at::Tensor &mixing);

  void forward();
  void backward();

  at::Tensor atomic_energies, latent, noise_features;  // [M, N], [T, N, L], [T, N, F]
  at::Tensor edge_gradients;  // [G, E, 3] dE/d(edge_vectors), E of local atoms; by member [M or R, E, 3]
  // [3 (a), G, E, 3 (b)] sum over atoms m of (r_m - r_i)_a dE_m/d(edge_vectors_ij)_b: the energy that an edge moves
  // in atoms other than its centre, times how far away they are.
  at::Tensor edge_moments;

  // Whether `module` has the methods that this needs.
  static bool is_possible(const torch::jit::Module &module);
  static const std::vector<std::string> METHODS;

 private:
  struct Layer {
    at::Tensor x;         // [T, N, ...] leaf: features of receiving atoms
    at::Tensor sent;      // [T, N, K, C] send(x)
    at::Tensor all_sent;  // [T, N', K, C] leaf: with the rows of ghosts
    at::Tensor by_edge;   // [T, E, K, C] row of every edge's neighbour, where moments are asked for and edges exist
    at::Tensor out;       // [T, N, ...] receive(...)
  };
  // Gradients of one scalar by what a layer takes in; undefined where there are none.
  struct Adjoint {
    at::Tensor x, sent, by_edge;
    std::array<at::Tensor, 3> geometry;  // harmonics, lengths, basis
  };

  torch::jit::Module &module;
  const int n_layers;
  const StageInputs &inputs;
  Halo *const halo;
  const bool moments, by_member;
  const at::Tensor basis;
  std::vector<double> shares;  // how often each of the basis stands in the sum over all members; empty: once
  // Seeds: energies, of which there are `n_energies`, then the moments of their sum along x, y, z.
  std::size_t n_energies = 1, n_seeds = 1;

  std::array<at::Tensor, 3> embedded, geometry;  // outputs of embed, and leaves of the same values
  std::vector<Layer> layers;
  at::Tensor last;  // leaf: features that are read

  at::Tensor call(const char *method, std::vector<c10::IValue> arguments);
  Adjoint pull(const Layer &layer, const at::Tensor &seed);
  void embed(at::Tensor &x);
  void run_layer(int k, const at::Tensor &x);
  at::Tensor with_ghosts(const at::Tensor &sent);
  at::Tensor return_ghosts(const at::Tensor &gradient);
  std::vector<at::Tensor> seeds_below(const Layer &layer, const std::vector<Adjoint> &adjoints);
  void to_edges(const std::vector<std::array<at::Tensor, 3>> &gradients);
};

}  // namespace mollifield
