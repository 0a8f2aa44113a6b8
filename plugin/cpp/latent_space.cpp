#include "latent_space.hpp"

#include "contract.hpp"

#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace mollifield {

bool LatentSpace::has_references() const
{
  return std::any_of(references.begin(), references.end(), [](const auto &rows) { return !rows.empty(); });
}

double LatentSpace::factor(std::size_t k, std::size_t n_features) const
{
  if (scale.empty()) return 1.0 / std::sqrt(static_cast<double>(n_features));
  if (scale.size() != n_features)
    throw std::runtime_error("its latent space has " + std::to_string(scale.size()) + " features, the model gives " +
                             std::to_string(n_features));
  return scale[k];
}

double latent_distance(const double *a, const double *b, std::size_t n_features)
{
  double squares = 0.0;
  for (std::size_t k = 0; k < n_features; k++) squares += (a[k] - b[k]) * (a[k] - b[k]);
  return std::sqrt(squares);
}

double LatentSpace::distance(int species, const std::vector<double> &features) const
{
  const auto &rows = references[species];
  double nearest = std::numeric_limits<double>::infinity();
  for (std::size_t at = 0; at < rows.size(); at += features.size())
    nearest = std::min(nearest, latent_distance(&rows[at], features.data(), features.size()));
  return nearest;
}

double LatentSpace::relative_distance(int species, const std::vector<double> &features, double distance) const
{
  if (reach.empty()) return 0.0;
  double found = std::isfinite(reach[species]) ? distance / reach[species] : 0.0;
  if (!whitening.empty()) {
    const std::size_t n = features.size();
    std::vector<double> white(n, 0.0);
    for (std::size_t k = 0; k < n; k++) {
      const double deviation = features[k] - centre[species][k];
      const double *const row = &whitening[species][k * n];
      for (std::size_t l = 0; l < n; l++) white[l] += deviation * row[l];
    }
    double squares = 0.0;
    for (const double value : white) squares += value * value;
    found = std::max(found, std::sqrt(squares));
  }
  return std::min(found, contract::LATENT_FARTHEST);
}

double LatentSpace::outside_std(double relative_distance) const
{
  const double excess = std::max(relative_distance - 1.0, 0.0);
  return force_scale * std::min(excess * excess, contract::OUTSIDE_LIMIT);
}

LatentSpace read_latent_space(const torch::jit::Module &module, int n_species)
{
  LatentSpace space;
  space.references.resize(n_species);
  if (!module.hasattr(contract::LATENT_SPACE_KEY)) return space;
  const auto entries = module.attr(contract::LATENT_SPACE_KEY).toGenericDict();
  if (entries.empty()) return space;
  const auto tensor = [&](const char *key, at::ScalarType dtype) {
    if (!entries.contains(key)) throw std::runtime_error("its latent space has no '" + std::string(key) + "'");
    return entries.at(key).toTensor().to(at::kCPU, dtype).contiguous();
  };
  const at::Tensor scale = tensor(contract::LATENT_SCALE, at::kDouble),
                   references = tensor(contract::LATENT_REFERENCES, at::kDouble),
                   types = tensor(contract::LATENT_TYPES, at::kLong);
  if (scale.dim() != 1 || references.dim() != 2 || references.size(1) != scale.size(0) || types.dim() != 1 ||
      types.size(0) != references.size(0))
    throw std::runtime_error("the tensors of its latent space do not fit each other");
  const std::int64_t n_features = scale.size(0);
  space.scale.assign(scale.data_ptr<double>(), scale.data_ptr<double>() + n_features);
  for (std::int64_t row = 0; row < types.size(0); row++) {
    const std::int64_t species = types[row].item<std::int64_t>();
    if (species < 0 || species >= n_species) throw std::runtime_error("its latent space names an unknown species");
    const double *const first = references.data_ptr<double>() + row * n_features;
    auto &rows = space.references[species];
    rows.insert(rows.end(), first, first + n_features);
  }
  if (!entries.contains(contract::LATENT_REACH)) return space;
  const at::Tensor reach = tensor(contract::LATENT_REACH, at::kDouble),
                   force_scale = tensor(contract::LATENT_FORCE_SCALE, at::kDouble);
  if (reach.dim() != 1 || reach.size(0) != n_species || force_scale.numel() != 1)
    throw std::runtime_error("the reach of its latent space does not fit its species");
  space.reach.assign(reach.data_ptr<double>(), reach.data_ptr<double>() + n_species);
  space.force_scale = force_scale.item<double>();
  if (!entries.contains(contract::LATENT_WHITENING)) return space;
  const at::Tensor centre = tensor(contract::LATENT_CENTRE, at::kDouble),
                   whitening = tensor(contract::LATENT_WHITENING, at::kDouble);
  if (centre.sizes() != at::IntArrayRef({n_species, n_features}) ||
      whitening.sizes() != at::IntArrayRef({n_species, n_features, n_features}))
    throw std::runtime_error("the densities of its latent space do not fit its species and features");
  for (int species = 0; species < n_species; species++) {
    const double *const mean = centre.data_ptr<double>() + species * n_features, *const white =
                                                                                     whitening.data_ptr<double>() +
                                                                                     species * n_features * n_features;
    space.centre.emplace_back(mean, mean + n_features);
    space.whitening.emplace_back(white, white + n_features * n_features);
  }
  return space;
}

}  // namespace mollifield
