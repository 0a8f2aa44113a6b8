// Where a model runs: a device by its name. Internal: needs torch.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace mollifield {

// `cpu`, `cuda`, `cuda:N`, or `auto` -> a device that this machine has. Throws std::runtime_error for another name, and
// for a GPU that cannot be used, with what to install for it; in the words of mollifield.devices.
c10::Device choose_device(const std::string &name);

int n_cuda_devices();

}  // namespace mollifield
