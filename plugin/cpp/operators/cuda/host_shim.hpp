// Kernels for GPUs, run on the CPU to check their arithmetic where there is no GPU.
#pragma once

#include "compiler.hpp"

namespace mollifield::operators::cuda {

// Compiles with the C++ compiler of the environment (CXX, else c++; MOLLIFIELD_HOST_SHIM_FLAGS are added to its
// options) and keeps what it made in the cache folder, with its source beside it. Blocks and the threads of a block run
// one after the other, so a kernel that holds in any order of them holds; with -DMOLLIFIELD_REVERSED among the flags
// the last comes first.
Compiler &host_compiler();

}  // namespace mollifield::operators::cuda
