#include "layout.hpp"

#include <algorithm>
#include <cmath>

namespace mollifield::operators::cpu {
namespace {

// All paths where none of them couples anything, otherwise none. Degrees up to 3 have kernels.
std::vector<PlainPath> plain_paths(const CouplingTable &table)
{
  std::vector<PlainPath> paths(table.n_paths);
  for (int row = 0; row < table.n_rows; ++row) {
    const int pair = table.row_begin[row], term = table.pair_begin[pair];
    const bool one_term = table.row_begin[row + 1] == pair + 1 && table.pair_begin[pair + 1] == term + 1;
    if (!one_term || std::abs(table.coefficient[term] - 1.0) > 1e-12) return {};
    const int in = table.pair_in[pair], edge = table.term_edge[term];
    PlainPath &path = paths[table.row_path[row]];
    const int m = path.n_components++;
    if (m == 0) path = {table.row_path[row], 1, row, 0, in, edge, false};
    if (m == 1) {
      path.row_step = row - path.first_row;
      path.carried = in != path.in;
    }
    if (row != path.first_row + m * path.row_step) return {};
    if (in != path.in + (path.carried ? m : 0) || edge != path.edge + (path.carried ? 0 : m)) return {};
  }
  for (const PlainPath &path : paths)
    if (path.n_components % 2 == 0 || path.n_components > 7) return {};
  return paths;
}

}  // namespace

template <class T>
CouplingLayout<T>::CouplingLayout(const CouplingTable &table) :
    table_(table), coefficient_(table.coefficient.begin(), table.coefficient.end()), plain_(plain_paths(table))
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
          dense_.data(),
          plain_.empty() ? nullptr : plain_.data()};
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
