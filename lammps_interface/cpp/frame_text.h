// How a frame looks in the file.
#ifndef LMP_MOLLIFIELD_FRAME_TEXT_H
#define LMP_MOLLIFIELD_FRAME_TEXT_H

#include "fix_mollifield_settings.h"
#include "statistics.h"

#include <string>

namespace LAMMPS_NS {

// On rank 0 the extended XYZ of all atoms, sorted by tag, in eV and Å; empty on the others.
std::string frame_text(LAMMPS *, const UncertaintySettings &, const Committee &, const Statistics &);

}  // namespace LAMMPS_NS

#endif
