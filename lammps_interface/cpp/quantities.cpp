#include "quantities.h"

#include "committee.h"
#include "contract.hpp"

#include <cmath>

using namespace LAMMPS_NS;

namespace {

std::vector<double> force(const JudgedAtoms &atoms, const Committee &) { return atoms.force_std; }

std::vector<double> aleatoric(const JudgedAtoms &atoms, const Committee &) { return atoms.aleatoric_std; }

// The law of total variance: covariances of both parts add up, and so do their traces.
std::vector<double> total(const JudgedAtoms &atoms, const Committee &)
{
  std::vector<double> values;
  for (std::size_t k = 0; k < atoms.index.size(); k++)
    values.push_back(std::hypot(atoms.force_std[k], atoms.aleatoric_std[k]));
  return values;
}

std::vector<double> force_rel(const JudgedAtoms &atoms, const Committee &committee)
{
  const double *const mean = committee.read<double>("force_mean");
  const double floor = mollifield::contract::FORCE_REL_FLOOR * committee.force_unit();
  std::vector<double> values;
  for (std::size_t k = 0; k < atoms.index.size(); k++) {
    const double *const f = &mean[3 * atoms.index[k]];
    values.push_back(atoms.force_std[k] / (std::sqrt(f[0] * f[0] + f[1] * f[1] + f[2] * f[2]) + floor));
  }
  return values;
}

std::vector<double> interval(const JudgedAtoms &atoms, const Committee &committee)
{
  const double *const all = committee.read<double>("force_interval");
  std::vector<double> values;
  for (const int i : atoms.index) values.push_back(all[i]);
  return values;
}

double energy(const Energies &energies, const Committee &committee) { return committee.energy_std_per_atom(energies); }

std::vector<double> latent(const JudgedAtoms &atoms, const Committee &) { return atoms.latent_distance; }

std::vector<double> outside(const JudgedAtoms &atoms, const Committee &) { return atoms.relative_distance; }

using Unit = Quantity::Unit;
using Needs = Quantity::Needs;

// Key, name, unit, what it needs, of atoms, of the system.
constexpr Quantity QUANTITIES[] = {
    {"force", "force std", Unit::FORCE, Needs::NOTHING, force, nullptr},
    {"force_rel", "relative force std", Unit::ONE, Needs::NOTHING, force_rel, nullptr},
    {"epistemic", "force std", Unit::FORCE, Needs::NOTHING, force, nullptr},
    {"aleatoric", "noise std of force labels", Unit::FORCE, Needs::NOISE, aleatoric, nullptr},
    {"total", "std of force labels", Unit::FORCE, Needs::NOISE, total, nullptr},
    {"interval", "force interval", Unit::FORCE, Needs::INTERVALS, interval, nullptr},
    {"energy", "energy std per atom", Unit::ENERGY, Needs::NOTHING, nullptr, energy},
    {"latent", "latent distance", Unit::ONE, Needs::LATENT_REFERENCES, latent, nullptr},
    {"outside", "relative distance", Unit::ONE, Needs::LATENT_REFERENCES, outside, nullptr},
};

}  // namespace

std::span<const Quantity> LAMMPS_NS::quantities() { return QUANTITIES; }

const Quantity &LAMMPS_NS::quantity_of_trigger(const Quantity &quantity)
{
  return quantity.is_global() ? quantities().front() : quantity;
}

double Quantity::in_run_units(const Committee &committee) const
{
  switch (unit) {
    case Unit::FORCE: return committee.force_unit();
    case Unit::ENERGY: return committee.energy_unit();
    default: return 1.0;
  }
}
