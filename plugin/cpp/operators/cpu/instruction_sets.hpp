// Which of the compiled kernels run.
#pragma once

#include <string>
#include <vector>

namespace mollifield::operators::cpu {

// All that this processor has, slowest first: of portable, avx2, avx512.
std::vector<std::string> instruction_sets();

// The last of these, or the one that MOLLIFIELD_ISA in the environment names, for tests and benchmarks. Throws
// std::runtime_error where the processor has no such set. (With `reference` there, no kernel is asked for at all:
// operators/implementation.cpp.)
std::string instruction_set();

}  // namespace mollifield::operators::cpu
