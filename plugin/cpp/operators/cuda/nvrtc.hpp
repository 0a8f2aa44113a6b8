// NVRTC, NVIDIA's compiler as a library, with prototypes of our own ("NVRTC", NVIDIA). It needs neither driver nor GPU.
#pragma once

#include "shared_library.hpp"

namespace mollifield::operators::cuda {

class Nvrtc {
 public:
  // Which every CUDA wheel of torch brings along. Looked for, in this order: what MOLLIFIELD_LIBNVRTC names, beside
  // libtorch and in the wheels next to it, in the loader's own places (a toolkit). Throws std::runtime_error that says
  // what to install.
  static const Nvrtc &get();

  const std::string &path() const { return library.path(); }
  const std::string &version() const { return its_version; }  // 12.9

  // What the source is compiled for on a device of this compute capability (90 for 9.0): machine code (sm_90) where
  // NVRTC knows the device, else PTX of the newest that it knows (compute_90), which the driver compiles further.
  std::string architecture(int compute_capability) const;

  // Machine code or PTX. Throws std::runtime_error with the compiler's log.
  std::string compile(const std::string &source, const std::string &architecture) const;

 private:
  Nvrtc();
  void check(int result, const char *call) const;

  SharedLibrary library;
  std::string its_version;
  int (*get_version)(int *major, int *minor);
  int (*get_number_of_architectures)(int *number);
  int (*get_architectures)(int *architectures);
  int (*create_program)(void **program, const char *source, const char *name, int n_headers, const char *const *headers,
                        const char *const *include_names);
  int (*compile_program)(void *program, int n_options, const char *const *options);
  int (*destroy_program)(void **program);
  int (*get_log_size)(void *program, std::size_t *size);
  int (*get_log)(void *program, char *log);
  int (*get_cubin_size)(void *program, std::size_t *size);
  int (*get_cubin)(void *program, char *code);
  int (*get_ptx_size)(void *program, std::size_t *size);
  int (*get_ptx)(void *program, char *code);
  const char *(*get_error_string)(int result);
};

}  // namespace mollifield::operators::cuda
