// SiLU on scalars, and gates on everything else, as one torch operator that is differentiable twice.
//
//   inputs [M, N, D]: C scalars, C gates for each l >= 1, then 2l+1 components of C channels for each l >= 1
//   -> [M, N, (l_max+1)^2, C]; with l_max = 0 a SiLU on [M, N, C]

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "kernels.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using std::int64_t;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

template <class T> const T *data(const Tensor &tensor)
{
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}
template <class T> T *writable(const Tensor &tensor)
{
  return tensor.defined() ? tensor.mutable_data_ptr<T>() : nullptr;
}

// Which of the tensors are needed depends on the kernel.
struct Operands {
  int64_t l_max;
  Tensor inputs, sigmoids, grad_out, tangent;
  Tensor out, grad_inputs, second_inputs, second_grad_out;

  int64_t n_channels() const { return sigmoids.size(2) / (l_max + 1); }

  template <class T, class Kernel> void run(Kernel kernel) const
  {
    const GateArguments<T> arguments = {static_cast<int>(l_max),
                                        n_channels(),
                                        data<T>(inputs),
                                        data<T>(sigmoids),
                                        data<T>(grad_out),
                                        data<T>(tangent),
                                        writable<T>(out),
                                        writable<T>(grad_inputs),
                                        writable<T>(second_inputs),
                                        writable<T>(second_grad_out)};
    at::parallel_for(0, inputs.size(0) * inputs.size(1), 256,
                     [&](int64_t begin, int64_t end) { kernel(arguments, begin, end); });
  }
};

class GateGradient : public Function<GateGradient> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &inputs, const Tensor &sigmoids, const Tensor &gradient,
                        int64_t l_max)
  {
    ctx->save_for_backward({inputs, sigmoids, gradient});
    ctx->saved_data["l_max"] = l_max;
    Operands o{l_max, inputs, sigmoids, gradient.contiguous(), {}, {}, at::empty_like(inputs), {}, {}};
    AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "mollifield::gate_backward",
                               [&] { o.run<scalar_t>(kernels<scalar_t>().gate_backward); });
    return o.grad_inputs;
  }

  static variable_list backward(AutogradContext *ctx, variable_list cotangent)
  {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(), "mollifield::gate has two derivatives, not three");
    const variable_list s = ctx->get_saved_variables();
    const Tensor gradient = s[2].contiguous();
    Operands o{ctx->saved_data["l_max"].toInt(), s[0], s[1], gradient,
               cotangent[0].contiguous(),        {},   {},   at::empty_like(s[0]),
               at::empty_like(gradient)};
    AT_DISPATCH_FLOATING_TYPES(s[0].scalar_type(), "mollifield::gate_double_backward",
                               [&] { o.run<scalar_t>(kernels<scalar_t>().gate_double_backward); });
    return {o.second_inputs, {}, o.second_grad_out, {}};
  }
};

class Gate : public Function<Gate> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &u, int64_t l_max)
  {
    const int64_t n_rows = (l_max + 1) * (l_max + 1), n_blocks = n_rows + l_max;
    TORCH_CHECK_VALUE(l_max >= 0 && u.dim() == 3 && u.size(2) % n_blocks == 0, "inputs: found ", u.sizes(),
                      "; allowed is [M, N, ", n_blocks, " * C]");
    TORCH_CHECK_VALUE(u.is_cpu(), "mollifield::gate runs on the CPU; found ", u.device());
    const Tensor inputs = u.contiguous();
    const int64_t n_channels = u.size(2) / n_blocks;
    const Tensor sigmoids = at::sigmoid(inputs.narrow(2, 0, (l_max + 1) * n_channels)).contiguous();
    ctx->save_for_backward({inputs, sigmoids});
    ctx->saved_data["l_max"] = l_max;
    Operands o{l_max, inputs, sigmoids, {}, {}, at::empty({u.size(0), u.size(1), n_rows, n_channels}, u.options()),
               {},    {},     {}};
    AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "mollifield::gate",
                               [&] { o.run<scalar_t>(kernels<scalar_t>().gate_forward); });
    return o.out;
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
