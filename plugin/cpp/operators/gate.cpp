// SiLU on scalars, and gates on everything else, as one torch operator that is differentiable twice.
//
//   inputs [M, N, D]: C scalars, C gates for each l >= 1, then 2l+1 components of C channels for each l >= 1
//   -> [M, N, (l_max+1)^2, C]; with l_max = 0 a SiLU on [M, N, C]

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "implementation.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using std::int64_t;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

class GateGradient : public Function<GateGradient> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &inputs, const Tensor &sigmoids, const Tensor &gradient,
                        int64_t l_max)
  {
    ctx->save_for_backward({inputs, sigmoids, gradient});
    ctx->saved_data["l_max"] = l_max;
    return implementation(inputs).gate.backward(inputs, sigmoids, gradient, l_max);
  }

  static variable_list backward(AutogradContext *ctx, variable_list cotangent)
  {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(), "mollifield::gate has two derivatives, not three");
    const variable_list s = ctx->get_saved_variables();
    const auto [inputs, gradient] =
        implementation(s[0]).gate.double_backward(s[0], s[1], s[2], cotangent[0], ctx->saved_data["l_max"].toInt());
    return {inputs, {}, gradient, {}};
  }
};

class Gate : public Function<Gate> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &u, int64_t l_max)
  {
    const int64_t n_blocks = (l_max + 1) * (l_max + 1) + l_max;
    TORCH_CHECK_VALUE(l_max >= 0 && u.dim() == 3 && u.size(2) % n_blocks == 0, "inputs: found ", u.sizes(),
                      "; allowed is [M, N, ", n_blocks, " * C]");
    const Tensor inputs = u.contiguous();
    const int64_t n_channels = u.size(2) / n_blocks;
    const Tensor sigmoids = at::sigmoid(inputs.narrow(2, 0, (l_max + 1) * n_channels)).contiguous();
    ctx->save_for_backward({inputs, sigmoids});
    ctx->saved_data["l_max"] = l_max;
    return implementation(inputs).gate.forward(inputs, sigmoids, l_max);
  }

  static variable_list backward(AutogradContext *ctx, variable_list gradient)
  {
    const variable_list s = ctx->get_saved_variables();
    return {GateGradient::apply(s[0], s[1], gradient[0], ctx->saved_data["l_max"].toInt()), {}};
  }
};

Tensor gate(const Tensor &inputs, int64_t l_max) { return Gate::apply(inputs, l_max); }

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("gate(Tensor inputs, int l_max) -> Tensor", mollifield::operators::gate);
}
