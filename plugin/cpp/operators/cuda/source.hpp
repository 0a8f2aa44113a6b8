// Text of kernels. Each is written for one dtype, number of channels and coupling table, so that loops over paths and
// components are straight lines, coefficients are immediates, offsets are constants, and sums stay in registers. How
// many atoms, edges and members there are comes with the launch.
//
// Kernels are `extern "C" __global__`, include nothing, and know what `beginning` declares: T, i64, C (channels), and
//   THREADS { ... } BARRIER
// around all that threads do: on a GPU the block of code and __syncthreads(), in the host shim a loop over the threads
// of a block. So no thread may leave a kernel early, and no variable of a thread lives across a barrier. After
// OPAQUE(value) the compiler does not know an i64 any more, so that what depends on it is not computed before a loop.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace mollifield::operators::cuda {

// Threads of a block where nothing else decides.
constexpr unsigned kThreads = 128;

std::string beginning(at::ScalarType dtype, std::int64_t n_channels);

// Head of a kernel up to its opening brace.
std::string head(const std::string &name, unsigned threads, const std::string &parameters);

// A coefficient as T: all digits.
std::string number(double value);

// Thread `c` of row `row`, for rows [0, n_rows) of C channels, each a thread; closed by kEnd.
extern const char *const kEachRowAndChannel;
extern const char *const kEnd;

}  // namespace mollifield::operators::cuda
