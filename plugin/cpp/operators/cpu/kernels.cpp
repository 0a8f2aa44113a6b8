#include "kernels.hpp"

#include <cstdlib>
#include <stdexcept>

#include "instruction_sets.hpp"

namespace mollifield::operators::cpu {

namespace portable {
template <class T> Kernels<T> table();
}
#ifdef __x86_64__
namespace avx2 {
template <class T> Kernels<T> table();
}
namespace avx512 {
template <class T> Kernels<T> table();
}
#endif

namespace {

constexpr const char *kNames[] = {"portable", "avx2", "avx512"};

int best_level()
{
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
  const bool wide =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide ? 2 : 1;
#else
  return 0;
#endif
}

int level()
{
  static const int chosen = [] {
    const char *wish = std::getenv("MOLLIFIELD_ISA");
    if (!wish) return best_level();
    std::string allowed;
    for (int k = 0; k <= best_level(); ++k) {
      if (std::string(wish) == kNames[k]) return k;
      allowed += (k ? ", " : "") + std::string(kNames[k]);
    }
    throw std::runtime_error("MOLLIFIELD_ISA=" + std::string(wish) + ": this processor has " + allowed +
                             "; also allowed are reference and cuda-source, which need none");
  }();
  return chosen;
}

}  // namespace

std::vector<std::string> instruction_sets() { return {kNames, kNames + best_level() + 1}; }

std::string instruction_set() { return kNames[level()]; }

template <class T> const Kernels<T> &kernels()
{
  static const Kernels<T> chosen = [] {
#ifdef __x86_64__
    if (level() == 2) return avx512::table<T>();
    if (level() == 1) return avx2::table<T>();
#endif
    return portable::table<T>();
  }();
  return chosen;
}

template const Kernels<float> &kernels<float>();
template const Kernels<double> &kernels<double>();

}  // namespace mollifield::operators::cpu
