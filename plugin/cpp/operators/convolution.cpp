// The equivariant convolution as torch operators, differentiable to any order.
//
// F(x, Y, w, g) = sum over edges ij of  g_i . CG(x_j, Y_ij) w_ij  is linear in each argument. The operator
// is its derivative by g, the backward its derivatives by x, Y and w, and the double backward sums of the
// same two kernels with one argument exchanged for a cotangent.
//
//   x [M, N, n_in, C]   harmonics [G, E, n_edge]   weights [M, E, P*C]   edge_index [2, E] int64
//   -> [M, n_centres, K, C];    M members, G geometries (1 or M); terms and coefficients: coupling.hpp
//
// Centres are the first n_centres of the N atoms: a domain of a parallel run has ghosts that only send.

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "implementation.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

void check(const ConvolutionOperands &o, const CouplingTable &table)
{
  const Tensor &radial = o.weights.defined() ? o.weights : o.knots;
  TORCH_CHECK_VALUE(o.x.dim() == 4 && o.x.size(2) == table.n_in, "features: found ", o.x.sizes(),
                    "; allowed is [M, N, ", table.n_in, ", C]");
  TORCH_CHECK_VALUE(o.harmonics.dim() == 3 && o.harmonics.size(2) == table.n_edge, "harmonics: found ",
                    o.harmonics.sizes(), "; allowed is [G, E, ", table.n_edge, "]");
  TORCH_CHECK_VALUE(o.harmonics.size(0) == 1 || o.harmonics.size(0) == o.x.size(0), "harmonics: found ",
                    o.harmonics.size(0), " geometries for ", o.x.size(0), " members; allowed are 1 or as many");
  TORCH_CHECK_VALUE(o.edge_index.dim() == 2 && o.edge_index.size(0) == 2 && o.edge_index.size(1) == o.harmonics.size(1),
                    "edge_index: found ", o.edge_index.sizes(), "; allowed is [2, ", o.harmonics.size(1), "]");
  TORCH_CHECK_VALUE(o.n_centres >= 0 && o.n_centres <= o.x.size(1), "n_centres: found ", o.n_centres,
                    "; allowed is 0 to ", o.x.size(1), ", the number of atoms");
  TORCH_CHECK_VALUE(radial.dim() > 1 && radial.size(0) == o.x.size(0) && radial.size(-1) == table.n_paths * o.x.size(3),
                    "weights: found ", radial.sizes(), "; allowed is ", table.n_paths * o.x.size(3), " for each of ",
                    o.x.size(0), " members");
  TORCH_CHECK_VALUE(o.edge_index.device() == o.x.device(), "edge_index and features must lie on one device; found ",
                    o.edge_index.device(), ", ", o.x.device());
  check_alike("features, harmonics and weights", {o.x, o.harmonics, radial});
  if (o.lengths.defined()) check_alike("features and lengths", {o.x, o.lengths});
}

Tensor run_forward(const ConvolutionOperands &o, const CouplingTable &table)
{
  check(o, table);
  return implementation(o.x).convolution.forward(o, table);
}

Tensor convolve(const Tensor &x, const Tensor &harmonics, const Tensor &weights, std::int64_t n_centres,
                const variable_list &rest);

// Derivatives of F by x, harmonics and weights, those that are asked for; the others come back empty.
class Derivatives : public Function<Derivatives> {
 public:
  static variable_list forward(AutogradContext *ctx, const Tensor &x, const Tensor &harmonics, const Tensor &weights,
                               const Tensor &grad_out, const Tensor &edge_index, const Tensor &terms,
                               const Tensor &coefficients, std::vector<bool> wanted)
  {
    ctx->save_for_backward({x, harmonics, weights, grad_out, edge_index, terms, coefficients});
    ctx->set_materialize_grads(false);
    Tensor dx, dy, dw;
    implementation(x).convolution.backward(
        {x, harmonics, weights, edge_index, grad_out.size(1), {}, {}}, *coupling_table(terms, coefficients), grad_out,
        {wanted[0] ? &dx : nullptr, wanted[1] ? &dy : nullptr, wanted[2] ? &dw : nullptr});
    const Tensor none = at::empty({0}, x.options());  // autograd takes no undefined outputs
    return {wanted[0] ? dx : none, wanted[1] ? dy : none, wanted[2] ? dw : none};
  }

