#include "layout.hpp"

#include <algorithm>

namespace mollifield::operators::cpu {

template <class T>
CouplingLayout<T>::CouplingLayout(const CouplingTable &table) :
    table_(table), coefficient_(table.coefficient.begin(), table.coefficient.end())
{
  const int n_pairs = static_cast<int>(table.pair_in.size());
  stride_ = (std::max(n_pairs, table.n_edge) + 15) / 16 * 16;
  dense_.assign(table.n_edge * stride_, T(0));
  for (int q = 0; q < n_pairs; ++q)
    for (int t = table.pair_begin[q]; t < table.pair_begin[q + 1]; ++t)
      dense_[table.term_edge[t] * stride_ + q] += coefficient_[t];
}

template <class T> Coupling<T> CouplingLayout<T>::view() const
{
  return {table_.n_rows,
          table_.n_paths,
          static_cast<int>(table_.pair_in.size()),
          table_.n_in,
          table_.n_edge,
          stride_,
          table_.row_path.data(),
          table_.row_begin.data(),
          table_.pair_in.data(),
          table_.pair_begin.data(),
          table_.term_edge.data(),
          coefficient_.data(),
          dense_.data()};
}

template class CouplingLayout<float>;
template class CouplingLayout<double>;

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

}  // namespace mollifield::operators::cpu
