#include "committee.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "pair.h"

#include <cmath>
#include <cstring>
#include <numeric>

using namespace LAMMPS_NS;

// Two models have two committees, of which neither knows the other's atoms.
void Committee::find(const char *fix)
{
  constexpr int EXACTLY = 1, FIRST = 1;
  model = force->pair_match("mollifield", EXACTLY);
  if (!model && force->pair_match("mollifield", EXACTLY, FIRST))
    error->all(FLERR,
               "Fix mollifield/uncertainty: pair_style {} has more than one sub-style mollifield; allowed: one, "
               "whose model describes all atoms that are to be judged",
               force->pair_style);
  if (!model) error->all(FLERR, "Fix mollifield/uncertainty needs pair_style mollifield");
  if (!force->pair->compute_flag || !model->compute_flag)
    error->all(FLERR,
               "Fix mollifield/uncertainty needs the forces of pair_style mollifield, which 'pair_modify compute "
               "no' leaves out; give 'pair_modify compute yes', or unfix {}",
               fix);
  flag = read<int>("force_std_flag");
  members = *read<int>("n_members");
  if (members < 2)
    error->all(FLERR, "Fix mollifield/uncertainty: the model is a single member; "
                      "a committee of 2 or more has a spread");
  symbols = read<const char *>("type_symbols");
  species = read<int>("type_species");
  energy = *read<double>("energy_unit");
  length = *read<double>("length_unit");
  stated = read<const mollifield::Calibration>("calibration");
}

void *Committee::extract(const char *name) const
{
  int dim;
  return model->extract(name, dim);
}

bool Committee::describes(int type) const { return strcmp(symbols[type], "X") != 0; }

bool Committee::states_noise() const { return *read<int>("has_noise_head") || stated->states_force_noise; }

const double *Committee::force_std(bool calibrated) const
{
  return read<double>(calibrated ? "force_std" : "force_std_raw");
}

Energies Committee::energies(bool calibrated) const
{
  Energies found;
  found.members.resize(members);
  MPI_Allreduce(read<double>("member_energies"), found.members.data(), members, MPI_DOUBLE, MPI_SUM, world);
  for (double &member : found.members) member /= energy;
  // Squares of what is outside and of relative distances, variances of noise, and the atoms of each species.
  const double *const outside = read<double>("outside_std"), *const distance = read<double>("relative_distance"),
                      *const noise = read<double>("energy_noise");
  std::vector<double> sums(3 + stated->force.size(), 0.0);
  for (int i = 0; i < atom->nlocal; i++) {
    if (!describes(atom->type[i])) continue;
    sums[0] += outside[i] * outside[i] / (force_unit() * force_unit());
    sums[1] += distance[i] * distance[i];
    sums[2] += noise[i] / (energy * energy);
    sums[3 + species[atom->type[i]]] += 1.0;
  }
  MPI_Allreduce(MPI_IN_PLACE, sums.data(), static_cast<int>(sums.size()), MPI_DOUBLE, MPI_SUM, world);
  const std::vector<double> counts(sums.begin() + 3, sums.end());
  const double n_atoms = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double floor = calibrated ? stated->energy_floor_std(sums[1], n_atoms) : 0.0;
  found.composition_std = stated->composition_std(counts);
  found.n_atoms = static_cast<bigint>(n_atoms);
  found.spread =
      mollifield::energy_spread(found.members, calibrated ? stated->energy : mollifield::CalibrationTable(), n_atoms,
                                sums[0] + floor * floor + found.composition_std * found.composition_std);
  const bool has_head = *read<int>("has_noise_head");
  found.noise_per_atom = has_head && n_atoms > 0.0 ? std::sqrt(sums[2]) / n_atoms : stated->energy_noise;
  return found;
}

double Committee::energy_std_per_atom(const Energies &energies) const
{
  return energies.n_atoms > 0 ? energy * energies.spread.std / static_cast<double>(energies.n_atoms) : 0.0;
}
