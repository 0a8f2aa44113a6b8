// Derivatives of what is not multilinear, by ATen's own autograd. A `Function` takes one tensor and gives several.
#pragma once

#include <torch/csrc/autograd/autograd.h>

#include <vector>

namespace mollifield::operators::reference {

using Tensors = std::vector<at::Tensor>;

inline at::Tensor variable(const at::Tensor &value) { return value.detach().requires_grad_(); }

// Gradient of <cotangents, function(x)> by x, where `x` is a variable.
template <class Function>
at::Tensor gradient_by(Function function, const at::Tensor &x, const Tensors &cotangents, bool create_graph)
{
  Tensors outputs, weights;
  const Tensors all = function(x);
  for (std::size_t k = 0; k < all.size(); ++k)
    if (all[k].requires_grad()) {  // the harmonic of l = 0 is a constant
      outputs.push_back(all[k]);
      weights.push_back(cotangents[k]);
    }
  return torch::autograd::grad(outputs, {x}, weights, create_graph, create_graph)[0];
}

template <class Function> at::Tensor gradient(Function function, const at::Tensor &input, const Tensors &cotangents)
{
  const at::AutoGradMode on(true);
  return gradient_by(function, variable(input), cotangents, false);
}

// Gradients of <tangent, gradient> by the input and by each cotangent.
template <class Function>
Tensors second_gradients(Function function, const at::Tensor &input, const Tensors &cotangents,
                         const at::Tensor &tangent)
{
  const at::AutoGradMode on(true);
  Tensors arguments = {variable(input)}, weights;
  for (const at::Tensor &cotangent : cotangents) weights.push_back(variable(cotangent));
  arguments.insert(arguments.end(), weights.begin(), weights.end());
  const at::Tensor first = gradient_by(function, arguments[0], weights, true);
  Tensors found = torch::autograd::grad({first}, arguments, {tangent}, false, false, /*allow_unused=*/true);
  for (std::size_t k = 0; k < found.size(); ++k)
    if (!found[k].defined()) found[k] = at::zeros_like(arguments[k]);
  return found;
}

}  // namespace mollifield::operators::reference
