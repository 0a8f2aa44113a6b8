// What fix mollifield/uncertainty says of a step.
#include "fix_mollifield_uncertainty.h"

#include "atom.h"
#include "comm.h"
#include "contract.hpp"
#include "error.h"
#include "memory.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

using namespace LAMMPS_NS;

// What LAMMPS reads between runs too, when it likes: an atom that no computation has met has no std, not one of 0.
void FixMollifieldUncertainty::grow_arrays(int n_max)
{
  const int known = max_atoms;
  max_atoms = std::max(n_max, 1);    // a null pointer would be no array
  memory->grow(array_atom, max_atoms, N_COLUMNS, "mollifield/uncertainty:array_atom");
  for (int i = known; i < max_atoms; i++) set_arrays(i);
}

void FixMollifieldUncertainty::set_arrays(int i)
{
  std::fill_n(array_atom[i], N_COLUMNS, std::numeric_limits<double>::quiet_NaN());
}

void FixMollifieldUncertainty::copy_arrays(int from, int to, int /*delflag*/)
{
  std::copy_n(array_atom[from], N_COLUMNS, array_atom[to]);
}

int FixMollifieldUncertainty::pack_exchange(int i, double *buffer)
{
  std::copy_n(array_atom[i], N_COLUMNS, buffer);
  return N_COLUMNS;
}

int FixMollifieldUncertainty::unpack_exchange(int i, double *buffer)
{
  std::copy_n(buffer, N_COLUMNS, array_atom[i]);
  return N_COLUMNS;
}

void FixMollifieldUncertainty::fill_columns()
{
  const double *const force_std = atomic_std(), *const noise = from_pair<double>("aleatoric_std"),
                      *const distance = from_pair<double>("latent_distance");
  for (int i = 0; i < atom->nlocal; i++) {
    const bool counts = (atom->mask[i] & groupbit) && is_modelled(i);
    array_atom[i][0] = counts ? force_std[i] : 0.0;
    array_atom[i][1] = counts ? noise[i] : 0.0;
    array_atom[i][2] = counts ? distance[i] : 0.0;
  }
}

const double *FixMollifieldUncertainty::atomic_std()
{
  return from_pair<double>(settings.calibrated ? "force_std" : "force_std_raw");
}

FixMollifieldUncertainty::Energies FixMollifieldUncertainty::total_energies()
{
  Energies found;
  found.members.resize(n_members);
  MPI_Allreduce(from_pair<double>("member_energies"), found.members.data(), n_members, MPI_DOUBLE, MPI_SUM, world);
  for (double &energy : found.members) energy /= energy_unit;
  const double *const outside = from_pair<double>("outside_std");
  double local[2] = {0.0, 0.0}, sums[2];
  for (int i = 0; i < atom->nlocal; i++) {
    local[0] += is_modelled(i);
    local[1] += outside[i] * outside[i] / (force_unit * force_unit);
  }
  MPI_Allreduce(local, sums, 2, MPI_DOUBLE, MPI_SUM, world);
  const mollifield::CalibrationTable none;
  found.spread = mollifield::energy_spread(found.members, settings.calibrated ? calibration->energy : none, sums[0], sums[1]);
  return found;
}

void FixMollifieldUncertainty::update_statistics(const Energies &energy)
{
  fill_columns();
  auto &s = statistics;
  s = {};
  s.energy = energy;
  bigint local_modelled = 0;
  for (int i = 0; i < atom->nlocal; i++) local_modelled += is_modelled(i);
  MPI_Allreduce(&local_modelled, &s.n_modelled, 1, MPI_LMP_BIGINT, MPI_SUM, world);

  double local[4] = {0.0, 0.0, 0.0, 0.0}, sums[4];
  std::vector<double> force_std, quantity = atomic_quantity();
  for (int i = 0, k = 0; i < atom->nlocal; i++) {
    if (!(atom->mask[i] & groupbit) || !is_modelled(i)) continue;
    force_std.push_back(array_atom[i][0]);
    local[0] += 1.0;
    local[1] += quantity[k++];
    local[2] += array_atom[i][0] * array_atom[i][0];
    local[3] += array_atom[i][1] * array_atom[i][1];
  }
  MPI_Allreduce(local, sums, 4, MPI_DOUBLE, MPI_SUM, world);
  if (sums[0] == 0.0) return;
  s.epistemic = std::sqrt(sums[2] / sums[0]);
  s.aleatoric = std::sqrt(sums[3] / sums[0]);
  s.max_force_std = largest(force_std).value;
  const Extreme top = largest(quantity);
  s.trigger = top.tag;
  s.trigger_value = top.value;
  s.max = top.value;
  s.mean = sums[1] / sums[0];
  s.q99 = quantile(quantity, 0.99);
  // One number for the whole system; its trigger is still the atom with the largest force std.
  if (settings.quantity == UncertaintySettings::ENERGY)
    s.max = s.mean = s.q99 = energy_unit * energy.spread.std / static_cast<double>(s.n_modelled);
  const double reduced[] = {s.max, s.mean, s.q99};
  s.value = reduced[settings.reduction];
}

