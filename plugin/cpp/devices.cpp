#include "devices.hpp"

#include "operators/cuda/device_compiler.hpp"

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <stdexcept>

namespace mollifield {

namespace {

std::string why_no_gpu()
{
  if (!c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA))
    return "torch " TORCH_VERSION " is built for CPUs alone; PyPI's own for Linux has CUDA: pip install "
           "--force-reinstall torch==" TORCH_VERSION " --index-url https://pypi.org/simple "
           "(nothing of Mollifield has to be built again)";
  return "torch " TORCH_VERSION " has CUDA and finds no GPU: " + operators::cuda::device_report()["driver"];
}

}  // namespace

c10::Device choose_device(const std::string &name)
{
  if (name == "auto") return {torch::cuda::is_available() ? "cuda:0" : "cpu"};
  if (name == "cpu") return {name};
  if (name != "cuda" && name.rfind("cuda:", 0) != 0)
    throw std::runtime_error("device '" + name + "' is unknown; allowed: cpu, cuda, cuda:N, auto");
  if (!torch::cuda::is_available())
    throw std::runtime_error("device '" + name + "': " + why_no_gpu() + "; or use device cpu or auto");
  const c10::Device device(name == "cuda" ? "cuda:0" : name);
  if (device.index() >= n_cuda_devices())
    throw std::runtime_error("device '" + name + "': there are " + std::to_string(n_cuda_devices()) +
                             " GPUs here: cuda:0 to cuda:" + std::to_string(n_cuda_devices() - 1));
  return device;
}

int n_cuda_devices() { return static_cast<int>(torch::cuda::device_count()); }

}  // namespace mollifield
