// A matrix for each degree l and member, applied to the 2l+1 components alike, as a torch operator.
//
//   x [M, N, K, C]: rows offset(l) + m * n_paths[l] + path     weight [M, W]: [n_paths[l] * C, width(l)] for each l
//   -> [M, N, D]: width(0) = n_scalars, then (2l+1) times width(l) = n_out for each l
//
// Entries are scaled by scale / sqrt(n_paths[l] * C). Bilinear in x and weight; see bilinear.hpp.

#include "linear.hpp"

#include <torch/library.h>

#include <cmath>

#include "bilinear.hpp"
#include "implementation.hpp"

namespace mollifield::operators {

using at::Tensor;
using std::int64_t;

LinearBlocks::LinearBlocks(const std::vector<int64_t> &n_paths, int64_t n_channels, int64_t n_out, int64_t n_scalars,
                           double scale)
{
  for (std::size_t l = 0; l < n_paths.size(); ++l) {
    const int64_t fan_in = n_paths[l] * n_channels, width = l == 0 ? n_scalars : n_out;
    const int64_t n_components = 2 * static_cast<int64_t>(l) + 1;
    all.push_back({n_components, fan_in, width, n_rows * n_channels, n_weights, n_outputs,
                   scale / std::sqrt(static_cast<double>(fan_in))});
    n_rows += n_components * n_paths[l];
    n_weights += fan_in * width;
    n_outputs += n_components * width;
  }
}

namespace {

void check(const Tensor &x, const Tensor &weight, const LinearBlocks &blocks)
{
  TORCH_CHECK_VALUE(x.dim() == 4 && x.size(2) == blocks.n_rows, "x: found ", x.sizes(), "; allowed is [M, N, ",
                    blocks.n_rows, ", C]");
  TORCH_CHECK_VALUE(weight.dim() == 2 && weight.size(0) == x.size(0) && weight.size(1) == blocks.n_weights,
                    "weight: found ", weight.sizes(), "; allowed is [", x.size(0), ", ", blocks.n_weights, "]");
  check_alike("x and weight", {x, weight});
}

struct Linear {
  static LinearBlocks blocks(const c10::IValue &parameters, const Tensor &x)
  {
    const auto &p = parameters.toTupleRef().elements();
    return {p[0].toIntVector(), x.size(-1), p[1].toInt(), p[2].toInt(), p[3].toDouble()};
  }
  static Tensor forward(const Tensor &x, const Tensor &weight, const c10::IValue &parameters)
  {
    const LinearBlocks found = blocks(parameters, x);
    check(x, weight, found);
    return implementation(x).linear.forward(x, weight, found);
  }
  static void backward(const Tensor &x, const Tensor &weight, const Tensor &grad_out, const c10::IValue &parameters,
                       Tensor *grad_x, Tensor *grad_weight)
  {
    implementation(x).linear.backward(x, weight, grad_out, blocks(parameters, x), grad_x, grad_weight);
  }
};

Tensor linear(const Tensor &x, const Tensor &weight, std::vector<int64_t> n_paths, int64_t n_out, int64_t n_scalars,
              double scale)
{
  return bilinear<Linear>(x, weight, c10::ivalue::Tuple::create({c10::IValue(n_paths), n_out, n_scalars, scale}));
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("linear(Tensor x, Tensor weight, int[] n_paths, int n_out, int n_scalars, float scale) -> Tensor",
              mollifield::operators::linear);
}
