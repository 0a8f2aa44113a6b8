// Steps that a fix remembers from one run to the next.
#ifndef LMP_MOLLIFIELD_STEPS_H
#define LMP_MOLLIFIELD_STEPS_H

#include "lmptype.h"

#include <limits>

namespace LAMMPS_NS {

inline constexpr bigint NEVER = std::numeric_limits<bigint>::min();

// After `reset_timestep`.
inline void shift_step(bigint &step, bigint shift)
{
  if (step != NEVER) step += shift;
}

}  // namespace LAMMPS_NS

#endif
