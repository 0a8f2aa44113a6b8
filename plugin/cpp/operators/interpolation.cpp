// Rows of a table at given lengths, as a torch operator that is differentiable twice.
//
//   knots [M, K, 2, n]: value, and derivative times spacing, at K equidistant lengths from 0 to r_max
//   lengths [G, E] -> [M, E, n], zero at r_max and beyond;    M members, G geometries (1 or M)
//
// Cubic Hermite interpolation: value and derivative are continuous, and linear in the knots.

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "implementation.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using std::int64_t;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

const InterpolationForms &forms(const Tensor &where) { return implementation(where).interpolation; }

// Gradients of <gradient, rows> by knots and lengths; one that is not wanted comes back empty.
class InterpolationGradient : public Function<InterpolationGradient> {
 public:
  static variable_list forward(AutogradContext *ctx, const Tensor &knots, const Tensor &lengths, const Tensor &gradient,
                               double r_max, bool by_knots, bool by_lengths)
  {
    ctx->save_for_backward({knots, lengths, gradient});
    ctx->saved_data["r_max"] = r_max;
    ctx->set_materialize_grads(false);
    const Tensor none = at::empty({0}, knots.options());  // autograd takes no undefined outputs
    return {by_knots ? forms(knots).gathered({lengths, r_max, 0}, gradient, knots.size(1), {}) : none,
            by_lengths ? forms(knots).along({lengths, r_max, 1}, knots, gradient) : none};
  }

  // Cotangents u of the knots and v of the lengths: gradients of <gradient, rows(u)> + <v gradient, rows'(knots)>.
  static variable_list backward(AutogradContext *ctx, variable_list cotangents)
  {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(),
                                "mollifield::interpolation has two derivatives, not three");
    const variable_list s = ctx->get_saved_variables();
    const Tensor &knots = s[0], &lengths = s[1], &gradient = s[2], &u = cotangents[0], &v = cotangents[1];
    const InterpolationForms &f = forms(knots);
    const double r_max = ctx->saved_data["r_max"].toDouble();
    variable_list total(6);
    const auto add = [&](int k, const Tensor &term) { total[k] = total[k].defined() ? total[k] + term : term; };
    if (u.defined()) {
      if (ctx->needs_input_grad(1)) add(1, f.along({lengths, r_max, 1}, u, gradient));
      if (ctx->needs_input_grad(2)) add(2, f.rows({lengths, r_max, 0}, u, {}));
    }
    if (v.defined()) {
      if (ctx->needs_input_grad(0)) add(0, f.gathered({lengths, r_max, 1}, gradient, knots.size(1), v));
      if (ctx->needs_input_grad(1)) add(1, v * f.along({lengths, r_max, 2}, knots, gradient));
      if (ctx->needs_input_grad(2)) add(2, f.rows({lengths, r_max, 1}, knots, v));
    }
    return total;
  }
};

class Interpolation : public Function<Interpolation> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &knots, const Tensor &lengths, double r_max)
  {
    ctx->save_for_backward({knots, lengths});
    ctx->saved_data["r_max"] = r_max;
    return forms(knots).rows({lengths, r_max, 0}, knots, {});
  }

  static variable_list backward(AutogradContext *ctx, variable_list gradient)
  {
    const variable_list s = ctx->get_saved_variables();
    const bool by_knots = ctx->needs_input_grad(0), by_lengths = ctx->needs_input_grad(1);
    const variable_list d = InterpolationGradient::apply(s[0], s[1], gradient[0], ctx->saved_data["r_max"].toDouble(),
                                                         by_knots, by_lengths);
    return {by_knots ? d[0] : Tensor(), by_lengths ? d[1] : Tensor(), Tensor()};
  }
};

Tensor interpolation(const Tensor &knots, const Tensor &lengths, double r_max)
{
  TORCH_CHECK_VALUE(knots.dim() == 4 && knots.size(1) > 1 && knots.size(2) == 2, "knots: found ", knots.sizes(),
                    "; allowed is [M, K, 2, n] with K > 1");
  TORCH_CHECK_VALUE(lengths.dim() == 2 && (lengths.size(0) == 1 || lengths.size(0) == knots.size(0)), "lengths: found ",
                    lengths.sizes(), "; allowed is [1, E] or [", knots.size(0), ", E]");
  TORCH_CHECK_VALUE(r_max > 0.0, "r_max: found ", r_max, "; allowed is a length in Å above 0");
  check_alike("knots and lengths", {knots, lengths});
  return Interpolation::apply(knots, lengths, r_max);
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("interpolation(Tensor knots, Tensor lengths, float r_max) -> Tensor",
              mollifield::operators::interpolation);
}
