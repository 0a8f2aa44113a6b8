// The committee behind pair style mollifield, which is known by its extract() alone.
#ifndef LMP_MOLLIFIELD_COMMITTEE_H
#define LMP_MOLLIFIELD_COMMITTEE_H

#include "pointers.h"
#include "uncertainty.hpp"

#include <vector>

namespace LAMMPS_NS {

// Total energies of the members, eV.
struct Energies {
  std::vector<double> members;
  mollifield::EnergySpread spread;
  double composition_std = 0.0;  // eV, above 0 where the training does not determine the energy of this composition
  bigint n_atoms = 0;            // that the model describes, in the whole system
  double noise_per_atom = 0.0;   // aleatoric std, divided by the number of atoms

  bool outside(bigint n_atoms_outside) const { return n_atoms_outside > 0 || composition_std > 0.0; }
};

class Committee : protected Pointers {
 public:
  explicit Committee(LAMMPS *lmp) : Pointers(lmp) {}

  // At the start of a run: the pair style, or the one of a hybrid style. `fix` is named in messages.
  void find(const char *fix);

  int n_members() const { return members; }
  // The run's units of 1 eV, 1 Å and 1 eV/Å.
  double energy_unit() const { return energy; }
  double length_unit() const { return length; }
  double force_unit() const { return energy / length; }
  const mollifield::Calibration &calibration() const { return *stated; }
  const char *symbol(int type) const { return symbols[type]; }  // "X" for a NULL type
  bool describes(int type) const;
  bool states_noise() const;  // of forces, by the atom or by the species

  // Have the next force computation evaluate the members, or not.
  void ask(bool members_too) { *flag = members_too; }
  // What that left behind, by its name in pair_mollifield.h; in the run's units.
  template <typename T> T *read(const char *name) const { return static_cast<T *>(extract(name)); }
  const double *force_std(bool calibrated) const;  // [nlocal]
  Energies energies(bool calibrated) const;
  double energy_std_per_atom(const Energies &) const;

 private:
  class Pair *model = nullptr;
  int *flag = nullptr;
  int members = 0;
  double energy = 1.0, length = 1.0;
  const mollifield::Calibration *stated = nullptr;
  const char **symbols = nullptr;
  const int *species = nullptr;

  void *extract(const char *) const;
};

}  // namespace LAMMPS_NS

#endif
