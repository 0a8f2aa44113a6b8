// What fix mollifield/uncertainty can look at: a table with a row for each quantity.
#ifndef LMP_MOLLIFIELD_QUANTITIES_H
#define LMP_MOLLIFIELD_QUANTITIES_H

#include "lmptype.h"

#include <span>
#include <vector>

namespace LAMMPS_NS {

class Committee;
struct Energies;

// The atoms of the group that the model describes, on this rank; values in the run's units.
struct JudgedAtoms {
  std::vector<int> index;  // among the local atoms
  std::vector<tagint> tag;
  std::vector<double> force_std, aleatoric_std, latent_distance, relative_distance;
};

struct Quantity {
  enum class Unit { FORCE, ENERGY, ONE };
  enum class Needs { NOTHING, LATENT_REFERENCES, INTERVALS, NOISE };  // of the model file

  const char *key;   // in the input
  const char *name;  // in messages
  Unit unit;
  Needs needs;
  // One of the two: a value for each judged atom, or one for the whole system.
  std::vector<double> (*of_atoms)(const JudgedAtoms &, const Committee &);
  double (*of_system)(const Energies &, const Committee &);

  bool is_global() const { return of_system != nullptr; }
  double in_run_units(const Committee &) const;  // of 1 in eV, eV/Å or 1
};

// The first one is the default.
std::span<const Quantity> quantities();

// By this one the atom is named that a quantity points at: a global one points at none, whence the default's.
const Quantity &quantity_of_trigger(const Quantity &);

}  // namespace LAMMPS_NS

#endif
