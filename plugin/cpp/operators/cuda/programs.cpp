#include "programs.hpp"

#include <map>
#include <mutex>

#include "device_compiler.hpp"
#include "host_shim.hpp"

namespace mollifield::operators::cuda {
namespace {

Compiler &compiler_for(const at::Device &device)
{
  if (device.is_cpu()) return host_compiler();
  Compiler *const compiler = device.is_cuda() ? device_compiler() : nullptr;
  TORCH_CHECK(compiler, "nothing compiles kernels for ", device);
  return *compiler;
}

}  // namespace

std::shared_ptr<const Program> program(const at::Tensor &where, const std::string &name,
                                       const std::function<std::string()> &write)
{
  static std::mutex mutex;
  static auto &programs = *new std::map<std::string, std::shared_ptr<const Program>>();  // the driver may end before us
  const std::string key = c10::str(name, ' ', where.scalar_type(), ' ', where.device());
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = programs.find(key);
    if (found != programs.end()) return found->second;
  }
  const auto made = compiler_for(where.device()).compile(write(), where.device());
  const std::lock_guard<std::mutex> lock(mutex);
  return programs.emplace(key, made).first->second;
}

Grid grid_for(std::int64_t n, unsigned threads, std::int64_t copies)
{
  const std::int64_t blocks = (n + threads - 1) / threads;
  TORCH_CHECK_VALUE(blocks < (std::int64_t(1) << 31) && copies < (1 << 16), "too much for one launch: ", n,
                    " threads, ", copies, " times; allowed are 2^31 blocks of ", threads, ", 65535 times");
  return {static_cast<unsigned>(blocks), threads, static_cast<unsigned>(copies)};
}

}  // namespace mollifield::operators::cuda
