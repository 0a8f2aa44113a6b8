// Products of node features: shapes in operators/product.cpp.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "layout.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;

template <class T, class Kernel>
void run(const CouplingTable &table, const NodeProduct<T> &arguments, std::int64_t n_nodes, Kernel kernel)
{
  const CouplingLayout<T> layout(table);
  const Coupling<T> coupling = layout.view();
  at::parallel_for(0, n_nodes, 16,
                   [&](std::int64_t begin, std::int64_t end) { kernel(coupling, arguments, begin, end); });
}

Tensor forward(const Tensor &first, const Tensor &second, const CouplingTable &table)
{
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

void backward(const Tensor &first, const Tensor &second, const Tensor &gradient, const CouplingTable &table,
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

}  // namespace

ChannelProductForms channel_product() { return {forward, backward}; }

}  // namespace mollifield::operators::cpu
