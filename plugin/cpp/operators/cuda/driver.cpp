#include "driver.hpp"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

#include <cstdlib>
#include <map>

namespace mollifield::operators::cuda {

namespace {

constexpr int kCapabilityMajor = 75, kCapabilityMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...

std::vector<std::string> places()
{
  const char *const wish = std::getenv("MOLLIFIELD_LIBCUDA");
  return {wish ? wish : "libcuda.so.1"};
}

// Of this thread, as torch has it.
void *current_stream(c10::Device device)
{
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 11
  const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
  return guard.getStreamNativeHandle(guard.getStream(device));
#else
  static const SharedLibrary torch({"libtorch_cuda.so"}, "torch has no libtorch_cuda.so");
  int (*get)(std::int32_t, void **) = nullptr;
  torch.find(get, "aoti_torch_get_current_cuda_stream");
  void *stream = nullptr;
  if (get(device.index(), &stream) != 0) throw std::runtime_error("torch tells no current stream of " + device.str());
  return stream;
#endif
}

}  // namespace

// Kernels of one module on one device.
class LoadedProgram : public Program {
 public:
  LoadedProgram(const Driver &its_driver, const std::string &binary, c10::Device its_device) :
      driver(its_driver), device(its_device)
  {
    // torch works in the primary context too, which is one a device.
    driver.check(driver.primary_context_retain(&context, driver.handle_of(device)), "cuDevicePrimaryCtxRetain");
    const Current current(*this);
    driver.check(driver.module_load_data(&module, binary.data()), "cuModuleLoadData");
  }

  void launch(const std::string &kernel, const Grid &grid, void **arguments) const override
  {
    if (grid.blocks == 0 || grid.threads == 0 || grid.blocks_y == 0 || grid.threads_y == 0) return;
    const Current current(*this);
    const int result = driver.launch_kernel(function(kernel), grid.blocks, grid.blocks_y, 1, grid.threads,
                                            grid.threads_y, 1, 0, current_stream(device), arguments, nullptr);
    driver.check(result, ("cuLaunchKernel of " + kernel).c_str());
  }

 private:
  // The device's context for as long as this lives, whatever the thread's was.
  struct Current {
    const Driver &driver;
    explicit Current(const LoadedProgram &program) : driver(program.driver)
    {
      driver.check(driver.context_push(program.context), "cuCtxPushCurrent");
    }
    ~Current()
    {
      void *popped = nullptr;
      driver.context_pop(&popped);
    }
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;
  };

  const Driver &driver;
  const c10::Device device;
  void *context = nullptr, *module = nullptr;
  mutable std::mutex mutex;
  mutable std::map<std::string, void *> functions;

  void *function(const std::string &name) const
  {
    const std::lock_guard<std::mutex> lock(mutex);
    void *&found = functions[name];
    if (!found)
      driver.check(driver.module_get_function(&found, module, name.c_str()),
                   ("cuModuleGetFunction of " + name).c_str());
    return found;
  }
};

const Driver &Driver::get()
{
  static const Driver driver;
  return driver;
}

Driver::Driver() :
    library(places(),
            "no NVIDIA driver: libcuda.so.1 is not on this machine; install the driver of the GPU, or ask for "
            "a node that has one")
{
  library.find(init, "cuInit");
  library.find(driver_get_version, "cuDriverGetVersion");
  library.find(device_get, "cuDeviceGet");
  library.find(device_get_attribute, "cuDeviceGetAttribute");
  library.find(primary_context_retain, "cuDevicePrimaryCtxRetain");
  library.find(context_push, "cuCtxPushCurrent_v2");
  library.find(context_pop, "cuCtxPopCurrent_v2");
  library.find(module_load_data, "cuModuleLoadData");
  library.find(module_get_function, "cuModuleGetFunction");
  library.find(launch_kernel, "cuLaunchKernel");
  library.find(get_error_name, "cuGetErrorName");
  library.find(get_error_string, "cuGetErrorString");
  check(init(0), "cuInit");
}

void Driver::check(int result, const char *call) const
{
  if (result == 0) return;
  const char *name = nullptr, *text = nullptr;
  get_error_name(result, &name);
  get_error_string(result, &text);
  throw std::runtime_error(std::string(call) + " failed: " + (name ? name : std::to_string(result)) + ", " +
                           (text ? text : "an error that the driver does not know"));
}

int Driver::version() const
{
  int found = 0;
  check(driver_get_version(&found), "cuDriverGetVersion");
  return found;
}

int Driver::handle_of(c10::Device device) const
{
  int handle = 0;
  check(device_get(&handle, device.index()), "cuDeviceGet");
  return handle;
}

int Driver::compute_capability(c10::Device device) const
{
  int major = 0, minor = 0;
  const int handle = handle_of(device);
  check(device_get_attribute(&major, kCapabilityMajor, handle), "cuDeviceGetAttribute");
  check(device_get_attribute(&minor, kCapabilityMinor, handle), "cuDeviceGetAttribute");
  return 10 * major + minor;
}

std::shared_ptr<const Program> Driver::load(const std::string &binary, c10::Device device) const
{
  return std::make_shared<LoadedProgram>(*this, binary, device);
}

}  // namespace mollifield::operators::cuda
