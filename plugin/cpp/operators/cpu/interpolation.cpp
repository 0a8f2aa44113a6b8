// Interpolation: shapes in operators/interpolation.cpp.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "kernels.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;
using std::int64_t;

// Edges, or columns, that are worth a thread.
constexpr int64_t kEdges = 256, kColumns = 32;

template <class T> Interpolation<T> arguments_of(const Positions &at, int64_t n_members, int64_t n_knots, int64_t n)
{
  Interpolation<T> a{};
  a.n_members = n_members;
  a.n_geometries = at.lengths.size(0);
  a.n_edges = at.lengths.size(1);
  a.n_columns = n;
  a.n_knots = n_knots;
  a.inverse_spacing = static_cast<T>(static_cast<double>(n_knots - 1) / at.r_max);
  a.order = at.order;
  a.lengths = at.lengths.const_data_ptr<T>();
  return a;
}

Positions contiguous(const Positions &at) { return {at.lengths.contiguous(), at.r_max, at.order}; }

Tensor rows(const Positions &where, const Tensor &knots, const Tensor &scale)
{
  const Positions at = contiguous(where);
  const Tensor table = knots.contiguous(), scales = scale.defined() ? scale.contiguous() : scale;
  const int64_t n_members = knots.size(0), n = knots.size(3);
  const Tensor out = at::empty({n_members, at.lengths.size(1), n}, knots.options());
  AT_DISPATCH_FLOATING_TYPES(knots.scalar_type(), "mollifield::interpolation", [&] {
    Interpolation<scalar_t> a = arguments_of<scalar_t>(at, n_members, knots.size(1), n);
    a.knots = table.const_data_ptr<scalar_t>();
    if (scales.defined()) a.scale = scales.const_data_ptr<scalar_t>();
    a.rows = out.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, a.n_edges, kEdges,
                     [&](int64_t begin, int64_t end) { kernels<scalar_t>().interpolation_rows(a, begin, end); });
  });
  return out;
}

Tensor gathered(const Positions &where, const Tensor &gradient, int64_t n_knots, const Tensor &scale)
{
  const Positions at = contiguous(where);
  const Tensor rows = gradient.contiguous(), scales = scale.defined() ? scale.contiguous() : scale;
  const int64_t n_members = gradient.size(0), n = gradient.size(2);
  const Tensor out = at::zeros({n_members, n_knots, 2, n}, gradient.options());
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "mollifield::interpolation_gathered", [&] {
    Interpolation<scalar_t> a = arguments_of<scalar_t>(at, n_members, n_knots, n);
    a.gradient = rows.const_data_ptr<scalar_t>();
    if (scales.defined()) a.scale = scales.const_data_ptr<scalar_t>();
    a.gathered = out.mutable_data_ptr<scalar_t>();
    // Many edges add to one knot: threads share out columns, so that the order of each sum is the same.
    at::parallel_for(0, n, kColumns,
                     [&](int64_t begin, int64_t end) { kernels<scalar_t>().interpolation_gathered(a, begin, end); });
  });
  return out;
}

Tensor along(const Positions &where, const Tensor &knots, const Tensor &gradient)
{
  const Positions at = contiguous(where);
  const Tensor table = knots.contiguous(), rows = gradient.contiguous();
  const Tensor out = at::empty_like(at.lengths);
  AT_DISPATCH_FLOATING_TYPES(knots.scalar_type(), "mollifield::interpolation_along", [&] {
    Interpolation<scalar_t> a = arguments_of<scalar_t>(at, knots.size(0), knots.size(1), knots.size(3));
    a.knots = table.const_data_ptr<scalar_t>();
    a.gradient = rows.const_data_ptr<scalar_t>();
    a.along = out.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, a.n_edges, kEdges,
                     [&](int64_t begin, int64_t end) { kernels<scalar_t>().interpolation_along(a, begin, end); });
  });
  return out;
}

}  // namespace

InterpolationForms interpolation() { return {rows, gathered, along}; }

}  // namespace mollifield::operators::cpu
