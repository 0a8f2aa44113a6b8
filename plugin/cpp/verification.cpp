// The reference frames of a model file, recomputed.
#include "contract.hpp"
#include "potential_implementation.hpp"

#include <algorithm>
#include <stdexcept>

namespace mollifield {

namespace {

// Absolute floor, and the fraction of the largest reference value added to it.
double reference_tolerance(at::ScalarType dtype)
{
  return dtype == at::kDouble ? contract::REFERENCE_TOLERANCE_FLOAT64 : contract::REFERENCE_TOLERANCE_FLOAT32;
}

at::Tensor attribute_tensor(const c10::impl::GenericDict &frame, const std::string &key)
{
  if (!frame.contains(key)) throw std::runtime_error("a reference frame has no '" + key + "'");
  return frame.at(key).toTensor();
}

// Forces [M, N, 3] and virials [M, 3, 3] of contract.py from member gradients [M, E, 3].
std::pair<at::Tensor, at::Tensor> forces_and_virials(const at::Tensor &gradients, const at::Tensor &edge_index,
                                                     const at::Tensor &edge_vectors, std::int64_t n_atoms)
{
  auto forces = at::zeros({gradients.size(0), n_atoms, 3}, at::kDouble);
  forces.index_add_(1, edge_index[0], gradients);
  forces.index_add_(1, edge_index[1], -gradients);
  return {forces, -at::einsum("ea,meb->mab", {edge_vectors, gradients})};
}

// Of a system that one process holds.
class NoHalo : public Halo {
 public:
  const std::vector<std::int64_t> &asked() const override { return nobody; }
  void forward(const void *, void *, std::size_t) override {}
  void reverse(const void *, void *, std::size_t) override {}

 private:
  const std::vector<std::int64_t> nobody;
};

void compare(const std::string &name, const at::Tensor &found, const at::Tensor &expected, double per, double tolerance,
             std::size_t frame)
{
  if (found.sizes() != expected.sizes())
    throw std::runtime_error("reference frame " + std::to_string(frame) + ": '" + name + "' has the wrong shape");
  if (expected.numel() == 0) return;
  const double scale = expected.abs().max().item<double>() / per;
  const double deviation = (found - expected).abs().max().item<double>() / per;
  // Written so that a NaN fails.
  if (!(deviation <= tolerance * (1.0 + scale)))
    throw std::runtime_error("reference frame " + std::to_string(frame) + ": recomputed " + name + " deviate by " +
                             std::to_string(deviation) + ", allowed: " + std::to_string(tolerance * (1.0 + scale)) +
                             " (eV, Å); this build does not reproduce the file's own numbers");
}

}  // namespace

// [n_members, ...] of what the frame holds for the members of the file.
at::Tensor Potential::Implementation::reference(const c10::impl::GenericDict &frame, const std::string &key) const
{
  const auto tensor = attribute_tensor(frame, key).to(at::kCPU, at::kDouble);
  return only_member < 0 ? tensor : tensor.narrow(0, only_member, 1);
}

void Potential::Implementation::verify_frame(const c10::impl::GenericDict &frame, std::size_t number) const
{
  const auto edge_vectors = attribute_tensor(frame, contract::REF_EDGE_VECTORS).to(at::kCPU, at::kDouble).contiguous();
  const auto edge_index = attribute_tensor(frame, contract::REF_EDGE_INDEX).to(at::kCPU, at::kLong).contiguous();
  const auto types = attribute_tensor(frame, contract::REF_TYPES).to(at::kCPU, at::kLong).contiguous();
  Graph graph;
  graph.n_local = types.numel();
  graph.types.assign(types.data_ptr<std::int64_t>(), types.data_ptr<std::int64_t>() + types.numel());
  graph.edge_index.assign(edge_index.data_ptr<std::int64_t>(),
                          edge_index.data_ptr<std::int64_t>() + edge_index.numel());
  graph.edge_vectors = to_vector(edge_vectors);

  Evaluation result = evaluate(graph, {.members = true});
  const auto energies = torch::from_blob(result.member_energies.data(), {n_members}, at::kDouble);
  const auto gradients = torch::from_blob(
      result.member_edge_gradients.data(),
      {n_members, static_cast<std::int64_t>(result.member_edge_gradients.size()) / (3 * n_members), 3}, at::kDouble);
  const auto [forces, virials] = forces_and_virials(gradients, edge_index, edge_vectors, graph.n_local);
  const double tolerance = reference_tolerance(dtype), n_atoms = std::max<double>(1.0, graph.n_local);
  compare("energies", energies, reference(frame, contract::REF_ENERGIES), n_atoms, tolerance, number);
  compare("forces", forces, reference(frame, contract::REF_FORCES), 1.0, tolerance, number);
  compare("virials", virials, reference(frame, contract::REF_VIRIALS), n_atoms, tolerance, number);

  // The paths that molecular dynamics takes: shared geometry, mean gradients; in one go, and layer by layer.
  const auto check_mean = [&](Evaluation shared) {
    const auto mean = torch::from_blob(shared.edge_gradients.data(), {gradients.size(1), 3}, at::kDouble);
    compare("mean gradients", mean, gradients.mean(0), 1.0, tolerance, number);
  };
  check_mean(evaluate(graph));
  NoHalo alone;
  if (has_stages()) check_mean(evaluate(graph, {.halo = &alone}));
}

void Potential::Implementation::verify()
{
  const auto frames = attribute(contract::REFERENCE_KEY).toListRef();
  if (frames.empty()) throw std::runtime_error("it holds no reference frame to verify this build with");
  for (std::size_t number = 0; number < frames.size(); ++number) verify_frame(frames[number].toGenericDict(), number);
}

}  // namespace mollifield
