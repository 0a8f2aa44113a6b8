// What `forward` and `read` of a model file return, by name. Internal: needs torch.
#pragma once

#include "contract.hpp"

#include <torch/script.h>

#include <stdexcept>
#include <string>

namespace mollifield {

class Outputs {
 public:
  // A dictionary; of version 1 files a tuple.
  explicit Outputs(c10::IValue returned) : value(std::move(returned)) {}

  // Throws std::runtime_error where the model does not give it.
  at::Tensor operator[](const char *name) const
  {
    if (value.isTuple())
      return value.toTupleRef().elements()[name == std::string(contract::ATOMIC_ENERGIES) ? 0 : 1].toTensor();
    const auto named = value.toGenericDict();
    const auto found = named.find(name);
    if (found == named.end()) throw std::runtime_error("it has no output '" + std::string(name) + "'");
    return found->value().toTensor();
  }

  // What a noise head reads, [T, N, F].
  at::Tensor noise_features() const
  {
    const bool named = !value.isTuple() && value.toGenericDict().contains(contract::NOISE_FEATURES);
    return (*this)[named ? contract::NOISE_FEATURES : contract::LATENT].detach();
  }

 private:
  c10::IValue value;
};

}  // namespace mollifield
