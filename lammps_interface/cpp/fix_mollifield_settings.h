// Keywords of fix mollifield/uncertainty.
#ifndef LMP_FIX_MOLLIFIELD_SETTINGS_H
#define LMP_FIX_MOLLIFIELD_SETTINGS_H

#include "statistics.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {

class LAMMPS;

struct UncertaintySettings {
  enum StopKind { HARD, SOFT, CONTINUE };

  int every = 1;
  const Quantity *quantity = &quantities().front();
  Reduction reduction = Reduction::MAX;
  bool calibrated = true;

  std::string file;
  bool append = false;
  std::vector<std::string> elements;  // [ntypes] as the frames name them; empty: as pair_coeff does
  double select = 0.0, novelty = 0.0;
  bigint max_frames = -1, min_gap = 0;  // -1: as many as there are

  bool stops = false;
  double stop = 0.0;
  StopKind stop_kind = SOFT;

  bool biased = false;
  double bias = 0.0;
  bigint ramp = 0;

  const char *reduction_key() const { return REDUCTIONS[static_cast<int>(reduction)]; }
};

// Arguments of the fix command from its ID on; everything that is wrong with them is an error naming the keyword.
UncertaintySettings read_uncertainty_settings(LAMMPS *lmp, int narg, char **arg);

}  // namespace LAMMPS_NS

#endif
