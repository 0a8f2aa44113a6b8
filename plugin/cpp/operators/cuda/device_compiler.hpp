// Kernels for the GPUs of this machine: NVRTC, a cache on disk, the driver.
#pragma once

#include "compiler.hpp"

#include <map>
#include <string>

namespace mollifield::operators::cuda {

// Null where NVRTC or the driver is not to be had: then the reference has to run, of which a warning tells once.
Compiler *device_compiler();

// What there is of `driver`, `nvrtc` and `cache`, or why it isn't; which `operators` run on a GPU, kernels or
// reference.
std::map<std::string, std::string> device_report();

}  // namespace mollifield::operators::cuda
