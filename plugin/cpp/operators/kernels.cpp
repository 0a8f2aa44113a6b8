#include "kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace mollifield::operators {

namespace portable {
template <class T>
Kernels<T> table();
}
#ifdef __x86_64__
namespace avx2 {
template <class T>
Kernels<T> table();
}
namespace avx512 {
template <class T>
Kernels<T> table();
}
#endif

namespace {

int level() {
  static const int chosen = [] {
    int best = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = 1;
    if (best == 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) best = 2;
#endif
    const char *wish = std::getenv("MOLLIFIELD_ISA");
    if (!wish) return best;
    const std::string name = wish;
    const int wanted = name == "portable" ? 0 : name == "avx2" ? 1 : name == "avx512" ? 2 : -1;
    if (wanted < 0) throw std::runtime_error("MOLLIFIELD_ISA=" + name + ": allowed are portable, avx2, avx512");
    return wanted < best ? wanted : best;
  }();
  return chosen;
}

}  // namespace

const char *instruction_set() {
  static const char *names[] = {"portable", "avx2", "avx512"};
  return names[level()];
}

template <class T>
const Kernels<T> &kernels() {
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

}  // namespace mollifield::operators
