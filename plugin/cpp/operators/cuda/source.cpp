#include "source.hpp"

#include <cstdio>

namespace mollifield::operators::cuda {

const char *const kEachRowAndChannel = R"(
THREADS {
const i64 id = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
const i64 row = id / C;
const int c = static_cast<int>(id % C);
if (row < n_rows) {
)";

const char *const kEnd = "}\n}\n}\n";

std::string beginning(at::ScalarType dtype, std::int64_t n_channels)
{
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kDouble, "kernels know float32 and float64; found ", dtype);
  return c10::str("using T = ", dtype == at::kFloat ? "float" : "double", R"(;
using i64 = long long;
#ifndef THREADS
#define THREADS
#define BARRIER __syncthreads();
#define OPAQUE(value) asm volatile("" : "+l"(value));
#endif
constexpr int C = )",
                  n_channels, ";\n");
}

std::string head(const std::string &name, unsigned threads, const std::string &parameters)
{
  return c10::str("extern \"C\" __global__ void __launch_bounds__(", threads, ") ", name, "(", parameters, ")\n{\n");
}

std::string number(double value)
{
  char digits[32];
  std::snprintf(digits, sizeof(digits), "T(%.17g)", value);
  return digits;
}

}  // namespace mollifield::operators::cuda
