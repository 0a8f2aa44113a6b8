// Keywords of fix mollifield/uncertainty.
#ifndef LMP_FIX_MOLLIFIELD_SETTINGS_H
#define LMP_FIX_MOLLIFIELD_SETTINGS_H

#include "lmptype.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {

class LAMMPS;

struct UncertaintySettings {
  enum Quantity { FORCE, FORCE_REL, ENERGY, LATENT };
  enum Reduction { MAX, MEAN, Q99 };
  enum StopKind { HARD, SOFT, CONTINUE };

  int every = 1;
  Quantity quantity = FORCE;
  Reduction reduction = MAX;
  bool calibrated = true;

  std::string file;
  bool append = false;
  std::vector<std::string> elements;    // [ntypes] as the frames name them; empty: as pair_coeff does
  double select = 0.0, novelty = 0.0;
  bigint max_frames = -1, min_gap = 0;    // -1: as many as there are

  bool stops = false;
  double stop = 0.0;
  StopKind stop_kind = SOFT;

  bool biased = false;
  double bias = 0.0;
  bigint ramp = 0;

  const char *quantity_name() const;     // for messages
  const char *quantity_key() const;      // as in the input
  const char *reduction_key() const;
};

// Arguments of the fix command from its ID on; everything that is wrong with them is an error naming the keyword.
UncertaintySettings read_uncertainty_settings(LAMMPS *lmp, int narg, char **arg);

}    // namespace LAMMPS_NS

#endif
