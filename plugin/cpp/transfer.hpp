// The one place where numbers cross between the host and the device that a model runs on, so that they are counted.
// Internal: needs torch.
#pragma once

#include "resident_graph.hpp"

#include <ATen/ATen.h>

namespace mollifield {

// Of this process so far.
Transfers &transfers();

// Memory of the host whose content goes to `device`, or comes from it: pinned for a GPU.
at::Tensor host_buffer(at::IntArrayRef sizes, at::ScalarType type, const at::Device &device);

// What a buffer holds. On the CPU the buffer itself; nobody waits for a GPU.
at::Tensor to_device(const at::Tensor &buffer, const at::Device &device);

// `values` by way of a buffer; on the CPU they must outlive the tensor, and nothing is copied.
at::Tensor to_device(const void *values, at::IntArrayRef sizes, at::ScalarType type, const at::Device &device);

// On the host, contiguous; waits for the device.
at::Tensor to_host(const at::Tensor &tensor);

}  // namespace mollifield
