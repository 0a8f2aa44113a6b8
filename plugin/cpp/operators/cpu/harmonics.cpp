// Lengths and harmonics: conventions in operators/harmonics.cpp.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "kernels.hpp"
#include "operators/reference/implementation.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;

// Beyond this degree the reference is asked, on the CPU too.
constexpr std::int64_t kLargestL = 3;

template <class T, class Kernel> void run(const Tensor &vectors, const EdgeGeometry<T> &arguments, Kernel kernel)
{
  at::parallel_for(0, vectors.size(0) * vectors.size(1), 512,
                   [&](std::int64_t begin, std::int64_t end) { kernel(arguments, begin, end); });
}

std::pair<Tensor, Tensor> forward(const Tensor &vectors, std::int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().forward(vectors, l_max);
  const Tensor d = vectors.contiguous();
  Tensor harmonics = at::empty({d.size(0), d.size(1), (l_max + 1) * (l_max + 1)}, d.options());
  Tensor lengths = at::empty({d.size(0), d.size(1)}, d.options());
  AT_DISPATCH_FLOATING_TYPES(d.scalar_type(), "mollifield::edge_geometry", [&] {
    EdgeGeometry<scalar_t> g{};
    g.l_max = static_cast<int>(l_max);
    g.vectors = d.const_data_ptr<scalar_t>();
    g.harmonics = harmonics.mutable_data_ptr<scalar_t>();
    g.lengths = lengths.mutable_data_ptr<scalar_t>();
    run(d, g, kernels<scalar_t>().geometry_forward);
  });
  return {harmonics, lengths};
}

Tensor backward(const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r, std::int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().backward(vectors, grad_y, grad_r, l_max);
  const Tensor d = vectors.contiguous(), gy = grad_y.contiguous(), gr = grad_r.contiguous();
  Tensor out = at::empty_like(d);
  AT_DISPATCH_FLOATING_TYPES(d.scalar_type(), "mollifield::edge_geometry_backward", [&] {
    EdgeGeometry<scalar_t> g{};
    g.l_max = static_cast<int>(l_max);
    g.vectors = d.const_data_ptr<scalar_t>();
    g.grad_harmonics = gy.const_data_ptr<scalar_t>();
    g.grad_lengths = gr.const_data_ptr<scalar_t>();
    g.grad_vectors = out.mutable_data_ptr<scalar_t>();
    run(d, g, kernels<scalar_t>().geometry_backward);
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> double_backward(const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r,
                                                   const Tensor &tangent, std::int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().double_backward(vectors, grad_y, grad_r, tangent, l_max);
  const Tensor d = vectors.contiguous(), gy = grad_y.contiguous(), gr = grad_r.contiguous(), w = tangent.contiguous();
  Tensor out_d = at::empty_like(d), out_y = at::empty_like(gy), out_r = at::empty_like(gr);
  AT_DISPATCH_FLOATING_TYPES(d.scalar_type(), "mollifield::edge_geometry_double_backward", [&] {
    EdgeGeometry<scalar_t> g{};
    g.l_max = static_cast<int>(l_max);
    g.vectors = d.const_data_ptr<scalar_t>();
    g.grad_harmonics = gy.const_data_ptr<scalar_t>();
    g.grad_lengths = gr.const_data_ptr<scalar_t>();
    g.tangent = w.const_data_ptr<scalar_t>();
    g.grad_vectors = out_d.mutable_data_ptr<scalar_t>();
    g.harmonics = out_y.mutable_data_ptr<scalar_t>();
    g.lengths = out_r.mutable_data_ptr<scalar_t>();
    run(d, g, kernels<scalar_t>().geometry_double_backward);
  });
  return {out_d, out_y, out_r};
}

}  // namespace

EdgeGeometryForms edge_geometry() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cpu
