// Bias towards what the committee does not know: E = E_driver - tau * sigma_E, sigma_E the std of the members' total
// energies, after Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023), and Zaverkin et al., npj Comput. Mater. 10, 83
// (2024). What the energy std has for atoms outside of the training data does not enter: it has no gradient here.
#ifndef LMP_MOLLIFIELD_BIAS_H
#define LMP_MOLLIFIELD_BIAS_H

#include "committee.h"
#include "steps.h"

namespace LAMMPS_NS {

class Bias {
 public:
  // `tau` is reached after `ramp` steps, at once with 0.
  Bias(double tau, bigint ramp) : tau(tau), ramp(ramp) {}

  // The ramp's first step: that of the first run.
  void start(bigint step);
  bigint started() const { return ramp_start; }
  void resume(bigint step) { ramp_start = step; }
  void shift(bigint by) { shift_step(ramp_start, by); }

  // Adds to the forces of the local atoms, and to the virial (xx yy zz xy xz yz) unless that is null.
  void apply(const Committee &, const Energies &, bigint step, int n_local, double **forces, double *virial);
  double energy() const { return latest; }  // of the last step, in the run's unit

 private:
  const double tau;
  const bigint ramp;
  bigint ramp_start = NEVER;
  double latest = 0.0;

  double strength(bigint step) const;
};

}  // namespace LAMMPS_NS

#endif
