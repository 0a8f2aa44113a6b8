// Lengths and spherical harmonics of edges as one torch operator, differentiable twice: once for forces,
// once more to train on them.
//
//   edge_vectors [G, E, 3], l_max -> harmonics [G, E, (l_max+1)^2], lengths [G, E]
//
// Harmonics are e3nn's: real, of the unit vector, components in e3nn's order, `component` normalisation
// (the sum of squares of one l is 2l+1).

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "implementation.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Gradient by the edge vectors, given those by harmonics and lengths.
class GeometryGradient : public Function<GeometryGradient> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r,
                        std::int64_t l_max)
  {
    ctx->save_for_backward({vectors, grad_y, grad_r});
    ctx->saved_data["l_max"] = l_max;
    return implementation(vectors).edge_geometry.backward(vectors, grad_y, grad_r, l_max);
  }

  static variable_list backward(AutogradContext *ctx, variable_list cotangent)
  {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(),
                                "mollifield::edge_geometry has two derivatives, not three");
    const variable_list s = ctx->get_saved_variables();
    const auto [vectors, harmonics, lengths] = implementation(s[0]).edge_geometry.double_backward(
        s[0], s[1], s[2], cotangent[0], ctx->saved_data["l_max"].toInt());
    return {vectors, harmonics, lengths, {}};
  }
};

class Geometry : public Function<Geometry> {
 public:
  static variable_list forward(AutogradContext *ctx, const Tensor &vectors, std::int64_t l_max)
  {
    TORCH_CHECK_VALUE(l_max >= 0, "l_max = ", l_max, "; allowed is 0 or more");
    TORCH_CHECK_VALUE(vectors.dim() == 3 && vectors.size(2) == 3, "edge_vectors: found ", vectors.sizes(),
                      "; allowed is [G, E, 3]");
    ctx->save_for_backward({vectors});
    ctx->saved_data["l_max"] = l_max;
    const auto [harmonics, lengths] = implementation(vectors).edge_geometry.forward(vectors, l_max);
    return {harmonics, lengths};
  }

  static variable_list backward(AutogradContext *ctx, variable_list grad)
  {
    const variable_list s = ctx->get_saved_variables();
    return {GeometryGradient::apply(s[0], grad[0], grad[1], ctx->saved_data["l_max"].toInt()), {}};
  }
};

std::tuple<Tensor, Tensor> edge_geometry(const Tensor &edge_vectors, std::int64_t l_max)
{
  const variable_list out = Geometry::apply(edge_vectors, l_max);
  return {out[0], out[1]};
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("edge_geometry(Tensor edge_vectors, int l_max) -> (Tensor harmonics, Tensor lengths)",
              mollifield::operators::edge_geometry);
}
