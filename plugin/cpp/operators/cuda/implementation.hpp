// Kernels for NVIDIA GPUs: a table like that of the CPU, from kernels that read the same coupling table.
//
// They are text (source.hpp), written when a model first asks for them and compiled where they are to run: by NVRTC for
// a GPU, and by the C++ compiler for the CPU, which shows that their arithmetic is right (host_shim.hpp).
#pragma once

#include "operators/implementation.hpp"

namespace mollifield::operators::cuda {

// For tensors on a GPU; null where nothing compiles for it, and the reference then runs.
const Implementation *implementation();

// The same table, for tensors on the CPU too.
const Implementation &from_source();

}  // namespace mollifield::operators::cuda
