// How a model file turns the spread of its members into standard deviations (contract.py, CALIBRATION_KEY). Units: eV,
// Å.
#pragma once

#include <vector>

namespace torch::jit {
struct Module;
}

namespace mollifield {

// Piecewise linear through (0, 0) and the knots, beyond the last one proportional to it. Without knots the identity.
class CalibrationTable {
 public:
  CalibrationTable() = default;
  // Throws std::runtime_error where knots are not positive and rising.
  CalibrationTable(std::vector<double> raw, std::vector<double> calibrated);

  double operator()(double raw) const;
  double slope(double raw) const;
  bool empty() const { return x.empty(); }

 private:
  std::vector<double> x, y;  // (0, 0) first
};

struct Calibration {
  std::vector<CalibrationTable> force;  // of each species, eV/Å
  CalibrationTable energy;              // eV/atom
  // For the distance to the training data, in quadrature: maps of squared relative distances; empty where none is
  // stated.
  std::vector<CalibrationTable> force_floor;   // of each species, eV/Å
  std::vector<CalibrationTable> energy_floor;  // one, of the mean over atoms, eV/atom
  // [k][n_species], eV: compositions that the training did not determine (contract.UNDETERMINED_COMPOSITIONS_KEY).
  std::vector<std::vector<double>> undetermined;
  std::vector<double> force_interval;  // of each species, times the std, at INTERVAL_LEVEL; empty where none is stated
  std::vector<double> force_noise;     // of each species, eV/Å; 0 where the file states none
  double energy_noise = 0.0;           // eV/atom
  bool states_std = false, states_force_noise = false;

  double force_floor_std(int species, double relative_distance) const;
  // Of a total energy, eV, from the sum of squared relative distances.
  double energy_floor_std(double squares, double n_atoms) const;
  // The same, from atoms by species; 0 where their energies are determined.
  double composition_std(const std::vector<double> &counts) const;
};

// Of a file of any readable version. Throws std::runtime_error for tables that are none.
Calibration read_calibration(const torch::jit::Module &module, int n_species);

}  // namespace mollifield
