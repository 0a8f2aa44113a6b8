#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

using namespace LAMMPS_NS;

namespace {

struct Extreme {
  double value;
  tagint tag;
};

// With its tag (the smallest, should two atoms tie).
Extreme largest(const std::vector<double> &values, const std::vector<tagint> &tags, MPI_Comm world)
{
  double local = -1.0;
  tagint local_tag = MAXTAGINT;
  for (std::size_t k = 0; k < values.size(); k++) {
    if (values[k] < local || (values[k] == local && tags[k] >= local_tag)) continue;
    local = values[k];
    local_tag = tags[k];
  }
  Extreme found{};
  MPI_Allreduce(&local, &found.value, 1, MPI_DOUBLE, MPI_MAX, world);
  if (local != found.value) local_tag = MAXTAGINT;
  MPI_Allreduce(&local_tag, &found.tag, 1, MPI_LMP_TAGINT, MPI_MIN, world);
  return found;
}

// Interpolated as numpy's 'linear'. Only what lies above the quantile has to travel.
double quantile(const std::vector<double> &values, double fraction, MPI_Comm world)
{
  const bigint mine = static_cast<bigint>(values.size());
  bigint n = 0;
  MPI_Allreduce(&mine, &n, 1, MPI_LMP_BIGINT, MPI_SUM, world);
  const double place = fraction * static_cast<double>(n - 1);
  const bigint below = static_cast<bigint>(std::floor(place));
  std::vector<double> top(std::min(mine, n - below));
  std::partial_sort_copy(values.begin(), values.end(), top.begin(), top.end(), std::greater<>());
  std::vector<double> all = gather(top, world);
  double result = 0.0;
  if (!all.empty()) {
    // Descending: the value at rank r from below is the (n - 1 - r)-th.
    std::sort(all.begin(), all.end(), std::greater<>());
    const double low = all[n - 1 - below], high = all[std::max<bigint>(n - 2 - below, 0)];
    result = low + (place - static_cast<double>(below)) * (high - low);
  }
  MPI_Bcast(&result, 1, MPI_DOUBLE, 0, world);
  return result;
}

}  // namespace

std::vector<double> LAMMPS_NS::gather(const std::vector<double> &mine, MPI_Comm world)
{
  int me, n_ranks;
  MPI_Comm_rank(world, &me);
  MPI_Comm_size(world, &n_ranks);
  const int size = static_cast<int>(mine.size());
  std::vector<int> sizes(n_ranks), offsets(n_ranks, 0);
  MPI_Gather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, world);
  std::partial_sum(sizes.begin(), sizes.end() - 1, offsets.begin() + 1);
  std::vector<double> all(me == 0 ? offsets.back() + sizes.back() : 0);
  MPI_Gatherv(mine.data(), size, MPI_DOUBLE, all.data(), sizes.data(), offsets.data(), MPI_DOUBLE, 0, world);
  return all;
}

Statistics LAMMPS_NS::statistics_of(const Quantity &quantity, Reduction reduction, const JudgedAtoms &atoms,
                                    const Energies &energies, const Committee &committee, MPI_Comm world)
{
  Statistics s;
  s.energies = energies;
  const std::vector<double> values = quantity_of_trigger(quantity).of_atoms(atoms, committee);
  double local[5] = {0.0, 0.0, 0.0, 0.0, 0.0}, sums[5];
  for (std::size_t k = 0; k < values.size(); k++) {
    local[0] += 1.0;
    local[1] += values[k];
    local[2] += atoms.force_std[k] * atoms.force_std[k];
    local[3] += atoms.aleatoric_std[k] * atoms.aleatoric_std[k];
    local[4] += atoms.relative_distance[k] > 1.0;
  }
  MPI_Allreduce(local, sums, 5, MPI_DOUBLE, MPI_SUM, world);
  if (sums[0] == 0.0) return s;
  s.epistemic = std::sqrt(sums[2] / sums[0]);
  s.aleatoric = std::sqrt(sums[3] / sums[0]);
  s.n_outside = static_cast<bigint>(sums[4]);
  s.max_force_std = largest(atoms.force_std, atoms.tag, world).value;
  const Extreme top = largest(values, atoms.tag, world);
  s.trigger = top.tag;
  s.trigger_value = top.value;
  if (quantity.is_global()) {
    s.max = s.mean = s.q99 = quantity.of_system(energies, committee);
  } else {
    s.max = top.value;
    s.mean = sums[1] / sums[0];
    s.q99 = quantile(values, 0.99, world);
  }
  const double reduced[] = {s.max, s.mean, s.q99};
  s.value = reduced[static_cast<int>(reduction)];
  return s;
}
