#include "device_compiler.hpp"

#include "binary_cache.hpp"
#include "driver.hpp"
#include "nvrtc.hpp"

#include <c10/util/Exception.h>

#include <utility>

namespace mollifield::operators::cuda {

namespace {

class DeviceCompiler : public Compiler {
 public:
  DeviceCompiler() : nvrtc(Nvrtc::get()), driver(Driver::get()) {}

  std::shared_ptr<const Program> compile(const std::string &source, const c10::Device &device) override
  {
    const std::lock_guard<std::mutex> lock(mutex);
    auto &program = programs[{device.index(), source}];
    if (!program) program = load(source, device);
    return program;
  }

 private:
  const Nvrtc &nvrtc;
  const Driver &driver;
  std::mutex mutex;
  std::map<std::pair<int, std::string>, std::shared_ptr<const Program>> programs;

  std::shared_ptr<const Program> load(const std::string &source, c10::Device device) const
  {
    const std::string architecture = nvrtc.architecture(driver.compute_capability(device));
    const std::string name = digest(source) + "-" + architecture + "-nvrtc-" + nvrtc.version();
    auto binary = read_cached(name);
    if (!binary) {
      binary = nvrtc.compile(source, architecture);
      keep_cached(name, *binary);
    }
    return driver.load(*binary, device);
  }
};

std::string dotted(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

}  // namespace

Compiler *device_compiler()
{
  static const std::unique_ptr<Compiler> compiler = []() -> std::unique_ptr<Compiler> {
    try {
      return std::make_unique<DeviceCompiler>();
    } catch (const std::exception &error) {
      TORCH_WARN("Mollifield's kernels for GPUs cannot be compiled, so its slower reference runs there: ",
                 error.what());
      return nullptr;
    }
  }();
  return compiler.get();
}

std::map<std::string, std::string> device_report()
{
  std::map<std::string, std::string> report;
  bool complete = true;
  const auto tell = [&](const char *key, auto describe) {
    try {
      report[key] = describe();
    } catch (const std::exception &error) {
      report[key] = error.what();
      complete = false;
    }
  };
  tell("driver", [] { return "for CUDA " + dotted(Driver::get().version()); });
  tell("nvrtc", [] { return Nvrtc::get().version() + ", " + Nvrtc::get().path(); });
  report["cache"] = cache_folder();
  report["operators"] = complete ? "kernels" : "reference";
  return report;
}

}  // namespace mollifield::operators::cuda
