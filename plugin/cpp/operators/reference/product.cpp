// Products of node features: shapes in operators/product.cpp. The order of the factors keeps what lies between small.

#include "implementation.hpp"

namespace mollifield::operators::reference {
namespace {

using at::Tensor;

Tensor forward(const Tensor &a, const Tensor &b, const CouplingTable &table)
{
  return at::einsum("mnac,mnbc,kab->mnkc", {a, b, dense_coupling(table, a)});
}

void backward(const Tensor &a, const Tensor &b, const Tensor &grad_out, const CouplingTable &table, Tensor *grad_a,
              Tensor *grad_b)
{
  const Tensor coupling = dense_coupling(table, a);
  if (grad_a) *grad_a = at::einsum("kab,mnkc,mnbc->mnac", {coupling, grad_out, b});
  if (grad_b) *grad_b = at::einsum("kab,mnkc,mnac->mnbc", {coupling, grad_out, a});
}

}  // namespace

ChannelProductForms channel_product() { return {forward, backward}; }

}  // namespace mollifield::operators::reference
