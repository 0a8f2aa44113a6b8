// What a step comes to: reductions over atoms, exact over all ranks.
#ifndef LMP_MOLLIFIELD_STATISTICS_H
#define LMP_MOLLIFIELD_STATISTICS_H

#include "committee.h"
#include "quantities.h"

#include <array>
#include <vector>

namespace LAMMPS_NS {

enum class Reduction { MAX, MEAN, Q99 };
inline constexpr std::array<const char *, 3> REDUCTIONS = {"max", "mean", "q99"};  // as in the input

// Over the judged atoms; in the run's units.
struct Statistics {
  double value = 0.0;  // what `select` and `stop` look at
  double max = 0.0, mean = 0.0, q99 = 0.0;
  double max_force_std = 0.0, aleatoric = 0.0, epistemic = 0.0;
  bigint n_outside = 0;  // atoms that no training atom resembles
  Energies energies;
  tagint trigger = 0;  // the atom with the largest value
  double trigger_value = 0.0;
};

// Of all ranks, in their order, on rank 0; empty on the others.
std::vector<double> gather(const std::vector<double> &, MPI_Comm);

Statistics statistics_of(const Quantity &, Reduction, const JudgedAtoms &, const Energies &, const Committee &,
                         MPI_Comm);

}  // namespace LAMMPS_NS

#endif
