// Loops over edges, in plain C++ on raw pointers; compiled once for each instruction set (kernels.inc)
// and chosen when the library is loaded (kernels.cpp). Shapes and names: operators/convolution.cpp.
#pragma once

#include <cstdint>

#include "operators/activation.hpp"

namespace mollifield::operators::cpu {

// A path that couples nothing, since one of its factors is a scalar: with weights w = weights[path] it sends
//   row m = Y[edge + m] * (w x[in]),              scalars times harmonics,
//   row m = (w Y[edge]) * x[in + m], if carried,  features times the edge's scalar,
// to rows first_row, first_row + row_step, ... of the output.
struct PlainPath {
  int weights, n_components, first_row, row_step, in, edge;
  bool carried;
};

// Which components couple: operators/coupling.hpp. A[q] depends on the edge only: neither on the channel nor on the
// member. For an edge's kernels it is a product with a matrix,
// A[q] = sum over k of dense[k * stride + q] * Y[k]: mostly zeros, but whole vectors without indices.
template <class T> struct Coupling {
  int n_rows, n_paths, n_pairs, n_in, n_edge;
  int stride;  // n_pairs, or n_edge if that is more, padded with zeros to whole vectors
  const int *row_path, *row_begin, *pair_in, *pair_begin, *term_edge;
  const T *coefficient, *dense;
  const PlainPath *plain;  // [n_paths], where no path couples anything; else null
};

// Weights of an edge tabulated over its length: cubic Hermite between equidistant knots, value and
// derivative continuous. values [M, n_knots, 2, P*C]: value, derivative times spacing.
template <class T> struct Spline {
  const T *values = nullptr;
  const T *lengths = nullptr;  // [G, E]
  T *grad_lengths = nullptr;   // [G, E]
  std::int64_t n_knots = 0;
  T inverse_spacing = 0;
};

// M members, G copies of the geometry (1 or M), N atoms of which the first N' are centres, E edges, C channels. Edges
// of centre i are order[first[i]] ... order[first[i+1]-1]; a null `order` is the identity.
template <class T> struct Convolution {
  std::int64_t n_members, n_geometries, n_atoms, n_centres, n_edges, n_channels;
  const std::int64_t *first, *order, *centre, *source;
  const T *x;          // [M, N, n_in, C]
  const T *harmonics;  // [G, E, n_edge]
  const T *weights;    // [M, E, P*C]; null with a spline
  const T *grad_out;   // [M, N', K, C]
  T *out;              // [M, N', K, C]
  T *grad_x;           // any of the three may be null
  T *grad_harmonics;
  T *grad_weights;
  Spline<T> spline;
  // Of the double backward: cotangents of the three gradients, and the gradient by `grad_out`.
  const T *x_tangent, *harmonics_tangent, *weights_tangent;
  T *grad_grad_out;  // [M, N', K, C]; may be null
};

// Product of features channel by channel at each of N nodes; the coupling's feature components index `a`,
// its edge components `b`.
template <class T> struct NodeProduct {
  std::int64_t n_channels;
  const T *a;          // [N, n_in, C]
  const T *b;          // [N, n_edge, C]
  const T *grad_out;   // [N, K, C]
  T *out;              // [N, K, C]
  T *grad_a, *grad_b;  // either may be null
};

// Gated features of N nodes (operators/gate.cpp). `inputs` [N, D]: C scalars, C gates of each l >= 1, then the
// components of each l >= 1; `sigmoids` [N, (l_max+1) C] of the first two; outputs [N, (l_max+1)^2, C]. `tangent` is a
// cotangent of `grad_inputs`; any of the last three results may be null.
template <class T> struct GateArguments {
  int l_max;
  std::int64_t n_channels;
  const T *inputs, *sigmoids, *grad_out, *tangent;
  T *out, *grad_inputs, *second_inputs, *second_grad_out;
};

// Lengths [E] and harmonics [E, (l_max+1)^2] of vectors [E, 3] for l_max up to 3 (operators/harmonics.cpp). The
// gradient by the vectors needs those by the other two; of the double backward, `tangent` is a cotangent of that
// gradient, and `harmonics` and `lengths` are gradients by `grad_harmonics` and `grad_lengths`.
template <class T> struct EdgeGeometry {
  int l_max;
  const T *vectors, *grad_harmonics, *grad_lengths, *tangent;
  T *harmonics, *lengths, *grad_vectors;
};

// Rows of a table (operators/interpolation.cpp) of n_columns each, or their `order`-th derivatives by the length, times
// `scale` [G, E] where it is given.
template <class T> struct Interpolation {
  std::int64_t n_members, n_geometries, n_edges, n_columns, n_knots;
  T inverse_spacing;
  int order;
  const T *lengths, *scale;  // [G, E]
  const T *knots;            // [M, K, 2, n]
  const T *gradient;         // [M, E, n]
  T *rows, *gathered;        // as `gradient`, as `knots`
  T *along;                  // [G, E]
};

// c[i, j] = alpha * sum_k a[i, k] b[k, j], added to what `c` holds where `accumulate` is set. Element a[i, k] is
// a[i * a_row + k * a_depth]; rows of b and c are contiguous, b_row and c_row apart.
template <class T> struct MatrixProduct {
  const T *a, *b;
  T *c;
  std::int64_t a_row, a_depth, b_row, c_row;
  std::int64_t rows, columns, depth;
  T alpha;
  bool accumulate;
};

template <class T> struct Kernels {
  // Sums messages into `out` for centres in [begin, end).
  void (*forward)(const Coupling<T> &, const Convolution<T> &, std::int64_t begin, std::int64_t end, T *workspace);
  // Gradients for edges whose group is in [begin, end): groups are centres, or sources where
  // `first`/`order` were built on sources.
  void (*backward)(const Coupling<T> &, const Convolution<T> &, std::int64_t begin, std::int64_t end, T *workspace);
  // The same for the gradients of <tangents, gradients>.
  void (*double_backward)(const Coupling<T> &, const Convolution<T> &, std::int64_t begin, std::int64_t end,
                          T *workspace);
  // The same two for nodes in [begin, end).
  void (*product_forward)(const Coupling<T> &, const NodeProduct<T> &, std::int64_t begin, std::int64_t end);
  void (*product_backward)(const Coupling<T> &, const NodeProduct<T> &, std::int64_t begin, std::int64_t end);
  void (*matrix_product)(const MatrixProduct<T> &);
  // Gate, its gradient, and the gradient of <tangent, gradient>, for nodes in [begin, end).
  void (*gate_forward)(const GateArguments<T> &, std::int64_t begin, std::int64_t end);
  void (*gate_backward)(const GateArguments<T> &, std::int64_t begin, std::int64_t end);
  void (*gate_double_backward)(const GateArguments<T> &, std::int64_t begin, std::int64_t end);
  // Geometry, its gradient, and the gradient of <tangent, gradient>, for edges in [begin, end).
  void (*geometry_forward)(const EdgeGeometry<T> &, std::int64_t begin, std::int64_t end);
  void (*geometry_backward)(const EdgeGeometry<T> &, std::int64_t begin, std::int64_t end);
  void (*geometry_double_backward)(const EdgeGeometry<T> &, std::int64_t begin, std::int64_t end);
  // Rows, and their products with a gradient, of edges in [begin, end); sums at the knots of columns in [begin, end).
  void (*interpolation_rows)(const Interpolation<T> &, std::int64_t begin, std::int64_t end);
  void (*interpolation_along)(const Interpolation<T> &, std::int64_t begin, std::int64_t end);
  void (*interpolation_gathered)(const Interpolation<T> &, std::int64_t begin, std::int64_t end);
};

// Elements of T that `workspace` must hold for one thread.
template <class T> std::int64_t workspace_size(const Coupling<T> &coupling, std::int64_t n_channels)
{
  constexpr std::int64_t widest_vector = 64 / sizeof(T);
  return coupling.stride * (3 + widest_vector) + 3 * coupling.n_paths * n_channels + widest_vector * widest_vector;
}

// For the instruction set that instruction_sets.hpp tells.
template <class T> const Kernels<T> &kernels();

}  // namespace mollifield::operators::cpu
