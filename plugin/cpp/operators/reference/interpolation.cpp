// Interpolation: shapes in operators/interpolation.cpp.

#include <cmath>

#include "implementation.hpp"

namespace mollifield::operators::reference {
namespace {

using at::Tensor;
using std::int64_t;

// Rows are lower * value0 + (value1 - value0) * step + derivative0 * leave + derivative1 * arrive, with values and
// derivatives of the knots on both sides: slopes are then no differences of large numbers. All [G, E, 1].
struct Factors {
  Tensor left, lower, step, leave, arrive;
};

Factors factors_of(const Positions &at, int64_t n_knots)
{
  const double inverse_spacing = static_cast<double>(n_knots - 1) / at.r_max;
  const Tensor position = at.lengths * inverse_spacing, inside = position < n_knots - 1;  // zero at r_max and beyond
  const Tensor left = at::where(inside, position, 0.0).to(at::kLong), t = position - left, u = 1 - t;
  Factors f = {left, at::zeros_like(t), {}, {}, {}};
  if (at.order == 0)
    f = {left, at::ones_like(t), t * t * (3 - 2 * t), t * u * u, -t * t * u};
  else if (at.order == 1)
    f = {left, f.lower, 6 * t * u, u * (1 - 3 * t), t * (3 * t - 2)};
  else
    f = {left, f.lower, 6 - 12 * t, 6 * t - 4, 6 * t - 2};
  const double scale = std::pow(inverse_spacing, at.order);
  for (Tensor *factor : {&f.lower, &f.step, &f.leave, &f.arrive})
    *factor = (at::where(inside, *factor, 0.0) * scale).unsqueeze(-1);
  return f;
}

Tensor rows(const Positions &at, const Tensor &knots, const Tensor &scale)
{
  const int64_t n_members = knots.size(0);
  const Factors f = factors_of(at, knots.size(1));
  const Tensor left = f.left.expand({n_members, -1}), member = at::arange(n_members, left.options()).unsqueeze(1);
  const Tensor low = knots.index({member, left}), high = knots.index({member, left + 1});
  const Tensor value = low.select(2, 0), step = high.select(2, 0) - value;
  const Tensor found = f.lower * value + f.step * step + f.leave * low.select(2, 1) + f.arrive * high.select(2, 1);
  return scale.defined() ? found * scale.unsqueeze(-1) : found;
}

Tensor gathered(const Positions &at, const Tensor &gradient, int64_t n_knots, const Tensor &scale)
{
  const int64_t n_members = gradient.size(0);
  const Factors f = factors_of(at, n_knots);
  const Tensor left = f.left.expand({n_members, -1}), member = at::arange(n_members, left.options()).unsqueeze(1);
  const Tensor scaled = scale.defined() ? gradient * scale.unsqueeze(-1) : gradient;
  const Tensor zeros = at::zeros({n_members, n_knots, 2, gradient.size(2)}, gradient.options());
  return zeros.index_put({member, left}, at::stack({(f.lower - f.step) * scaled, f.leave * scaled}, 2), true)
      .index_put({member, left + 1}, at::stack({f.step * scaled, f.arrive * scaled}, 2), true);
}

Tensor along(const Positions &at, const Tensor &knots, const Tensor &gradient)
{
  return (rows(at, knots, {}) * gradient).sum(-1).sum_to_size(at.lengths.sizes());
}

}  // namespace

InterpolationForms interpolation() { return {rows, gathered, along}; }

}  // namespace mollifield::operators::reference