// Of the group's modelled atoms on this rank, in their order.
std::vector<double> FixMollifieldUncertainty::atomic_quantity()
{
  const double *const mean = from_pair<double>("force_mean");
  const double floor = mollifield::contract::FORCE_REL_FLOOR * force_unit;
  std::vector<double> values;
  for (int i = 0; i < atom->nlocal; i++) {
    if (!(atom->mask[i] & groupbit) || !is_modelled(i)) continue;
    const double *const f = &mean[3 * i], *const row = array_atom[i];
    switch (settings.quantity) {
      case UncertaintySettings::FORCE_REL:
        values.push_back(row[0] / (std::sqrt(f[0] * f[0] + f[1] * f[1] + f[2] * f[2]) + floor));
        break;
      case UncertaintySettings::LATENT: values.push_back(row[2]); break;
      default: values.push_back(row[0]);
    }
  }
  return values;
}

// Largest of what atomic_quantity() lists, with its tag (the smallest, should two atoms tie).
FixMollifieldUncertainty::Extreme FixMollifieldUncertainty::largest(const std::vector<double> &values)
{
  double local = -1.0;
  tagint local_tag = MAXTAGINT;
  for (int i = 0, k = 0; i < atom->nlocal; i++) {
    if (!(atom->mask[i] & groupbit) || !is_modelled(i)) continue;
    const double value = values[k++];
    if (value < local || (value == local && atom->tag[i] >= local_tag)) continue;
    local = value;
    local_tag = atom->tag[i];
  }
  Extreme found{};
  MPI_Allreduce(&local, &found.value, 1, MPI_DOUBLE, MPI_MAX, world);
  if (local != found.value) local_tag = MAXTAGINT;
  MPI_Allreduce(&local_tag, &found.tag, 1, MPI_LMP_TAGINT, MPI_MIN, world);
  return found;
}

// Exact over all ranks, interpolated as numpy's 'linear'. Only what lies above the quantile has to travel.
double FixMollifieldUncertainty::quantile(const std::vector<double> &values, double fraction)
{
  const bigint mine = static_cast<bigint>(values.size());
  bigint n = 0;
  MPI_Allreduce(&mine, &n, 1, MPI_LMP_BIGINT, MPI_SUM, world);
  const double place = fraction * static_cast<double>(n - 1);
  const bigint below = static_cast<bigint>(std::floor(place));
  const int size = static_cast<int>(std::min(mine, n - below));
  std::vector<double> top(values);
  std::partial_sort(top.begin(), top.begin() + size, top.end(), std::greater<>());

  std::vector<int> sizes(comm->nprocs), offsets(comm->nprocs, 0);
  MPI_Gather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, world);
  std::partial_sum(sizes.begin(), sizes.end() - 1, offsets.begin() + 1);
  std::vector<double> all(comm->me == 0 ? offsets.back() + sizes.back() : 0);
  MPI_Gatherv(top.data(), size, MPI_DOUBLE, all.data(), sizes.data(), offsets.data(), MPI_DOUBLE, 0, world);
  double result = 0.0;
  if (comm->me == 0) {
    // Descending: the value at rank r from below is the (n - 1 - r)-th.
    std::sort(all.begin(), all.end(), std::greater<>());
    const double low = all[n - 1 - below], high = all[std::max<bigint>(n - 2 - below, 0)];
    result = low + (place - static_cast<double>(below)) * (high - low);
  }
  MPI_Bcast(&result, 1, MPI_DOUBLE, 0, world);
  return result;
}
