// From summed messages to the inputs of a gate, products of pairs and triples included, as one torch operator: what is
// run in the place of linear maps and products one by one, which are for training. On the CPU a few atoms go through
// all of it together, so that what lies between stays in the cache.
//
//   mixed = mix(messages),  features = mixed / sqrt(mean of an atom's mixed^2 + rms_epsilon), or mixed without it
//   pairs = CG(features, features),  triples = CG(inner(pairs), features)
//   out = kept + linear(features) + pairs_map(pairs) + outer(triples)
//
//   messages [M, N, K, C]   kept, out [M, N, D]   weights: those of mix, linear, pairs_map, and with triples of inner
//   and outer, each [M, W] (linear.cpp); linear and pairs_map read the rows of degrees that the gate has
//
// Weights are constants, and there are first derivatives only.

#include "update.hpp"

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
using Tensors = std::vector<Tensor>;
using Paths = std::vector<int64_t>;

// What a call says of the maps and products.
struct Parameters {
  Tensors weights, terms, coefficients;
  Paths message_paths, square_paths, cube_paths;
  int64_t n_scalars;
  double scale;
  std::optional<double> rms_epsilon;

  c10::IValue packed() const
  {
    return c10::ivalue::Tuple::create({c10::IValue(weights), c10::IValue(terms), c10::IValue(coefficients),
                                       c10::IValue(message_paths), c10::IValue(square_paths), c10::IValue(cube_paths),
                                       c10::IValue(n_scalars), c10::IValue(scale), c10::IValue(rms_epsilon)});
  }
  static Parameters unpacked(const c10::IValue &value)
  {
    const auto &p = value.toTupleRef().elements();
    return {p[0].toTensorVector(), p[1].toTensorVector(), p[2].toTensorVector(),
            p[3].toIntVector(),    p[4].toIntVector(),    p[5].toIntVector(),
            p[6].toInt(),          p[7].toDouble(),       p[8].toOptional<double>()};
  }

  UpdatePlan plan(int64_t n_channels) const
  {
    const bool has_triples = !cube_paths.empty();
    const std::size_t n_maps = has_triples ? 5 : 3, n_products = has_triples ? 2 : 1;
    TORCH_CHECK_VALUE(weights.size() == n_maps && terms.size() == n_products && coefficients.size() == n_products,
                      "weights, terms, coefficients: found ", weights.size(), ", ", terms.size(), ", ",
                      coefficients.size(), " of them; allowed are ", n_maps, ", ", n_products, ", ", n_products);
    const std::size_t n_degrees = (has_triples ? cube_paths : square_paths).size();
    TORCH_CHECK_VALUE(n_degrees >= 1 && n_degrees <= square_paths.size(), "cube_paths: found ", cube_paths.size(),
                      " degrees; allowed are at most ", square_paths.size());
    const auto map = [&](const Paths &paths, int64_t n_first, double by = 1.0) {
      return LinearBlocks(paths, n_channels, n_channels, n_first, by);
    };
    const Paths squares(square_paths.begin(), square_paths.begin() + static_cast<std::ptrdiff_t>(n_degrees));
    UpdatePlan plan{n_channels,
                    map(message_paths, n_channels, scale),
                    map(Paths(n_degrees, 1), n_scalars),
                    map(squares, n_scalars),
                    coupling_table(terms[0], coefficients[0]),
                    std::nullopt,
                    rms_epsilon};
    if (has_triples)
      plan.triples = {map(square_paths, n_channels), map(cube_paths, n_scalars),
                      coupling_table(terms[1], coefficients[1])};
    return plan;
  }
};

void check_product(const char *name, const CouplingTable &table, int64_t n_features, int64_t n_rows)
{
  TORCH_CHECK_VALUE(table.n_in == n_features && table.n_edge == n_features && table.n_rows == n_rows, name,
                    ": found a product of ", table.n_in, " and ", table.n_edge, " components to ", table.n_rows,
                    "; allowed is one of ", n_features, " and ", n_features, " to ", n_rows);
}

void check(const Tensor &messages, const Tensor &kept, const Tensors &weights, const UpdatePlan &plan)
{
  TORCH_CHECK_VALUE(messages.dim() == 4 && messages.size(2) == plan.mix.n_rows, "messages: found ", messages.sizes(),
                    "; allowed is [M, N, ", plan.mix.n_rows, ", C]");
  const int64_t n_members = messages.size(0), n_atoms = messages.size(1);
  TORCH_CHECK_VALUE(
      kept.dim() == 3 && kept.size(0) == n_members && kept.size(1) == n_atoms && kept.size(2) == plan.n_outputs(),
      "kept: found ", kept.sizes(), "; allowed is [", n_members, ", ", n_atoms, ", ", plan.n_outputs(), "]");
  const int64_t n_features = plan.mix.n_outputs / plan.n_channels;
  check_product("square", *plan.square, n_features, (plan.triples ? plan.triples->inner : plan.pairs).n_rows);
  if (plan.triples) check_product("cube", *plan.triples->cube, n_features, plan.triples->outer.n_rows);
  const auto maps = plan.maps();
  for (std::size_t k = 0; k < maps.size(); ++k)
    TORCH_CHECK_VALUE(
        weights[k].dim() == 2 && weights[k].size(0) == n_members && weights[k].size(1) == maps[k]->n_weights,
        "weights ", k, ": found ", weights[k].sizes(), "; allowed is [", n_members, ", ", maps[k]->n_weights, "]");
  Tensors all = weights;
  all.insert(all.end(), {messages, kept});
  check_alike("messages, kept and weights", all);
}

using Axes = std::vector<int64_t>;

// [M, N] -> [M, N, 1, 1]
Tensor over_features(const Tensor &of_atoms) { return of_atoms.unsqueeze(2).unsqueeze(3); }

