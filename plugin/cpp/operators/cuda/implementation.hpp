// Kernels for NVIDIA GPUs: a table like that of the CPU, from kernels that read the same coupling table.
#pragma once

#include "operators/implementation.hpp"

namespace mollifield::operators::cuda {

// Null where they aren't built; the reference then runs.
const Implementation *implementation();

}  // namespace mollifield::operators::cuda
