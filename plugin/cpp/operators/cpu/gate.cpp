// Gates: shapes in operators/gate.cpp.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "kernels.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;
using std::int64_t;

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

Tensor forward(const Tensor &inputs, const Tensor &sigmoids, int64_t l_max)
{
  Operands o{l_max, inputs, sigmoids, {}, {}, {}, {}, {}, {}};
  o.out = at::empty({inputs.size(0), inputs.size(1), (l_max + 1) * (l_max + 1), o.n_channels()}, inputs.options());
  AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "mollifield::gate",
                             [&] { o.run<scalar_t>(kernels<scalar_t>().gate_forward); });
  return o.out;
}

Tensor backward(const Tensor &inputs, const Tensor &sigmoids, const Tensor &grad_out, int64_t l_max)
{
  Operands o{l_max, inputs, sigmoids, grad_out.contiguous(), {}, {}, at::empty_like(inputs), {}, {}};
  AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "mollifield::gate_backward",
                             [&] { o.run<scalar_t>(kernels<scalar_t>().gate_backward); });
  return o.grad_inputs;
}

std::pair<Tensor, Tensor> double_backward(const Tensor &inputs, const Tensor &sigmoids, const Tensor &grad_out,
                                          const Tensor &tangent, int64_t l_max)
{
  const Tensor gradient = grad_out.contiguous();
  Operands o{l_max,
             inputs,
             sigmoids,
             gradient,
             tangent.contiguous(),
             {},
             {},
             at::empty_like(inputs),
             at::empty_like(gradient)};
  AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "mollifield::gate_double_backward",
                             [&] { o.run<scalar_t>(kernels<scalar_t>().gate_double_backward); });
  return {o.second_inputs, o.second_grad_out};
}

}  // namespace

GateForms gate() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cpu
