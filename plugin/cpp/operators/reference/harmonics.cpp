// Lengths and harmonics of any degree: conventions in operators/harmonics.cpp.

#include <cmath>

#include "derivatives.hpp"
#include "implementation.hpp"

namespace mollifield::operators::reference {
namespace {

using at::Tensor;

// N of  Y_l,+-m = N q_lm(y) Re or Im (z + ix)^m  in `component` normalisation.
double norm(int l, int m)
{
  double squared = (2 * l + 1) * (m == 0 ? 1.0 : 2.0);
  for (int k = l - m + 1; k <= l + m; ++k) squared /= k;
  return std::sqrt(squared);
}

// Associated Legendre functions of y, the polar axis, without the sine to the power m, which the power of z + ix holds:
// polynomials, by the recursion in the degree (Press et al., "Numerical recipes", 3rd edition, eq. 6.7.7 and 6.7.8).
Tensors geometry(const Tensor &vectors, int l_max)
{
  const Tensor length = at::linalg_vector_norm(vectors, 2, {-1});
  const Tensor unit = vectors / length.unsqueeze(-1);
  const Tensor x = unit.select(2, 0), y = unit.select(2, 1), z = unit.select(2, 2);
  Tensors harmonics((l_max + 1) * (l_max + 1));
  Tensor real = at::ones_like(length), imaginary = at::zeros_like(length), diagonal = real;
  for (int m = 0; m <= l_max; ++m) {
    Tensor before, q = diagonal;  // of degrees l - 1 and l
    for (int l = m; l <= l_max; ++l) {
      const Tensor scaled = norm(l, m) * q;
      harmonics[l * l + l + m] = scaled * real;
      if (m > 0) harmonics[l * l + l - m] = scaled * imaginary;
      const Tensor next = (2 * l + 1) * y * q;
      const Tensor above = (before.defined() ? next - (l + m) * before : next) / (l + 1 - m);
      before = q;
      q = above;
    }
    diagonal = (2 * m + 1) * diagonal;
    const Tensor turned = real * z - imaginary * x;
    imaginary = real * x + imaginary * z;
    real = turned;
  }
  return {at::stack(harmonics, 2), length};
}

auto of_degree(std::int64_t l_max)
{
  return [l_max](const Tensor &vectors) { return geometry(vectors, static_cast<int>(l_max)); };
}

std::pair<Tensor, Tensor> forward(const Tensor &vectors, std::int64_t l_max)
{
  const Tensors found = of_degree(l_max)(vectors);
  return {found[0], found[1]};
}

Tensor backward(const Tensor &vectors, const Tensor &grad_harmonics, const Tensor &grad_lengths, std::int64_t l_max)
{
  return gradient(of_degree(l_max), vectors, {grad_harmonics, grad_lengths});
}

std::tuple<Tensor, Tensor, Tensor> double_backward(const Tensor &vectors, const Tensor &grad_harmonics,
                                                   const Tensor &grad_lengths, const Tensor &tangent,
                                                   std::int64_t l_max)
{
  const Tensors found = second_gradients(of_degree(l_max), vectors, {grad_harmonics, grad_lengths}, tangent);
  return {found[0], found[1], found[2]};
}

}  // namespace

EdgeGeometryForms edge_geometry() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::reference
