// Bias towards what the committee does not know: E = E_driver - tau * sigma_E, sigma_E the std of the members' total
// energies, after Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023), and Zaverkin et al., npj Comput. Mater. 10, 83
// (2024). What the energy std has for atoms outside of the training data does not enter: it has no gradient here.
#include "fix_mollifield_uncertainty.h"

#include "atom.h"
#include "update.h"

#include <algorithm>
#include <cmath>

using namespace LAMMPS_NS;

namespace {

// Below this fraction of the energies their spread is rounding, and has no direction.
constexpr double SPREAD_FLOOR = 1e-14;

}    // namespace

double FixMollifieldUncertainty::bias_strength() const
{
  if (settings.ramp == 0) return settings.bias;
  const double passed = static_cast<double>(update->ntimestep - ramp_start) / static_cast<double>(settings.ramp);
  return settings.bias * std::clamp(passed, 0.0, 1.0);
}

// All atoms feel it, whatever the group: a part of the force of an energy conserves nothing.
void FixMollifieldUncertainty::apply_bias(int vflag, const Energies &energy)
{
  v_init(vflag);
  const auto &spread = energy.spread;
  const double strength = bias_strength();
  bias_energy = -strength * energy_unit * spread.members_std;
  double largest = 0.0;
  for (const double member : energy.members) largest = std::max(largest, std::abs(member));
  if (strength == 0.0 || !(spread.raw_std > SPREAD_FLOOR * largest)) return;

  // F = tau * sum_m d sigma / dE_m * dE_m / dr, dE_m / dr = -F_m.
  std::vector<double> weights(n_members);
  for (int m = 0; m < n_members; m++)
    weights[m] = -strength * spread.slope * (energy.members[m] - spread.mean) / ((n_members - 1) * spread.raw_std);
  const double *const forces = from_pair<double>("member_forces"), *const virials = from_pair<double>("member_virials");
  for (int i = 0; i < atom->nlocal; i++)
    for (int m = 0; m < n_members; m++)
      for (int a = 0; a < 3; a++) atom->f[i][a] += weights[m] * forces[3 * (i * n_members + m) + a];
  for (int m = 0; m < n_members && vflag_global; m++)
    for (int k = 0; k < 6; k++) virial[k] += weights[m] * virials[6 * m + k];
}
