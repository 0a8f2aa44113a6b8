// Where the matrices of a linear map begin, as all implementations read it. Shapes: linear.cpp.
#pragma once

#include <cstdint>
#include <vector>

namespace mollifield::operators {

// One degree.
struct LinearBlock {
  std::int64_t n_components, fan_in, width;
  std::int64_t row, weight, out;  // where it begins: in the channels of an atom, in the weights, in the output
  double scale;
};

struct LinearBlocks {
  LinearBlocks(const std::vector<std::int64_t> &n_paths, std::int64_t n_channels, std::int64_t n_out,
               std::int64_t n_scalars, double scale);

  std::vector<LinearBlock> all;
  std::int64_t n_rows = 0, n_weights = 0, n_outputs = 0;
};

}  // namespace mollifield::operators
