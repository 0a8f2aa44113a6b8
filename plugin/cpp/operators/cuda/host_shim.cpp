#include "host_shim.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "binary_cache.hpp"
#include "shared_library.hpp"

extern char **environ;

namespace mollifield::operators::cuda {
namespace {

namespace fs = std::filesystem;

// What CUDA has and C++ has not. Kernels say THREADS before each stretch of work that ends at a barrier.
constexpr const char *kPrelude = R"(
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__
#define __launch_bounds__(n)
#define sqrtf __builtin_sqrtf
#define sqrt __builtin_sqrt
#ifdef MOLLIFIELD_REVERSED
#define THREADS for (threadIdx.x = blockDim.x; threadIdx.x-- > 0;)
#else
#define THREADS for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
#endif
#define BARRIER
#define OPAQUE(value)
struct Index { unsigned x, y; };
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;
template <class T> static inline T __ldg(const T *address) { return *address; }

template <int... I> struct Numbers {};
template <int N, int... I> struct UpTo : UpTo<N - 1, N - 1, I...> {};
template <int... I> struct UpTo<0, I...> { using type = Numbers<I...>; };
template <class... A, int... I> static void call(void (*kernel)(A...), void **a, Numbers<I...>)
{
  kernel(*static_cast<A *>(a[I])...);
}
template <class... A>
static void run_blocks(void (*kernel)(A...), unsigned blocks, unsigned threads, unsigned blocks_y, void **arguments)
{
  blockDim = {threads, 1};
  gridDim = {blocks, blocks_y};
  for (unsigned n = 0; n < blocks * blocks_y; ++n) {
#ifdef MOLLIFIELD_REVERSED
    const unsigned block = blocks * blocks_y - 1 - n;
#else
    const unsigned block = n;
#endif
    blockIdx = {block % blocks, block / blocks};
    call(kernel, arguments, typename UpTo<sizeof...(A)>::type());
  }
}
)";

// A way in for each kernel, since who launches one knows its arguments' addresses alone.
std::string entrances(const std::string &source)
{
  static const std::regex kernel(R"(__global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\()");
  std::string text;
  for (std::sregex_iterator found(source.begin(), source.end(), kernel), end; found != end; ++found) {
    const std::string name = (*found)[1];
    text += "extern \"C\" void run_" + name +
            "(unsigned blocks, unsigned threads, unsigned blocks_y, void **arguments) { run_blocks(" + name +
            ", blocks, threads, blocks_y, arguments); }\n";
  }
  return text;
}

std::string environment(const char *name, const std::string &otherwise)
{
  const char *value = std::getenv(name);
  return value && *value ? value : otherwise;
}

std::vector<std::string> compile_command()
{
  std::vector<std::string> words = {environment("CXX", "c++"), "-std=c++17", "-O1", "-w", "-fPIC", "-shared"};
  std::istringstream flags(environment("MOLLIFIELD_HOST_SHIM_FLAGS", ""));
  words.insert(words.end(), std::istream_iterator<std::string>(flags), {});
  return words;
}

// Runs a program to its end, with what it says in a file; a library that is preloaded here, as a sanitizer's is, is
// nothing to a compiler. Returns its exit code.
int run(std::vector<std::string> words, const fs::path &log)
{
  std::vector<char *> arguments, variables;
  for (std::string &word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  for (char **variable = environ; *variable; ++variable)
    if (std::strncmp(*variable, "LD_PRELOAD=", 11) != 0) variables.push_back(*variable);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int failure = posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&files);
  if (failure) throw std::runtime_error(words[0] + ": " + std::strerror(failure));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Appears under its name only when it is whole, whoever else makes it at the same moment.
void make_library(const std::string &text, std::vector<std::string> command, const fs::path &library)
{
  fs::create_directories(library.parent_path());
  const std::string own = library.string() + "." + std::to_string(getpid());
  const fs::path source = own + ".cpp", log = own + ".log", unfinished = own + ".so";
  std::ofstream(source) << text;
  command.insert(command.end(), {"-o", unfinished, source});
  const int code = run(command, log);
  std::ostringstream said;
  said << std::ifstream(log).rdbuf();
  fs::remove(log);
  fs::remove(source);
  if (code != 0)
    throw std::runtime_error(command[0] + " could not compile kernels (exit code " + std::to_string(code) + "):\n" +
                             said.str());
  fs::rename(unfinished, library);
}

class HostProgram : public Program {
 public:
  explicit HostProgram(const fs::path &path) : library_({path}, "kernels for the CPU cannot be loaded") {}
  void launch(const std::string &kernel, const Grid &grid, void **arguments) const override
  {
    void (*run)(unsigned, unsigned, unsigned, void **) = nullptr;
    library_.find(run, ("run_" + kernel).c_str());
    run(grid.blocks, grid.threads, grid.blocks_y, arguments);
  }

 private:
  SharedLibrary library_;
};

class HostCompiler : public Compiler {
 public:
  std::shared_ptr<const Program> compile(const std::string &source, const at::Device &) override
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto &program = programs_[source];
    if (!program) program = load(source);
    return program;
  }

 private:
  static std::shared_ptr<const Program> load(const std::string &source)
  {
    const std::vector<std::string> command = compile_command();
    const std::string text = kPrelude + source + entrances(source);
    std::string key = text;
    for (std::size_t k = 1; k < command.size(); ++k) key += '\0' + command[k];
    const std::string folder = cache_folder();
    if (folder.empty()) throw std::runtime_error("no folder to compile kernels in: set HOME or XDG_CACHE_HOME");
    const fs::path library = fs::path(folder) / ("host-" + digest(key) + ".so");
    if (!fs::exists(library)) {
      make_library(text, command, library);
      std::ofstream(fs::path(library).replace_extension(".cu")) << source;
    }
    return std::make_shared<HostProgram>(library);
  }

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Program>> programs_;
};

}  // namespace

Compiler &host_compiler()
{
  static HostCompiler compiler;
  return compiler;
}

}  // namespace mollifield::operators::cuda
