// The arguments of a convolution, checked and laid out for the kernels.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "kernels.hpp"

namespace mollifield::operators {

// Sparse Clebsch-Gordan coefficients as tensors: `terms [T, 4]` int64 with columns output row, path,
// feature component, edge component, sorted by row and then by feature component; `coefficients [T]`.
class CouplingTable {
 public:
  CouplingTable(const at::Tensor &terms, const at::Tensor &coefficients);
  template <class T> Coupling<T> view() const;
  int n_rows = 0, n_paths = 0, n_in = 0, n_edge = 0, stride = 0;

 private:
  std::vector<int> row_path_, row_begin_, pair_in_, pair_begin_, term_edge_;
  std::vector<float> single_, dense_single_;
  std::vector<double> double_, dense_double_;
};

// Edges grouped by one end; inside a group they keep the order of `visit` (null: ascending), so that sums
// have one order whatever the number of threads.
class Grouping {
 public:
  Grouping(const std::int64_t *end, std::int64_t n_edges, std::int64_t n_atoms, const std::int64_t *visit = nullptr);
  const std::int64_t *first() const { return first_.data(); }
  const std::int64_t *order() const { return order_.empty() ? nullptr : order_.data(); }

 private:
  std::vector<std::int64_t> first_, order_;
};

}  // namespace mollifield::operators
