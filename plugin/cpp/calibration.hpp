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
  std::vector<double> force_interval;   // of each species, times the std, at INTERVAL_LEVEL; empty where none is stated
  std::vector<double> force_noise;      // of each species, eV/Å; 0 where the file states none
  double energy_noise = 0.0;            // eV/atom
  bool states_std = false, states_force_noise = false;
};

// Of a file of any readable version. Throws std::runtime_error for tables that are none.
Calibration read_calibration(const torch::jit::Module &module, int n_species);

}  // namespace mollifield
