// Which components couple, as all implementations read it.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

namespace mollifield::operators {

// Sparse Clebsch-Gordan coefficients, from tensors: `terms [T, 4]` int64 with columns output row, path,
// feature component, edge component, sorted by row and then by feature component; `coefficients [T]`.
//
// Row r of the output belongs to path `row_path[r]` and sums over the pairs [row_begin[r], row_begin[r+1]); pair q
// takes component `pair_in[q]` of the features times
//   A[q] = sum over terms t in [pair_begin[q], pair_begin[q+1]) of coefficient[t] * Y[term_edge[t]].
struct CouplingTable {
  CouplingTable(const at::Tensor &terms, const at::Tensor &coefficients);

  int n_rows = 0, n_paths = 0, n_in = 0, n_edge = 0;
  std::vector<int> row_path, row_begin, pair_in, pair_begin, term_edge;
  std::vector<double> coefficient;
  std::string digest;  // of all of it
};

// The same, made once for these tensors: they are a model's.
std::shared_ptr<const CouplingTable> coupling_table(const at::Tensor &terms, const at::Tensor &coefficients);

}  // namespace mollifield::operators
