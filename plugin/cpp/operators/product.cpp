// The channelwise product of node features as a torch operator, differentiable to any order.
//
// F(a, b, g) = sum over nodes and channels of  g . CG(a, b); see bilinear.hpp.
//
//   a [M, N, n_a, C]   b [M, N, n_b, C]  ->  [M, N, K, C];   terms and coefficients: coupling.hpp

#include <torch/library.h>

#include "bilinear.hpp"
#include "implementation.hpp"

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
  check_alike("a and b", {a, b});
}

struct ChannelProduct {
  static std::shared_ptr<const CouplingTable> table(const c10::IValue &parameters)
  {
    const auto &tensors = parameters.toTupleRef().elements();
    return coupling_table(tensors[0].toTensor(), tensors[1].toTensor());
  }
  static Tensor forward(const Tensor &a, const Tensor &b, const c10::IValue &parameters)
  {
    const auto coupling = table(parameters);
    check(a, b, *coupling);
    return implementation(a).channel_product.forward(a, b, *coupling);
  }
  static void backward(const Tensor &a, const Tensor &b, const Tensor &gradient, const c10::IValue &parameters,
                       Tensor *grad_a, Tensor *grad_b)
  {
    implementation(a).channel_product.backward(a, b, gradient, *table(parameters), grad_a, grad_b);
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