  // Cotangents v_x, v_Y, v_w: the derivatives of F(v_x, Y, w, g) + F(x, v_Y, w, g) + F(x, Y, v_w, g).
  static variable_list backward(AutogradContext *ctx, variable_list v)
  {
    const variable_list saved = ctx->get_saved_variables();
    const variable_list arguments(saved.begin(), saved.begin() + 3), rest(saved.begin() + 4, saved.end());
    const Tensor &grad_out = saved[3];
    variable_list total(4);
    const ConvolutionForms &forms = implementation(saved[0]).convolution;
    if (forms.double_backward && !at::GradMode::is_enabled() && v[0].defined() + v[1].defined() + v[2].defined() > 1) {
      // All of it in one pass over the edges; higher derivatives need the sum below.
      for (int slot = 0; slot < 3; ++slot)
        if (!v[slot].defined()) v[slot] = at::zeros_like(arguments[slot]);
      forms.double_backward({saved[0], saved[1], saved[2], saved[4], grad_out.size(1), {}, {}},
                            *coupling_table(saved[5], saved[6]), grad_out, v,
                            {&total[0], &total[1], &total[2], nullptr, &total[3]});
      return {total[0], total[1], total[2], total[3], {}, {}, {}, {}};
    }
    const auto add = [&total](int k, const Tensor &term) {
      if (term.defined()) total[k] = total[k].defined() ? total[k] + term : term;
    };
    for (int slot = 0; slot < 3; ++slot) {
      if (!v[slot].defined()) continue;
      variable_list a = arguments;
      a[slot] = v[slot];
      std::vector<bool> wanted(3);
      for (int k = 0; k < 3; ++k) wanted[k] = k != slot && ctx->needs_input_grad(k);
      if (wanted[0] || wanted[1] || wanted[2]) {
        const variable_list d = apply(a[0], a[1], a[2], grad_out, rest[0], rest[1], rest[2], wanted);
        for (int k = 0; k < 3; ++k)
          if (wanted[k]) add(k, d[k]);
      }
      if (ctx->needs_input_grad(3)) add(3, convolve(a[0], a[1], a[2], grad_out.size(1), rest));
    }
    return {total[0], total[1], total[2], total[3], {}, {}, {}, {}};
  }
};

class ConvolutionFunction : public Function<ConvolutionFunction> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &x, const Tensor &harmonics, const Tensor &weights,
                        const Tensor &edge_index, std::int64_t n_centres, const Tensor &terms,
                        const Tensor &coefficients)
  {
    ctx->save_for_backward({x, harmonics, weights, edge_index, terms, coefficients});
    return run_forward({x, harmonics, weights, edge_index, n_centres, {}, {}}, *coupling_table(terms, coefficients));
  }

  static variable_list backward(AutogradContext *ctx, variable_list grad)
  {
    const variable_list s = ctx->get_saved_variables();
    const std::vector<bool> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1), ctx->needs_input_grad(2)};
    const variable_list d = Derivatives::apply(s[0], s[1], s[2], grad[0], s[3], s[4], s[5], wanted);
    variable_list out(7);
    for (int k = 0; k < 3; ++k)
      if (wanted[k]) out[k] = d[k];
    return out;
  }
};

Tensor convolve(const Tensor &x, const Tensor &harmonics, const Tensor &weights, std::int64_t n_centres,
                const variable_list &rest)
{
  return ConvolutionFunction::apply(x, harmonics, weights, rest[0], n_centres, rest[1], rest[2]);
}

// With tabulated weights; `knots [M, n_knots, 2, P*C]` (cpu/kernels.hpp) are constants, and first derivatives by
// x, harmonics and lengths [G, E] are all that running a model needs.
class SplineConvolutionFunction : public Function<SplineConvolutionFunction> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &x, const Tensor &harmonics, const Tensor &lengths,
                        const Tensor &knots, double r_max, const Tensor &edge_index, std::int64_t n_centres,
                        const Tensor &terms, const Tensor &coefficients)
  {
    ctx->save_for_backward({x, harmonics, lengths, knots, edge_index, terms, coefficients});
    ctx->saved_data["r_max"] = r_max;
    return run_forward({x, harmonics, {}, edge_index, n_centres, lengths, knots, r_max},
                       *coupling_table(terms, coefficients));
  }

  static variable_list backward(AutogradContext *ctx, variable_list grad)
  {
    TORCH_CHECK_NOT_IMPLEMENTED(
        !at::GradMode::is_enabled() || !grad[0].requires_grad(),
        "mollifield::spline_convolution has first derivatives only: train with the radial network");
    const variable_list s = ctx->get_saved_variables();
    Tensor dx, dy, dr;
    const ConvolutionOperands o = {
        s[0], s[1], {}, s[4], grad[0].size(1), s[2], s[3], ctx->saved_data["r_max"].toDouble()};
    implementation(s[0]).convolution.backward(o, *coupling_table(s[5], s[6]), grad[0],
                                              {ctx->needs_input_grad(0) ? &dx : nullptr, &dy, nullptr, &dr});
    return {dx, dy, dr, {}, {}, {}, {}, {}, {}};
  }
};

Tensor convolution(const Tensor &x, const Tensor &harmonics, const Tensor &weights, const Tensor &edge_index,
                   std::int64_t n_centres, const Tensor &terms, const Tensor &coefficients)
{
  return ConvolutionFunction::apply(x, harmonics, weights, edge_index, n_centres, terms, coefficients);
}

Tensor spline_convolution(const Tensor &x, const Tensor &harmonics, const Tensor &lengths, const Tensor &knots,
                          double r_max, const Tensor &edge_index, std::int64_t n_centres, const Tensor &terms,
                          const Tensor &coefficients)
{
  return SplineConvolutionFunction::apply(x, harmonics, lengths, knots, r_max, edge_index, n_centres, terms,
                                          coefficients);
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("convolution(Tensor x, Tensor harmonics, Tensor weights, Tensor edge_index, int n_centres, "
              "Tensor terms, Tensor coefficients) -> Tensor",
              mollifield::operators::convolution);
  library.def(
      "spline_convolution(Tensor x, Tensor harmonics, Tensor lengths, Tensor knots, float r_max, Tensor edge_index, "
      "int n_centres, Tensor terms, Tensor coefficients) -> Tensor",
      mollifield::operators::spline_convolution);
}
