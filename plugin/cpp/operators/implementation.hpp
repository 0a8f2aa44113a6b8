// What computes the operators on one kind of device: tables of functions on tensors. Schemas, checks of arguments and
// autograd (convolution.cpp, product.cpp, linear.cpp, gate.cpp, harmonics.cpp, interpolation.cpp) ask for one and know
// no device.
//
// All tensors of a call lie on one device and have one floating dtype; shapes are those of the operators' own files.
// A function sees no gradients: autograd calls it with what the derivative needs.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "coupling.hpp"
#include "linear.hpp"
#include "update.hpp"

namespace mollifield::operators {

struct ConvolutionOperands {
  at::Tensor x, harmonics, weights, edge_index;
  std::int64_t n_centres;
  at::Tensor lengths, knots;  // of a spline, in place of weights
  double r_max = 0.0;
};

// Where gradients go; null: not wanted. Of a spline convolution `lengths` in place of `weights`; `grad_out` of a double
// backward alone.
struct ConvolutionGradients {
  at::Tensor *x = nullptr, *harmonics = nullptr, *weights = nullptr, *lengths = nullptr, *grad_out = nullptr;
};

struct ConvolutionForms {
  at::Tensor (*forward)(const ConvolutionOperands &, const CouplingTable &);
  void (*backward)(const ConvolutionOperands &, const CouplingTable &, const at::Tensor &grad_out,
                   const ConvolutionGradients &);
  // Gradients of <tangents, gradients> by x, harmonics, weights and grad_out, all four, in one pass; `tangents` are of
  // the first three. Null where an implementation has none: autograd then sums the terms, each of them a form above.
  void (*double_backward)(const ConvolutionOperands &, const CouplingTable &, const at::Tensor &grad_out,
                          const std::vector<at::Tensor> &tangents, const ConvolutionGradients &);
};

// Gradients by `a` and `b`; null: not wanted.
struct ChannelProductForms {
  at::Tensor (*forward)(const at::Tensor &a, const at::Tensor &b, const CouplingTable &);
  void (*backward)(const at::Tensor &a, const at::Tensor &b, const at::Tensor &grad_out, const CouplingTable &,
                   at::Tensor *grad_a, at::Tensor *grad_b);
};

struct LinearForms {
  at::Tensor (*forward)(const at::Tensor &x, const at::Tensor &weight, const LinearBlocks &);
  void (*backward)(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &grad_out, const LinearBlocks &,
                   at::Tensor *grad_x, at::Tensor *grad_weight);
};

// `inputs` and `sigmoids` (of scalars and gates, [M, N, (l_max+1) C]) are contiguous.
struct GateForms {
  at::Tensor (*forward)(const at::Tensor &inputs, const at::Tensor &sigmoids, std::int64_t l_max);
  at::Tensor (*backward)(const at::Tensor &inputs, const at::Tensor &sigmoids, const at::Tensor &grad_out,
                         std::int64_t l_max);
  // Gradients of <tangent, gradient> by inputs and grad_out.
  std::pair<at::Tensor, at::Tensor> (*double_backward)(const at::Tensor &inputs, const at::Tensor &sigmoids,
                                                       const at::Tensor &grad_out, const at::Tensor &tangent,
                                                       std::int64_t l_max);
};

struct EdgeGeometryForms {
  // Harmonics and lengths.
  std::pair<at::Tensor, at::Tensor> (*forward)(const at::Tensor &vectors, std::int64_t l_max);
  at::Tensor (*backward)(const at::Tensor &vectors, const at::Tensor &grad_harmonics, const at::Tensor &grad_lengths,
                         std::int64_t l_max);
  // Gradients of <tangent, gradient> by vectors, grad_harmonics and grad_lengths.
  std::tuple<at::Tensor, at::Tensor, at::Tensor> (*double_backward)(const at::Tensor &vectors,
                                                                    const at::Tensor &grad_harmonics,
                                                                    const at::Tensor &grad_lengths,
                                                                    const at::Tensor &tangent, std::int64_t l_max);
};

// Where rows of a table are asked for (interpolation.cpp), and which derivative of them by the length: 0, 1 or 2.
struct Positions {
  at::Tensor lengths;
  double r_max;
  int order;
};

// `scale` [G, E]: factors of the rows; undefined: 1.
struct InterpolationForms {
  at::Tensor (*rows)(const Positions &, const at::Tensor &knots, const at::Tensor &scale);
  // Gradient of <gradient, rows> by the knots.
  at::Tensor (*gathered)(const Positions &, const at::Tensor &gradient, std::int64_t n_knots, const at::Tensor &scale);
  // Products of gradient and rows, summed over columns and over members of one geometry: [G, E].
  at::Tensor (*along)(const Positions &, const at::Tensor &knots, const at::Tensor &gradient);
};

// Null where an implementation has none: the operator is then composed of the forms above. Forward also gives what
// backward reads. Backward: the gradient by the messages.
struct ProductsUpdateForms {
  at::Tensor (*forward)(const at::Tensor &messages, const at::Tensor &kept, const std::vector<at::Tensor> &weights,
                        const UpdatePlan &, UpdateBetween *between);
  at::Tensor (*backward)(const UpdateBetween &between, const std::vector<at::Tensor> &weights, const UpdatePlan &,
                         const at::Tensor &grad_out);
};

struct Implementation {
  ConvolutionForms convolution;
  ChannelProductForms channel_product;
  LinearForms linear;
  GateForms gate;
  EdgeGeometryForms edge_geometry;
  InterpolationForms interpolation;
  ProductsUpdateForms products_update;
};

// The one for where this tensor lies: kernels for the CPU, those for CUDA where they are built, and the reference on
// any other device; the reference everywhere where the environment has MOLLIFIELD_ISA=reference, and the kernels for
// CUDA on the CPU too where it has MOLLIFIELD_ISA=cuda-source.
const Implementation &implementation(const at::Tensor &where);

// Throws where tensors of one call differ in device or dtype; `names` tells which they are.
void check_alike(const char *names, const std::vector<at::Tensor> &tensors);

// Throws where one end of an edge is not one of the atoms. On a GPU nobody waits for that: the program ends when it
// next does.
void check_atoms(const at::Tensor &atoms, std::int64_t n_atoms);

}  // namespace mollifield::operators
