#include "transfer.hpp"

#include <cstring>

namespace mollifield {

Transfers &transfers()
{
  static Transfers counted;
  return counted;
}

at::Tensor host_buffer(at::IntArrayRef sizes, at::ScalarType type, const at::Device &device)
{
  return at::empty(sizes, at::TensorOptions().dtype(type).pinned_memory(device.is_cuda()));
}

at::Tensor to_device(const at::Tensor &buffer, const at::Device &device)
{
  transfers().uploads++;
  transfers().uploaded_bytes += static_cast<std::int64_t>(buffer.nbytes());
  return buffer.to(device, /*non_blocking=*/true);
}

at::Tensor to_device(const void *values, at::IntArrayRef sizes, at::ScalarType type, const at::Device &device)
{
  if (device.is_cpu())
    return to_device(at::from_blob(const_cast<void *>(values), sizes, at::TensorOptions().dtype(type)), device);
  const auto buffer = host_buffer(sizes, type, device);
  if (buffer.numel() > 0) std::memcpy(buffer.data_ptr(), values, buffer.nbytes());
  return to_device(buffer, device);
}

at::Tensor to_host(const at::Tensor &tensor)
{
  transfers().downloads++;
  transfers().downloaded_bytes += static_cast<std::int64_t>(tensor.nbytes());
  const auto whole = tensor.contiguous();
  return whole.is_cpu() ? whole : host_buffer(whole.sizes(), whole.scalar_type(), whole.device()).copy_(whole);
}

}  // namespace mollifield
