// Gates: shapes in operators/gate.cpp.

#include "derivatives.hpp"
#include "implementation.hpp"
#include "operators/activation.hpp"

namespace mollifield::operators::reference {
namespace {

using at::Tensor;

Tensors gated(const Tensor &inputs, std::int64_t l_max)
{
  const std::int64_t n_channels = inputs.size(2) / ((l_max + 1) * (l_max + 1) + l_max);
  Tensors rows = {kSiluScale * at::silu(inputs.narrow(2, 0, n_channels)).unsqueeze(2)};
  std::int64_t start = (l_max + 1) * n_channels;
  for (std::int64_t l = 1; l <= l_max; ++l) {
    const std::int64_t width = (2 * l + 1) * n_channels;
    const Tensor gates = kSigmoidScale * at::sigmoid(inputs.narrow(2, l * n_channels, n_channels)).unsqueeze(2);
    rows.push_back(gates * inputs.narrow(2, start, width).unflatten(2, {2 * l + 1, n_channels}));
    start += width;
  }
  return {at::cat(rows, 2)};
}

// The sigmoids are computed again: they depend on the inputs.
Tensor forward(const Tensor &inputs, const Tensor &, std::int64_t l_max) { return gated(inputs, l_max)[0]; }

Tensor backward(const Tensor &inputs, const Tensor &, const Tensor &grad_out, std::int64_t l_max)
{
  return gradient([=](const Tensor &u) { return gated(u, l_max); }, inputs, {grad_out});
}

std::pair<Tensor, Tensor> double_backward(const Tensor &inputs, const Tensor &, const Tensor &grad_out,
                                          const Tensor &tangent, std::int64_t l_max)
{
  const Tensors found = second_gradients([=](const Tensor &u) { return gated(u, l_max); }, inputs, {grad_out}, tangent);
  return {found[0], found[1]};
}

}  // namespace

GateForms gate() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::reference
