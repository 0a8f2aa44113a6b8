// The part of NVIDIA's driver API that running a kernel takes, with prototypes of our own: no CUDA header, no toolkit.
// Of "CUDA Driver API", NVIDIA; its functions of version 2 where there is one.
#pragma once

#include "compiler.hpp"
#include "shared_library.hpp"

#include <mutex>

namespace mollifield::operators::cuda {

class Driver {
 public:
  // libcuda.so.1, or what MOLLIFIELD_LIBCUDA names. Throws std::runtime_error that says what to install.
  static const Driver &get();

  int version() const;                               // 12080 for CUDA 12.8
  int compute_capability(c10::Device device) const;  // 90 for 9.0

  // Kernels of a compiled module. It is never unloaded: at the end of a program the driver may be gone first.
  std::shared_ptr<const Program> load(const std::string &binary, c10::Device device) const;

 private:
  friend class LoadedProgram;
  Driver();
  void check(int result, const char *call) const;
  int handle_of(c10::Device device) const;

  SharedLibrary library;
  int (*init)(unsigned flags);
  int (*driver_get_version)(int *version);
  int (*device_get)(int *device, int ordinal);
  int (*device_get_attribute)(int *value, int attribute, int device);
  int (*primary_context_retain)(void **context, int device);
  int (*context_push)(void *context);
  int (*context_pop)(void **context);
  int (*module_load_data)(void **module, const void *image);
  int (*module_get_function)(void **function, void *module, const char *name);
  int (*launch_kernel)(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **arguments,
                       void **extra);
  int (*get_error_name)(int result, const char **name);
  int (*get_error_string)(int result, const char **text);
};

}  // namespace mollifield::operators::cuda
