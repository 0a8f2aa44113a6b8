#include "nvrtc.hpp"

#include <c10/core/Device.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace mollifield::operators::cuda {

namespace {

namespace fs = std::filesystem;

constexpr const char *kNames[] = {"libnvrtc.so.13", "libnvrtc.so.12"};

// libnvrtc.so.12, and libnvrtc-b51b459d.so.12 as older wheels of torch name it; not the library of its built-in
// headers.
bool is_nvrtc(const std::string &name)
{
  const auto ends_alike = [&](const std::string &end) { return name.size() > end.size() && name.ends_with(end); };
  return name.starts_with("libnvrtc") && !name.starts_with("libnvrtc-builtins") &&
         name.find(".alt.") == std::string::npos && (ends_alike(".so.13") || ends_alike(".so.12"));
}

void add_from(const fs::path &folder, std::vector<std::string> &places)
{
  std::error_code ignored;
  std::vector<std::string> found;
  for (const auto &entry : fs::directory_iterator(folder, ignored))
    if (is_nvrtc(entry.path().filename())) found.push_back(entry.path());
  std::sort(found.rbegin(), found.rend());
  places.insert(places.end(), found.begin(), found.end());
}

// torch/lib, and nvidia/<wheel>/lib beside the package torch.
std::vector<std::string> places()
{
  if (const char *const wish = std::getenv("MOLLIFIELD_LIBNVRTC")) return {wish};
  std::vector<std::string> places;
  const std::string of_c10 = folder_of(reinterpret_cast<const void *>(&c10::DeviceTypeName));
  if (!of_c10.empty()) {
    const fs::path lib = fs::absolute(of_c10);
    add_from(lib, places);
    std::error_code ignored;
    std::vector<fs::path> wheels;
    for (const auto &entry : fs::directory_iterator(lib / ".." / ".." / "nvidia", ignored)) wheels.push_back(entry);
    std::sort(wheels.begin(), wheels.end());
    for (const auto &wheel : wheels) add_from(wheel / "lib", places);
  }
  places.insert(places.end(), std::begin(kNames), std::end(kNames));
  return places;
}

}  // namespace

const Nvrtc &Nvrtc::get()
{
  static const Nvrtc nvrtc;
  return nvrtc;
}

Nvrtc::Nvrtc() :
    library(places(),
            "no NVRTC: neither libnvrtc.so.12 nor libnvrtc.so.13 lies beside torch; install "
            "nvidia-cuda-nvrtc-cu12 (of CUDA 12) or nvidia-cuda-nvrtc (of CUDA 13), as CUDA wheels of torch do")
{
  library.find(get_version, "nvrtcVersion");
  library.find(get_number_of_architectures, "nvrtcGetNumSupportedArchs");
  library.find(get_architectures, "nvrtcGetSupportedArchs");
  library.find(create_program, "nvrtcCreateProgram");
  library.find(compile_program, "nvrtcCompileProgram");
  library.find(destroy_program, "nvrtcDestroyProgram");
  library.find(get_log_size, "nvrtcGetProgramLogSize");
  library.find(get_log, "nvrtcGetProgramLog");
  library.find(get_cubin_size, "nvrtcGetCUBINSize");
  library.find(get_cubin, "nvrtcGetCUBIN");
  library.find(get_ptx_size, "nvrtcGetPTXSize");
  library.find(get_ptx, "nvrtcGetPTX");
  library.find(get_error_string, "nvrtcGetErrorString");
  int major = 0, minor = 0;
  check(get_version(&major, &minor), "nvrtcVersion");
  its_version = std::to_string(major) + "." + std::to_string(minor);
}

void Nvrtc::check(int result, const char *call) const
{
  if (result != 0) throw std::runtime_error(std::string(call) + " failed: " + get_error_string(result));
}

std::string Nvrtc::architecture(int compute_capability) const
{
  int number = 0;
  check(get_number_of_architectures(&number), "nvrtcGetNumSupportedArchs");
  std::vector<int> known(number);
  check(get_architectures(known.data()), "nvrtcGetSupportedArchs");
  int newest = 0;
  for (const int each : known)
    if (each <= compute_capability) newest = std::max(newest, each);
  if (newest == 0)
    throw std::runtime_error("NVRTC " + its_version + " compiles for no GPU of compute capability " +
                             std::to_string(compute_capability / 10) + "." + std::to_string(compute_capability % 10));
  return (newest == compute_capability ? "sm_" : "compute_") + std::to_string(newest);
}

std::string Nvrtc::compile(const std::string &source, const std::string &architecture) const
{
  const std::string for_gpu = "--gpu-architecture=" + architecture;
  // Line numbers cost a kernel nothing and tell a profiler where its time goes.
  const char *const options[] = {for_gpu.c_str(), "--std=c++17", "-lineinfo"};
  void *program = nullptr;
  check(create_program(&program, source.c_str(), "mollifield.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
  const std::unique_ptr<void *, void (*)(void **)> destroyed(&program,
                                                             [](void **each) { get().destroy_program(each); });
  const int result = compile_program(program, 3, options);
  const auto read = [&](auto get_size, auto get_text, const char *call) {
    std::size_t size = 0;
    check(get_size(program, &size), call);
    std::string text(size, '\0');
    if (size > 0) check(get_text(program, text.data()), call);
    return text;
  };
  if (result != 0)
    throw std::runtime_error("NVRTC " + its_version + " (" + architecture + "): " + get_error_string(result) + "\n" +
                             read(get_log_size, get_log, "nvrtcGetProgramLog").c_str());
  return architecture.starts_with("sm_") ? read(get_cubin_size, get_cubin, "nvrtcGetCUBIN")
                                         : read(get_ptx_size, get_ptx, "nvrtcGetPTX");
}

}  // namespace mollifield::operators::cuda
