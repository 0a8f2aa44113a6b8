// The arguments of a convolution, laid out for the kernels.
#pragma once

#include <vector>

#include "kernels.hpp"
#include "operators/coupling.hpp"

namespace mollifield::operators::cpu {

// Coefficients as `T`, sparse and dense, and paths that couple nothing; the table must outlive it.
template <class T> class CouplingLayout {
 public:
  explicit CouplingLayout(const CouplingTable &table);
  Coupling<T> view() const;

 private:
  const CouplingTable &table_;
  int stride_;
  std::vector<T> coefficient_, dense_;
  std::vector<PlainPath> plain_;
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

}  // namespace mollifield::operators::cpu
