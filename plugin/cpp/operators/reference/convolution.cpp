// Convolutions: shapes in operators/convolution.cpp. Edge by edge, with D the dense coupling,
//   F = sum over e, k, a, b, c of  g[i(e), k, c] w[e, path(k), c] D[k, a, b] x[j(e), a, c] Y[e, b]
// and what is asked for is F's derivative by one of g, x, Y and w.

#include "implementation.hpp"

namespace mollifield::operators::reference {
namespace {

using at::Tensor;

class Form {
 public:
  Form(const ConvolutionOperands &o, const CouplingTable &table) :
      o_(o), n_paths_(table.n_paths), centre_(o.edge_index[0]), source_(o.edge_index[1]),
      coupling_(dense_coupling(table, o.x)), path_of_row_(at::tensor(table.row_path, at::kLong).to(o.x.device()))
  {
    check_atoms(centre_, o.n_centres);
    check_atoms(source_, o.x.size(1));
    pairs_ = at::einsum("geb,kab->geka", {o.harmonics, coupling_});
    sent_ = o.x.index_select(1, source_);
    const Tensor weights = o.weights.defined() ? o.weights : interpolation().rows({o.lengths, o.r_max, 0}, o.knots, {});
    weights_ = weights.unflatten(2, {n_paths_, o.x.size(3)}).index_select(2, path_of_row_);
  }

  Tensor by_grad_out() const
  {
    const Tensor messages = at::matmul(pairs_, sent_) * weights_;
    return messages.new_zeros({o_.x.size(0), o_.n_centres, messages.size(2), messages.size(3)})
        .index_add(1, centre_, messages);
  }
  Tensor by_x(const Tensor &grad_out) const
  {
    return at::zeros_like(o_.x).index_add(1, source_, at::matmul(pairs_.transpose(2, 3), weighted(grad_out)));
  }
  Tensor by_harmonics(const Tensor &grad_out) const
  {
    const Tensor by_pairs = at::matmul(weighted(grad_out), sent_.transpose(2, 3));
    return at::einsum("meka,kab->meb", {by_pairs, coupling_}).sum_to_size(o_.harmonics.sizes());
  }
  Tensor by_weights(const Tensor &grad_out) const
  {
    const Tensor by_row = at::matmul(pairs_, sent_) * received(grad_out);
    return by_row.new_zeros({by_row.size(0), by_row.size(1), n_paths_, by_row.size(3)})
        .index_add(2, path_of_row_, by_row)
        .flatten(2);
  }

 private:
  Tensor received(const Tensor &grad_out) const { return grad_out.index_select(1, centre_); }
  Tensor weighted(const Tensor &grad_out) const { return received(grad_out) * weights_; }

  const ConvolutionOperands &o_;
  std::int64_t n_paths_;
  Tensor centre_, source_, coupling_, path_of_row_;
  Tensor pairs_, sent_, weights_;  // [G, E, K, n_in], [M, E, n_in, C], [M, E, K, C]
};

Tensor forward(const ConvolutionOperands &o, const CouplingTable &table) { return Form(o, table).by_grad_out(); }

void backward(const ConvolutionOperands &o, const CouplingTable &table, const Tensor &grad_out,
              const ConvolutionGradients &wanted)
{
  const Form form(o, table);
  if (wanted.x) *wanted.x = form.by_x(grad_out);
  if (wanted.harmonics) *wanted.harmonics = form.by_harmonics(grad_out);
  if (wanted.weights) *wanted.weights = form.by_weights(grad_out);
  if (wanted.lengths)
    *wanted.lengths = interpolation().along({o.lengths, o.r_max, 1}, o.knots, form.by_weights(grad_out));
}

}  // namespace

ConvolutionForms convolution() { return {forward, backward, nullptr}; }

}  // namespace mollifield::operators::reference
