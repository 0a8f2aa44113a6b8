#include "uncertainty.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mollifield {

ForceSpread force_spread(const double *forces, int n_members, const CalibrationTable &table, double outside,
                         double floor)
{
  ForceSpread found;
  for (int m = 0; m < n_members; m++)
    for (int a = 0; a < 3; a++) found.mean[a] += forces[3 * m + a] / n_members;
  auto &c = found.covariance;
  for (int m = 0; m < n_members && n_members > 1; m++) {
    const double *const f = &forces[3 * m];
    const double d[3] = {f[0] - found.mean[0], f[1] - found.mean[1], f[2] - found.mean[2]};
    const double products[6] = {d[0] * d[0], d[1] * d[1], d[2] * d[2], d[0] * d[1], d[0] * d[2], d[1] * d[2]};
    for (int k = 0; k < 6; k++) c[k] += products[k] / (n_members - 1);
  }
  const double members = std::sqrt(c[0] + c[1] + c[2]);
  const double factor = members > 0.0 ? table(members) / members : 1.0;
  for (double &value : c) value *= factor * factor;
  for (int k = 0; k < 3; k++) c[k] += (outside * outside + floor * floor) / 3.0;
  found.std = std::sqrt(c[0] + c[1] + c[2]);
  found.raw_std = std::hypot(members, outside);
  return found;
}

EnergySpread energy_spread(const std::vector<double> &energies, const CalibrationTable &table, double n_atoms,
                           double far_squares)
{
  EnergySpread found;
  const auto n = static_cast<double>(energies.size());
  found.mean = std::accumulate(energies.begin(), energies.end(), 0.0) / n;
  double squares = 0.0;
  for (const double energy : energies) squares += (energy - found.mean) * (energy - found.mean);
  found.raw_std = std::sqrt(squares / (n - 1.0));
  if (n_atoms > 0.0) {
    found.members_std = n_atoms * table(found.raw_std / n_atoms);
    found.slope = table.slope(found.raw_std / n_atoms);
  }
  found.std = std::sqrt(found.members_std * found.members_std + far_squares);
  return found;
}

Noise stated_noise(const Calibration &calibration, const std::int64_t *types, std::size_t n)
{
  Noise found{std::vector<double>(n, 0.0), std::vector<double>(6 * n, 0.0)};
  for (std::size_t i = 0; i < n; i++) {
    const double std = calibration.force_noise[types[i]];
    std::fill_n(&found.force[6 * i], 3, std * std / 3.0);
  }
  return found;
}

}  // namespace mollifield
