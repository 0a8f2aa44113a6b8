// Edges grouped by one end, on the device where they lie.
#pragma once

#include <ATen/ATen.h>

#include <memory>

namespace mollifield::operators::cuda {

// Edges of atom i are order[first[i]] ... order[first[i + 1] - 1], in ascending order: sums over them have one order.
struct Grouping {
  at::Tensor first, order;  // int32, [n_atoms + 1] and [E]
};

// Both groupings of one list of edges: what centres receive, and what atoms send.
struct Groupings {
  Grouping centres, sources;
};

// Of `edge_index [2, E]`, remembered for the lists that were used last: a list serves all layers of a model, forward
// and backward, and in dynamics all steps until neighbours change. Sorting it waits for nothing on the host. IndexError
// where an edge names an atom that isn't there: on a GPU that ends the program at the next synchronisation, as
// indexing there does.
std::shared_ptr<const Groupings> groupings(const at::Tensor &edge_index, std::int64_t n_centres, std::int64_t n_atoms);

}  // namespace mollifield::operators::cuda
