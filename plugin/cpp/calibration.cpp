#include "calibration.hpp"

#include "contract.hpp"

#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace mollifield {

CalibrationTable::CalibrationTable(std::vector<double> raw, std::vector<double> calibrated) :
    x(std::move(raw)), y(std::move(calibrated))
{
  for (auto *const values : {&x, &y}) {
    values->insert(values->begin(), 0.0);
    for (std::size_t k = 1; k < values->size(); k++)
      if (!(values->at(k) > values->at(k - 1)) || !std::isfinite(values->at(k)))
        throw std::runtime_error("the knots of its calibration are not positive and rising");
  }
}

double CalibrationTable::operator()(double raw) const
{
  if (x.empty()) return raw;
  if (raw > x.back()) return raw * (y.back() / x.back());
  const std::size_t k = std::max<std::ptrdiff_t>(std::lower_bound(x.begin(), x.end(), raw) - x.begin(), 1);
  return y[k - 1] + (raw - x[k - 1]) * ((y[k] - y[k - 1]) / (x[k] - x[k - 1]));
}

double CalibrationTable::slope(double raw) const
{
  if (x.empty()) return 1.0;
  if (raw > x.back()) return y.back() / x.back();
  const std::size_t k = std::max<std::ptrdiff_t>(std::lower_bound(x.begin(), x.end(), raw) - x.begin(), 1);
  return (y[k] - y[k - 1]) / (x[k] - x[k - 1]);
}

double Calibration::force_floor_std(int species, double relative_distance) const
{
  return force_floor.empty() ? 0.0 : force_floor[species](relative_distance * relative_distance);
}

double Calibration::energy_floor_std(double squares, double n_atoms) const
{
  return energy_floor.empty() || n_atoms == 0.0 ? 0.0 : n_atoms * energy_floor.front()(squares / n_atoms);
}

double Calibration::composition_std(const std::vector<double> &counts) const
{
  const double n_atoms = std::accumulate(counts.begin(), counts.end(), 0.0);
  double variance = 0.0;
  for (const auto &row : undetermined) {
    const double missed = std::inner_product(row.begin(), row.end(), counts.begin(), 0.0),
                 length = std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0));
    if (std::abs(missed) > contract::COMPOSITION_TOLERANCE * length * n_atoms) variance += missed * missed;
  }
  return std::sqrt(variance);
}

namespace {

using Entries = c10::impl::GenericDict;

// A table [n_rows, K, 2], undefined where it is not there.
at::Tensor knots_of(const Entries &entries, const std::string &key, int n_rows)
{
  const auto found = entries.find(key);
  if (found == entries.end()) return {};
  const at::Tensor knots = found->value().toTensor().to(at::kCPU, at::kDouble).contiguous();
  if (knots.dim() != 3 || knots.size(0) != n_rows || knots.size(1) < 1 || knots.size(2) != 2)
    throw std::runtime_error("calibration '" + key + "' is no table of knots for " + std::to_string(n_rows) +
                             " row(s)");
  return knots;
}

// Rows of a table, or the factor of version 1 in each of them; empty where there is neither.
std::vector<CalibrationTable> tables(const Entries &entries, const std::string &key, int n_rows)
{
  const auto factor = entries.find(key + "_factor");
  if (factor != entries.end() && factor->value().isDouble())
    return std::vector<CalibrationTable>(n_rows, CalibrationTable({1.0}, {factor->value().toDouble()}));
  const at::Tensor knots = knots_of(entries, key, n_rows);
  if (!knots.defined()) return {};
  std::vector<CalibrationTable> rows;
  for (int row = 0; row < n_rows; row++) {
    std::vector<double> raw, calibrated;
    for (std::int64_t k = 0; k < knots.size(1); k++) {
      raw.push_back(knots[row][k][0].item<double>());
      calibrated.push_back(knots[row][k][1].item<double>());
    }
    rows.emplace_back(std::move(raw), std::move(calibrated));
  }
  return rows;
}

std::vector<double> numbers(const Entries &entries, const char *key, int n_rows)
{
  const auto found = entries.find(key);
  if (found == entries.end()) return {};
  if (found->value().isDouble()) return std::vector<double>(n_rows, found->value().toDouble());
  const at::Tensor values = found->value().toTensor().to(at::kCPU, at::kDouble).contiguous();
  if (values.dim() != 1 || values.size(0) != n_rows)
    throw std::runtime_error("calibration '" + std::string(key) + "' does not have " + std::to_string(n_rows) +
                             " number(s)");
  return {values.data_ptr<double>(), values.data_ptr<double>() + n_rows};
}

// At a level, from a table [n_rows, K, 2] of levels and multiples; empty where it is not there.
std::vector<double> multiples(const Entries &entries, const std::string &key, int n_rows, double level)
{
  const at::Tensor knots = knots_of(entries, key, n_rows);
  if (!knots.defined()) return {};
  std::vector<double> values;
  for (int row = 0; row < n_rows; row++)
    for (std::int64_t k = 0; k < knots.size(1); k++)
      if (std::abs(knots[row][k][0].item<double>() - level) < 1e-9) values.push_back(knots[row][k][1].item<double>());
  if (static_cast<int>(values.size()) != n_rows) values.clear();
  return values;
}

std::vector<std::vector<double>> undetermined_compositions(const torch::jit::Module &module, int n_species)
{
  std::vector<std::vector<double>> rows;
  if (!module.hasattr(contract::UNDETERMINED_COMPOSITIONS_KEY)) return rows;
  const at::Tensor table =
      module.attr(contract::UNDETERMINED_COMPOSITIONS_KEY).toTensor().to(at::kCPU, at::kDouble).contiguous();
  if (table.dim() != 2 || table.size(1) != n_species)
    throw std::runtime_error("its undetermined compositions do not have " + std::to_string(n_species) + " column(s)");
  for (std::int64_t row = 0; row < table.size(0); row++) {
    const double *const first = table.data_ptr<double>() + row * n_species;
    rows.emplace_back(first, first + n_species);
  }
  return rows;
}

}  // namespace

Calibration read_calibration(const torch::jit::Module &module, int n_species)
{
  const auto entries = module.attr(contract::CALIBRATION_KEY).toGenericDict();
  Calibration found;
  found.force = tables(entries, contract::FORCE_STD, n_species);
  const auto energy = tables(entries, contract::ENERGY_STD, 1);
  found.states_std = !found.force.empty() || !energy.empty();
  if (found.force.empty()) found.force.resize(n_species);
  if (!energy.empty()) found.energy = energy.front();
  found.force_floor = tables(entries, contract::FORCE_FLOOR, n_species);
  found.energy_floor = tables(entries, contract::ENERGY_FLOOR, 1);
  found.undetermined = undetermined_compositions(module, n_species);
  found.force_interval = multiples(entries, contract::FORCE_INTERVAL, n_species, contract::INTERVAL_LEVEL);
  found.force_noise = numbers(entries, contract::FORCE_NOISE_STD, n_species);
  found.states_force_noise = !found.force_noise.empty();
  found.force_noise.resize(n_species, 0.0);
  const auto energy_noise = numbers(entries, contract::ENERGY_NOISE_STD, 1);
  if (!energy_noise.empty()) found.energy_noise = energy_noise.front();
  return found;
}

}  // namespace mollifield
