// Scales of activations: trainer/mollifield_train/model/activation.py.
#pragma once

namespace mollifield::operators {

// Second moments of silu and sigmoid at N(0, 1), to the power -1/2.
constexpr double kSiluScale = 1.6765325, kSigmoidScale = 1.8462285;

}  // namespace mollifield::operators
