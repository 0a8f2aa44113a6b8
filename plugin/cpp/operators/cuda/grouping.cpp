#include "grouping.hpp"

#include "operators/implementation.hpp"
#include "operators/remembered.hpp"

namespace mollifield::operators::cuda {
namespace {

using at::Tensor;

Grouping grouping(const Tensor &ends, std::int64_t n_atoms)
{
  const auto [sorted, order] = at::sort(ends, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor first = at::searchsorted(sorted, at::arange(n_atoms + 1, ends.options()));
  return {first.to(at::kInt), order.to(at::kInt)};
}

}  // namespace

std::shared_ptr<const Groupings> groupings(const Tensor &edge_index, std::int64_t n_centres, std::int64_t n_atoms)
{
  // Never destroyed: at exit, CUDA may be gone before.
  static auto &lists = *new Remembered<Groupings>(16);
  const std::int64_t both = (n_centres << 32) + n_atoms;
  return lists.get({edge_index}, both, [&] {
    TORCH_CHECK_VALUE(std::max(n_atoms, edge_index.size(1)) < (std::int64_t(1) << 31), "found ", n_atoms, " atoms and ",
                      edge_index.size(1), " edges; allowed are less than 2^31");
    check_atoms(edge_index[0], n_centres);
    check_atoms(edge_index[1], n_atoms);
    return Groupings{grouping(edge_index[0], n_centres), grouping(edge_index[1], n_atoms)};
  });
}

}  // namespace mollifield::operators::cuda
