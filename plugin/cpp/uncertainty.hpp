// From the members' outputs to means, standard deviations and covariances; mollifield/uncertainty.py says the same in
// Python. Sample statistics (ddof = 1); a single member has no spread. Units: eV, Å.
#pragma once

#include "calibration.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace mollifield {

// Of one atom. Covariances: xx yy zz xy xz yz.
struct ForceSpread {
  std::array<double, 3> mean{};
  std::array<double, 6> covariance{};
  double std = 0.0;      // sqrt(trace of covariance)
  double raw_std = 0.0;  // without the calibration
};

// `forces` [M, 3]. In quadrature, `outside` (LatentSpace::outside_std) is added to both stds, and `floor`
// (Calibration::force_floor_std) to the calibrated one.
ForceSpread force_spread(const double *forces, int n_members, const CalibrationTable &table, double outside,
                         double floor);

// Of the total energy.
struct EnergySpread {
  double mean = 0.0;
  double raw_std = 0.0;      // of the members
  double members_std = 0.0;  // that, calibrated
  double slope = 1.0;        // d members_std / d raw_std
  double std = 0.0;          // members_std, and in quadrature what lies far from the training data
};

// `energies` [M]; `far_squares`, eV^2: what is added to the members' variance. That is, sums over all atoms included,
// (outside_std * 1 Å)^2, Calibration::energy_floor_std and Calibration::composition_std squared.
EnergySpread energy_spread(const std::vector<double> &energies, const CalibrationTable &table, double n_atoms,
                           double far_squares);

// Of labels (aleatoric), by the atom.
struct Noise {
  std::vector<double> energy;  // [N] eV², of a noise head: variances that sum to the total energy's
  std::vector<double> force;   // [N, 6] eV²/Å², covariances
};

// In a file without a head, which states a number for each species; `types` [n]. It states none for energies of atoms.
Noise stated_noise(const Calibration &calibration, const std::int64_t *types, std::size_t n);

}  // namespace mollifield
