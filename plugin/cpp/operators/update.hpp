// How an atom's messages and products of them become the inputs of a gate, as all implementations read it. Shapes:
// update.cpp.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "coupling.hpp"
#include "linear.hpp"

namespace mollifield::operators {

struct UpdatePlan {
  // Of triples: pairs to one path for each degree, their product with the features, and what the gate gets of it.
  struct Triples {
    LinearBlocks inner, outer;
    std::shared_ptr<const CouplingTable> cube;
  };

  std::int64_t n_channels;
  LinearBlocks mix;            // messages to features, one path for each degree
  LinearBlocks linear, pairs;  // what the gate gets of the features, and of their products with each other
  std::shared_ptr<const CouplingTable> square;
  std::optional<Triples> triples;
  std::optional<double> rms_epsilon;  // features are divided by the root of their mean square plus this

  // In the order of the operator's weights.
  std::vector<const LinearBlocks *> maps() const
  {
    std::vector<const LinearBlocks *> all = {&mix, &linear, &pairs};
    if (triples) all.insert(all.end(), {&triples->inner, &triples->outer});
    return all;
  }
  std::int64_t n_features() const { return square->n_in; }
  std::int64_t n_outputs() const { return linear.n_outputs; }
};

// What the forward pass leaves for the backward one.
struct UpdateBetween {
  at::Tensor features;  // [M, N, (l_max+1)^2, C], divided where there is an rms_epsilon
  at::Tensor inner;     // the same shape; of triples, else undefined
  at::Tensor factors;   // [M, N], what features were multiplied with, else undefined
};

}  // namespace mollifield::operators
