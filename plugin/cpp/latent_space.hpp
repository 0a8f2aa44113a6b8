// Distances between environments in the space of a model's latent features (contract.py, LATENT_SPACE_KEY).
#pragma once

#include <vector>

namespace torch::jit {
struct Module;
}

namespace mollifield {

// F = M * L features of an atom: those of all members, one member after the other.
struct LatentSpace {
  std::vector<double> scale;                    // [F]; empty where the file has none
  std::vector<std::vector<double>> references;  // of each species [n, F], scaled
  std::vector<double> reach;                    // of each species; empty where the file has none
  std::vector<std::vector<double>> centre;      // of each species [F]; empty where the file has none
  std::vector<std::vector<double>> whitening;   // of each species [F, F], likewise
  double force_scale = 0.0;                     // eV/Å

  bool has_references() const;
  // Factor of feature k of n_features.
  double factor(std::size_t k, std::size_t n_features) const;
  // From scaled features [F] to the nearest reference of the species; infinite where it has none.
  double distance(int species, const std::vector<double> &features) const;
  // Of an atom with these features and this distance, above 1 where it is outside (contract.LATENT_FARTHEST).
  double relative_distance(int species, const std::vector<double> &features, double distance) const;
  // What being outside of the training data adds to the force std, in quadrature, eV/Å (contract.LATENT_REACH).
  double outside_std(double relative_distance) const;
};

double latent_distance(const double *a, const double *b, std::size_t n_features);

// What the file holds; empty for a file without. Throws std::runtime_error for tensors that do not fit each other.
LatentSpace read_latent_space(const torch::jit::Module &module, int n_species);

}  // namespace mollifield
