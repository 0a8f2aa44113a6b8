// The channelwise product of node features as a torch operator, differentiable to any order.
//
// F(a, b, g) = sum over nodes and channels of  g . CG(a, b); see bilinear.hpp.
//
//   a [M, N, n_a, C]   b [M, N, n_b, C]  ->  [M, N, K, C];   terms and coefficients: coupling.hpp

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "bilinear.hpp"
#include "coupling.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;

void check(const Tensor &a, const Tensor &b, const CouplingTable &table)
{
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
void run(const CouplingTable &table, const NodeProduct<T> &arguments, std::int64_t n_nodes, Kernel kernel)
{
  const Coupling<T> coupling = table.view<T>();
  at::parallel_for(0, n_nodes, 16,
                   [&](std::int64_t begin, std::int64_t end) { kernel(coupling, arguments, begin, end); });
}

Tensor run_forward(const Tensor &first, const Tensor &second, const CouplingTable &table)
{
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
                  Tensor *grad_a, Tensor *grad_b)
{
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

struct ChannelProduct {
  static CouplingTable table(const c10::IValue &parameters)
  {
    const auto &tensors = parameters.toTupleRef().elements();
    return CouplingTable(tensors[0].toTensor(), tensors[1].toTensor());
  }
  static Tensor forward(const Tensor &a, const Tensor &b, const c10::IValue &parameters)
  {
    return run_forward(a, b, table(parameters));
  }
  static void backward(const Tensor &a, const Tensor &b, const Tensor &gradient, const c10::IValue &parameters,
                       Tensor *grad_a, Tensor *grad_b)
  {
    run_backward(a, b, gradient, table(parameters), grad_a, grad_b);
  }
};

Tensor multiply(const Tensor &a, const Tensor &b, const Tensor &terms, const Tensor &coefficients)
{
  return bilinear<ChannelProduct>(a, b, c10::ivalue::Tuple::create({terms, coefficients}));
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("channel_product(Tensor a, Tensor b, Tensor terms, Tensor coefficients) -> Tensor",
              mollifield::operators::multiply);
}
