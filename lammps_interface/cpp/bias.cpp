#include "bias.h"

#include <algorithm>
#include <cmath>

using namespace LAMMPS_NS;

namespace {

// Below this fraction of the energies their spread is rounding, and has no direction.
constexpr double SPREAD_FLOOR = 1e-14;

}  // namespace

void Bias::start(bigint step)
{
  if (ramp_start == NEVER) ramp_start = step;
}

double Bias::strength(bigint step) const
{
  if (ramp == 0) return tau;
  const double passed = static_cast<double>(step - ramp_start) / static_cast<double>(ramp);
  return tau * std::clamp(passed, 0.0, 1.0);
}

// All atoms feel it, whatever the group: a part of the force of an energy conserves nothing.
void Bias::apply(const Committee &committee, const Energies &energies, bigint step, int n_local, double **forces,
                 double *virial)
{
  const auto &spread = energies.spread;
  const double now = strength(step);
  latest = -now * committee.energy_unit() * spread.members_std;
  double largest = 0.0;
  for (const double member : energies.members) largest = std::max(largest, std::abs(member));
  if (now == 0.0 || !(spread.raw_std > SPREAD_FLOOR * largest)) return;

  // F = tau * sum_m d sigma / dE_m * dE_m / dr, dE_m / dr = -F_m.
  const int n_members = committee.n_members();
  std::vector<double> weights(n_members);
  for (int m = 0; m < n_members; m++)
    weights[m] = -now * spread.slope * (energies.members[m] - spread.mean) / ((n_members - 1) * spread.raw_std);
  const double *const member_forces = committee.read<double>("member_forces"), *const member_virials =
                                                                                   committee.read<double>(
                                                                                       "member_virials");
  for (int i = 0; i < n_local; i++)
    for (int m = 0; m < n_members; m++)
      for (int a = 0; a < 3; a++) forces[i][a] += weights[m] * member_forces[3 * (i * n_members + m) + a];
  for (int m = 0; m < n_members && virial; m++)
    for (int k = 0; k < 6; k++) virial[k] += weights[m] * member_virials[6 * m + k];
}