// From an implementation's other operators, where it has none of this kind.
Tensor composed_forward(const Implementation &by, const Tensor &messages, const Tensor &kept, const Tensors &weights,
                        const UpdatePlan &plan, UpdateBetween *between)
{
  const std::vector<int64_t> shape = {messages.size(0), messages.size(1), plan.n_features(), plan.n_channels};
  Tensor features = by.linear.forward(messages, weights[0], plan.mix).view(shape);
  if (plan.rms_epsilon) {
    between->factors = features.square().mean(Axes{2, 3}).add(*plan.rms_epsilon).rsqrt();
    features = features * over_features(between->factors);
  }
  between->features = features;
  const Tensor square = by.channel_product.forward(features, features, *plan.square);
  Tensor out = kept + by.linear.forward(features.narrow(2, 0, plan.linear.n_rows), weights[1], plan.linear);
  out += by.linear.forward(square.narrow(2, 0, plan.pairs.n_rows), weights[2], plan.pairs);
  if (!plan.triples) return out;
  between->inner = by.linear.forward(square, weights[3], plan.triples->inner).view(shape);
  const Tensor cube = by.channel_product.forward(between->inner, features, *plan.triples->cube);
  return out += by.linear.forward(cube, weights[4], plan.triples->outer);
}

// `rows` of one atom, which a linear map's gradient by its input asks for the shape alone.
Tensor composed_backward(const Implementation &by, const UpdateBetween &between, const Tensors &weights,
                         const UpdatePlan &plan, const Tensor &grad_out)
{
  const Tensor &features = between.features;
  const auto through = [&](int k, const LinearBlocks &blocks, const Tensor &gradient) {
    const Tensor like =
        at::empty({features.size(0), features.size(1), blocks.n_rows, plan.n_channels}, features.options());
    Tensor found;
    by.linear.backward(like, weights[k], gradient, blocks, &found, nullptr);
    return found;
  };
  Tensor grad_features = at::zeros_like(features), first, second;
  grad_features.narrow(2, 0, plan.linear.n_rows).add_(through(1, plan.linear, grad_out));
  Tensor grad_square = through(2, plan.pairs, grad_out);
  if (plan.triples) {
    const Tensor grad_cube = through(4, plan.triples->outer, grad_out);
    by.channel_product.backward(between.inner, features, grad_cube, *plan.triples->cube, &first, &second);
    grad_features.add_(second);
    Tensor all = through(3, plan.triples->inner, first.flatten(2));
    all.narrow(2, 0, plan.pairs.n_rows).add_(grad_square);
    grad_square = all;
  }
  by.channel_product.backward(features, features, grad_square, *plan.square, &first, &second);
  grad_features.add_(first).add_(second);
  if (plan.rms_epsilon) {  // of f = s x with s = (mean x^2 + e)^(-1/2): s (g - f mean(f g))
    const Tensor along = features * (features * grad_features).mean(Axes{2, 3}, true);
    grad_features = (grad_features - along) * over_features(between.factors);
  }
  return through(0, plan.mix, grad_features.flatten(2));
}

class ProductsUpdate : public Function<ProductsUpdate> {
 public:
  static Tensor forward(AutogradContext *ctx, const Tensor &messages, const Tensor &kept, const c10::IValue &packed)
  {
    const Parameters parameters = Parameters::unpacked(packed);
    const UpdatePlan plan = parameters.plan(messages.size(-1));
    check(messages, kept, parameters.weights, plan);
    const Implementation &by = implementation(messages);
    UpdateBetween between;
    const Tensor out = by.products_update.forward
                           ? by.products_update.forward(messages, kept, parameters.weights, plan, &between)
                           : composed_forward(by, messages, kept, parameters.weights, plan, &between);
    ctx->save_for_backward({between.features, between.inner, between.factors});
    ctx->saved_data["parameters"] = packed;
    return out;
  }

  static variable_list backward(AutogradContext *ctx, variable_list gradient)
  {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled() || !gradient[0].requires_grad(),
                                "mollifield::products_update has first derivatives only: train with its parts");
    if (!ctx->needs_input_grad(0)) return {Tensor(), gradient[0], Tensor()};
    const variable_list saved = ctx->get_saved_variables();
    const Parameters parameters = Parameters::unpacked(ctx->saved_data["parameters"]);
    const UpdateBetween between = {saved[0], saved[1], saved[2]};
    const UpdatePlan plan = parameters.plan(between.features.size(-1));
    const Implementation &by = implementation(between.features);
    const auto run = by.products_update.backward;
    return {run ? run(between, parameters.weights, plan, gradient[0])
                : composed_backward(by, between, parameters.weights, plan, gradient[0]),
            gradient[0], Tensor()};
  }
};

Tensor products_update(const Tensor &messages, const Tensor &kept, Tensors weights, Tensors terms, Tensors coefficients,
                       Paths message_paths, Paths square_paths, Paths cube_paths, int64_t n_scalars, double scale,
                       std::optional<double> rms_epsilon)
{
  TORCH_CHECK_VALUE(messages.dim() == 4, "messages: found ", messages.sizes(), "; allowed is [M, N, K, C]");
  const Parameters parameters = {weights,    terms,     coefficients, message_paths, square_paths,
                                 cube_paths, n_scalars, scale,        rms_epsilon};
  return ProductsUpdate::apply(messages, kept, parameters.packed());
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("products_update(Tensor messages, Tensor kept, Tensor[] weights, Tensor[] terms, Tensor[] coefficients, "
              "int[] message_paths, int[] square_paths, int[] cube_paths, int n_scalars, float scale, "
              "float? rms_epsilon=None) -> Tensor",
              mollifield::operators::products_update);
}
