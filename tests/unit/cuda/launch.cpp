// launch SOURCE: compiles it for cuda:1 twice, and launches its kernel `twice` on one grid and on an empty one.
#include "operators/cuda/device_compiler.hpp"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <fstream>
#include <iostream>
#include <iterator>

namespace {

// Of a torch without CUDA: streams of devices that nobody has, stream 7 the current one.
struct Guard final : public c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return {c10::DeviceType::CUDA, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::UNSAFE, device, 7); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void *getStreamNativeHandle(const c10::Stream stream) const override { return reinterpret_cast<void *>(stream.id()); }
  c10::DeviceIndex deviceCount() const noexcept override { return 2; }
};

const c10::impl::DeviceGuardImplRegistrar registered(c10::DeviceType::CUDA, new Guard);

}  // namespace

int main(int, char **arguments)
{
  using namespace mollifield::operators::cuda;
  std::ifstream file(arguments[1]);
  const std::string source{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const c10::Device device(c10::DeviceType::CUDA, 1);
  Compiler *const compiler = device_compiler();
  if (compiler != device_compiler()) return 1;
  if (!compiler) {
    std::cout << "no compiler\n";
    return 0;
  }
  try {
    const auto program = compiler->compile(source, device);
    if (compiler->compile(source, device) != program) return 1;
    int number = 11;
    void *values[] = {&number};
    program->launch("twice", {.blocks = 3, .threads = 32, .blocks_y = 2}, values);
    program->launch("twice", {.blocks = 0, .threads = 32}, values);
    program->launch("twice", {.blocks = 1, .threads = 64}, values);
  } catch (const std::runtime_error &error) {
    std::cout << error.what() << "\n";
  }
  return 0;
}
