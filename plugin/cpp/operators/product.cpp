// The channelwise product of node features as a torch operator, differentiable to any order.
//
// F(a, b, g) = sum over nodes and channels of  g . CG(a, b)  is linear in each argument; operator, backward
// and double backward are its partial derivatives, as for the convolution.
//
//   a [M, N, n_a, C]   b [M, N, n_b, C]  ->  [M, N, K, C];   terms and coefficients: coupling.hpp

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "coupling.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

void check(const Tensor &a, const Tensor &b, const CouplingTable &table) {
  TORCH_CHECK_VALUE(a.dim() == 4 && a.size(2) == table.n_in, "a: found ", a.sizes(), "; allowed is [M, N, ", table.n_in,
                    ", C]");
  TORCH_CHECK_VALUE(b.dim() == 4 && b.size(2) == table.n_edge && b.size(0) == a.size(0) && b.size(1) == a.size(1) &&
                        b.size(3) == a.size(3),
                    "b: found ", b.sizes(), "; allowed is [", a.size(0), ", ", a.size(1), ", ", table.n_edge, ", ",
                    a.size(3), "]");
  TORCH_CHECK_TYPE(a.scalar_type() == b.scalar_type(), "a and b must share one dtype; found ", a.scalar_type(), ", ",
                   b.scalar_type());
  TORCH_CHECK_VALUE(a.is_cpu() && b.is_cpu(), "mollifield::channel_product runs on the CPU; found ", a.device());
}

template <class T, class Kernel>
void run(const CouplingTable &table, const NodeProduct<T> &arguments, std::int64_t n_nodes, Kernel kernel) {
  const Coupling<T> coupling = table.view<T>();
  at::parallel_for(0, n_nodes, 16,
                   [&](std::int64_t begin, std::int64_t end) { kernel(coupling, arguments, begin, end); });
}

Tensor run_forward(const Tensor &first, const Tensor &second, const CouplingTable &table) {
  check(first, second, table);
  const Tensor a = first.contiguous(), b = second.contiguous();
  Tensor out = at::empty({a.size(0), a.size(1), table.n_rows, a.size(3)}, a.options());
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "mollifield::channel_product", [&] {
    NodeProduct<scalar_t> p{};
    p.n_channels = a.size(3);
    p.a = a.const_data_ptr<scalar_t>();
    p.b = b.const_data_ptr<scalar_t>();
    p.out = out.mutable_data_ptr<scalar_t>();
    run(table, p, a.size(0) * a.size(1), kernels<scalar_t>().product_forward);
  });
  return out;
}

void run_backward(const Tensor &first, const Tensor &second, const Tensor &gradient, const CouplingTable &table,
                  Tensor *grad_a, Tensor *grad_b) {
  const Tensor a = first.contiguous(), b = second.contiguous(), g = gradient.contiguous();
  if (grad_a) *grad_a = at::zeros_like(a);
  if (grad_b) *grad_b = at::zeros_like(b);
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "mollifield::channel_product_backward", [&] {
    NodeProduct<scalar_t> p{};
    p.n_channels = a.size(3);
    p.a = a.const_data_ptr<scalar_t>();
    p.b = b.const_data_ptr<scalar_t>();
    p.grad_out = g.const_data_ptr<scalar_t>();
    p.grad_a = grad_a ? grad_a->mutable_data_ptr<scalar_t>() : nullptr;
    p.grad_b = grad_b ? grad_b->mutable_data_ptr<scalar_t>() : nullptr;
    run(table, p, a.size(0) * a.size(1), kernels<scalar_t>().product_backward);
  });
}

Tensor multiply(const Tensor &a, const Tensor &b, const Tensor &terms, const Tensor &coefficients);

// Derivatives of F by a and b, those that are asked for.
class ProductDerivatives : public Function<ProductDerivatives> {
 public:
  static variable_list forward(AutogradContext *ctx, const Tensor &a, const Tensor &b, const Tensor &grad_out,
                               const Tensor &terms, const Tensor &coefficients, std::vector<bool> wanted) {
    ctx->save_for_backward({a, b, grad_out, terms, coefficients});
    ctx->set_materialize_grads(false);
    Tensor da, db;
    run_backward(a, b, grad_out, CouplingTable(terms, coefficients), wanted[0] ? &da : nullptr,
                 wanted[1] ? &db : nullptr);
    const Tensor none = at::empty({0}, a.options());  // autograd takes no undefined outputs
    return {wanted[0] ? da : none, wanted[1] ? db : none};
  }

  // Cotangents v_a, v_b: the derivatives of F(v_a, b, g) + F(a, v_b, g).
  static variable_list backward(AutogradContext *ctx, variable_list v) {
    const variable_list s = ctx->get_saved_variables();
    variable_list total(6);
    const auto add = [&total](int k, const Tensor &term) {
      total[k] = total[k].defined() ? total[k] + term : term;
    };
    for (int slot = 0; slot < 2; ++slot) {
      if (!v[slot].defined()) continue;
      variable_list a = {s[0], s[1]};
      a[slot] = v[slot];
      const int other = 1 - slot;
      if (ctx->needs_input_grad(other)) {
        std::vector<bool> wanted = {other == 0, other == 1};
        add(other, apply(a[0], a[1], s[2], s[3], s[4], wanted)[other]);
      }
      if (ctx->needs_input_grad(2)) add(2, multiply(a[0], a[1], s[3], s[4]));
    }
    return total;
  }
};

class ProductFunction : public Function<ProductFunction> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &a, const Tensor &b, const Tensor &terms,
                        const Tensor &coefficients) {
    ctx->save_for_backward({a, b, terms, coefficients});
    return run_forward(a, b, CouplingTable(terms, coefficients));
  }

  static variable_list backward(AutogradContext *ctx, variable_list grad) {
    const variable_list s = ctx->get_saved_variables();
    const std::vector<bool> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1)};
    const variable_list d = ProductDerivatives::apply(s[0], s[1], grad[0], s[2], s[3], wanted);
    variable_list out(4);
    for (int k = 0; k < 2; ++k)
      if (wanted[k]) out[k] = d[k];
    return out;
  }
};

Tensor multiply(const Tensor &a, const Tensor &b, const Tensor &terms, const Tensor &coefficients) {
  return ProductFunction::apply(a, b, terms, coefficients);
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library) {
  library.def("channel_product(Tensor a, Tensor b, Tensor terms, Tensor coefficients) -> Tensor",
              mollifield::operators::multiply);
}
