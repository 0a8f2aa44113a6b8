#include "coupling.hpp"

#include <algorithm>

namespace mollifield::operators {

CouplingTable::CouplingTable(const at::Tensor &terms, const at::Tensor &coefficients)
{
  TORCH_CHECK_VALUE(terms.dim() == 2 && terms.size(1) == 4 && terms.scalar_type() == at::kLong, "terms: found ",
                    terms.sizes(), " ", terms.scalar_type(), "; allowed is [T, 4] int64");
  TORCH_CHECK_VALUE(coefficients.dim() == 1 && coefficients.size(0) == terms.size(0), "coefficients: found ",
                    coefficients.sizes(), "; allowed is [", terms.size(0), "]");
  const at::Tensor host = terms.cpu().contiguous();
  const at::Tensor values = coefficients.to(at::kCPU, at::kDouble).contiguous();
  const std::int64_t *term = host.data_ptr<std::int64_t>();
  const double *value = values.data_ptr<double>();
  for (std::int64_t t = 0; t < host.size(0); ++t, term += 4) {
    const int row = term[0], path = term[1], in = term[2], edge = term[3];
    const bool new_row = row == n_rows, same_row = row == n_rows - 1;
    TORCH_CHECK_VALUE(new_row || (same_row && in >= pair_in_.back() && path == row_path_.back()),
                      "terms must be sorted by row and feature component; term ", t, " is out of order");
    TORCH_CHECK_VALUE(path >= 0 && in >= 0 && edge >= 0, "terms: negative entry in term ", t);
    if (new_row) {
      row_path_.push_back(path);
      row_begin_.push_back(static_cast<int>(pair_in_.size()));
      ++n_rows;
    }
    if (new_row || in != pair_in_.back()) {
      pair_in_.push_back(in);
      pair_begin_.push_back(static_cast<int>(term_edge_.size()));
    }
    term_edge_.push_back(edge);
    double_.push_back(value[t]);
    n_paths = std::max(n_paths, path + 1);
    n_in = std::max(n_in, in + 1);
    n_edge = std::max(n_edge, edge + 1);
  }
  row_begin_.push_back(static_cast<int>(pair_in_.size()));
  pair_begin_.push_back(static_cast<int>(term_edge_.size()));
  stride = (std::max<int>(pair_in_.size(), n_edge) + 15) / 16 * 16;
  dense_double_.assign(n_edge * stride, 0.0);
  for (std::size_t q = 0; q < pair_in_.size(); ++q)
    for (int t = pair_begin_[q]; t < pair_begin_[q + 1]; ++t) dense_double_[term_edge_[t] * stride + q] += double_[t];
  single_.assign(double_.begin(), double_.end());
  dense_single_.assign(dense_double_.begin(), dense_double_.end());
}

template <class T> Coupling<T> CouplingTable::view() const
{
  const T *coefficient, *dense;
  if constexpr (std::is_same_v<T, float>) {
    coefficient = single_.data();
    dense = dense_single_.data();
  } else {
    coefficient = double_.data();
    dense = dense_double_.data();
  }
  return {n_rows,
          n_paths,
          static_cast<int>(pair_in_.size()),
          n_in,
          n_edge,
          stride,
          row_path_.data(),
          row_begin_.data(),
          pair_in_.data(),
          pair_begin_.data(),
          term_edge_.data(),
          coefficient,
          dense};
}

template Coupling<float> CouplingTable::view() const;
template Coupling<double> CouplingTable::view() const;

Grouping::Grouping(const std::int64_t *end, std::int64_t n_edges, std::int64_t n_atoms, const std::int64_t *visit) :
    first_(n_atoms + 1, 0)
{
  bool sorted = !visit;
  for (std::int64_t e = 0; e < n_edges; ++e) {
    TORCH_CHECK_INDEX(end[e] >= 0 && end[e] < n_atoms, "edge_index: edge ", e, " names atom ", end[e], " of ", n_atoms);
    ++first_[end[e] + 1];
    sorted = sorted && (e == 0 || end[e] >= end[e - 1]);
  }
  for (std::int64_t i = 0; i < n_atoms; ++i) first_[i + 1] += first_[i];
  if (sorted) return;
  order_.resize(n_edges);
  std::vector<std::int64_t> next(first_.begin(), first_.end() - 1);
  for (std::int64_t k = 0; k < n_edges; ++k) {
    const std::int64_t e = visit ? visit[k] : k;
    order_[next[end[e]]++] = e;
  }
}

}  // namespace mollifield::operators
