// Operators that are linear in each of two arguments, differentiable to any order by one scheme.
//
// With F(a, b, g) = <g, op(a, b)>, operator, backward and double backward are partial derivatives of F. An operator
// `Op` gives the two kernels, and everything else follows:
//   static Tensor forward(const Tensor &a, const Tensor &b, const c10::IValue &parameters)
//   static void backward(const Tensor &a, const Tensor &b, const Tensor &g, const c10::IValue &parameters,
//                        Tensor *grad_a, Tensor *grad_b)                                     null: not wanted
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

namespace mollifield::operators {

template <class Op> at::Tensor bilinear(const at::Tensor &a, const at::Tensor &b, const c10::IValue &parameters);

// Derivatives of F by a and b, those that are asked for; the others come back empty.
template <class Op> class BilinearDerivatives : public torch::autograd::Function<BilinearDerivatives<Op>> {
 public:
  using Tensors = torch::autograd::variable_list;

  static Tensors forward(torch::autograd::AutogradContext *ctx, const at::Tensor &a, const at::Tensor &b,
                         const at::Tensor &gradient, const c10::IValue &parameters, std::vector<bool> wanted)
  {
    ctx->save_for_backward({a, b, gradient});
    ctx->saved_data["parameters"] = parameters;
    ctx->set_materialize_grads(false);
    at::Tensor grad_a, grad_b;
    Op::backward(a, b, gradient, parameters, wanted[0] ? &grad_a : nullptr, wanted[1] ? &grad_b : nullptr);
    const at::Tensor none = at::empty({0}, a.options());  // autograd takes no undefined outputs
    return {wanted[0] ? grad_a : none, wanted[1] ? grad_b : none};
  }

  // Cotangents v_a, v_b: the derivatives of F(v_a, b, g) + F(a, v_b, g).
  static Tensors backward(torch::autograd::AutogradContext *ctx, Tensors v)
  {
    const Tensors saved = ctx->get_saved_variables();
    const c10::IValue parameters = ctx->saved_data["parameters"];
    Tensors total(5);
    const auto add = [&total](int k, const at::Tensor &term) {
      total[k] = total[k].defined() ? total[k] + term : term;
    };
    for (int slot = 0; slot < 2; ++slot) {
      if (!v[slot].defined()) continue;
      Tensors arguments = {saved[0], saved[1]};
      arguments[slot] = v[slot];
      const int other = 1 - slot;
      if (ctx->needs_input_grad(other)) {
        const std::vector<bool> wanted = {other == 0, other == 1};
        add(other, BilinearDerivatives::apply(arguments[0], arguments[1], saved[2], parameters, wanted)[other]);
      }
      if (ctx->needs_input_grad(2)) add(2, bilinear<Op>(arguments[0], arguments[1], parameters));
    }
    return total;
  }
};

template <class Op> class Bilinear : public torch::autograd::Function<Bilinear<Op>> {
 public:
  using Tensors = torch::autograd::variable_list;

  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &a, const at::Tensor &b,
                            const c10::IValue &parameters)
  {
    ctx->save_for_backward({a, b});
    ctx->saved_data["parameters"] = parameters;
    return Op::forward(a, b, parameters);
  }

  static Tensors backward(torch::autograd::AutogradContext *ctx, Tensors gradient)
  {
    const Tensors saved = ctx->get_saved_variables();
    const std::vector<bool> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1)};
    const Tensors found =
        BilinearDerivatives<Op>::apply(saved[0], saved[1], gradient[0], ctx->saved_data["parameters"], wanted);
    return {wanted[0] ? found[0] : at::Tensor(), wanted[1] ? found[1] : at::Tensor(), at::Tensor()};
  }
};

template <class Op> at::Tensor bilinear(const at::Tensor &a, const at::Tensor &b, const c10::IValue &parameters)
{
  return Bilinear<Op>::apply(a, b, parameters);
}

}  // namespace mollifield::operators
