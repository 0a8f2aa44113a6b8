// What a force computation with all members leaves behind for fixes to read.
#ifndef LMP_PAIR_MOLLIFIELD_MEMBERS_H
#define LMP_PAIR_MOLLIFIELD_MEMBERS_H

#include "lmptype.h"

#include <algorithm>
#include <string>
#include <vector>

namespace LAMMPS_NS {

// Values of the local atoms in both forms that readers expect: one block, or a pointer for each atom. A rank without
// atoms has one unused row, because a null pointer means that there are no values at all.
struct AtomValues {
  std::vector<double> block;
  std::vector<double *> rows;

  void clear(int n_atoms, int n_columns)
  {
    const std::size_t n = std::max(n_atoms, 1);
    block.assign(n * n_columns, 0.0);
    rows.resize(n);
    for (std::size_t i = 0; i < n; i++) rows[i] = &block[i * n_columns];
  }
};

struct MemberOutputs {
  bigint step = -1;  // of the last computation
  AtomValues force_std, force_std_raw, force_interval, force_mean, force_covariance, aleatoric_std,
      aleatoric_covariance, energy_noise, latent_distance, relative_distance, outside_std;
  std::vector<double> latent, latent_scale;  // features of `latent_atom`, and of all atoms their scale
  std::vector<double> member_energies, member_virials;
  int n_latent = 0, latent_atom = 0, has_latent_references = 0, has_noise_head = 0;

  std::size_t n_doubles() const
  {
    return force_std.block.capacity() + force_std_raw.block.capacity() + force_mean.block.capacity() +
           force_covariance.block.capacity() + aleatoric_std.block.capacity() + latent_distance.block.capacity() +
           aleatoric_covariance.block.capacity() + energy_noise.block.capacity() + force_interval.block.capacity() +
           outside_std.block.capacity() + relative_distance.block.capacity();
  }
};

}  // namespace LAMMPS_NS

#endif
