// From an operator's tensors to the launch of a kernel that was written for them.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>

#include "compiler.hpp"

namespace mollifield::operators::cuda {

// The program for the dtype and device of `where`; `write` gives its source, which is asked for once for each `name`,
// dtype and device.
std::shared_ptr<const Program> program(const at::Tensor &where, const std::string &name,
                                       const std::function<std::string()> &write);

// Arguments of kernels: T *, i64 and double (source.hpp). A tensor that isn't defined is a null pointer.
inline const void *input(const at::Tensor &tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; }
inline void *output(const at::Tensor &tensor) { return tensor.defined() ? tensor.mutable_data_ptr() : nullptr; }

template <class... A> void launch(const Program &program, const std::string &kernel, const Grid &grid, A... arguments)
{
  static_assert(((std::is_pointer_v<A> || std::is_same_v<A, std::int64_t> || std::is_same_v<A, double>) && ...));
  if (grid.blocks == 0 || grid.blocks_y == 0) return;
  void *addresses[] = {&arguments...};
  program.launch(kernel, grid, addresses);
}

// Blocks of `threads` for n threads in all, `copies` times.
Grid grid_for(std::int64_t n, unsigned threads, std::int64_t copies = 1);

}  // namespace mollifield::operators::cuda
