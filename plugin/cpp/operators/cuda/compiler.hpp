// From the source of kernels to something that runs: on a GPU, or, to check the arithmetic without one, on the CPU.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

namespace mollifield::operators::cuda {

struct Grid {
  unsigned blocks = 1, threads = 1;  // along x
  unsigned blocks_y = 1, threads_y = 1;
};

// Kernels of one source, compiled and loaded for one device.
class Program {
 public:
  virtual ~Program() = default;

  // `arguments`: pointers to the kernel's arguments in their order. Runs after whatever the tensors' current stream has
  // been given before; returns without waiting where the device can go on alone. An empty grid is no launch.
  virtual void launch(const std::string &kernel, const Grid &grid, void **arguments) const = 0;
};

class Compiler {
 public:
  virtual ~Compiler() = default;

  // `source` is CUDA C++ that includes nothing, with kernels as `extern "C" __global__`. Throws std::runtime_error with
  // the compiler's log. The same source on the same device comes from memory.
  virtual std::shared_ptr<const Program> compile(const std::string &source, const c10::Device &device) = 0;
};

}  // namespace mollifield::operators::cuda
