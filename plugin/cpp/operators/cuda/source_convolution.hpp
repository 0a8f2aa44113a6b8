// Kernels of convolutions, all of them from F(x, Y, w, g) of operators/convolution.cpp, whose derivatives they are.
//
// `order` 0: of F. `order` 1: of the derivative of F along tangents of x, Y and w, which a double backward asks for:
//   F' = F(x', Y, w, g) + F(x, Y', w, g) + F(x, Y, w', g).
// In the text, x0 is x and x1 its tangent, and so for Y and w.
//
// What a thread reads of an edge, in words of T for each channel: n_in of x and n_rows of g, or one of the two alone
// where the other is what is summed; n_paths of w, four times as many from a spline's table, which stays in the L2
// cache; and Y, which all channels share, once a warp. x and g of neighbours mostly come from L2 too: all features of
// 14,000 atoms of 9 x 32 float32 are 16 MB. What it writes is written once.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "operators/coupling.hpp"

namespace mollifield::operators::cuda {

struct ConvolutionShape {
  at::ScalarType dtype;
  std::int64_t n_channels;
  bool spline;
  int order = 0;  // 1 of weights alone
};

// Gradients that belong to edges, null where they aren't wanted.
struct WantedOfEdges {
  bool harmonics, weights, lengths;
};

// Derivative by g: a thread owns a channel of a centre and sums over its edges in registers. Where a coupling has more
// rows than those hold, its paths are shared out to several kernels, `by_centre_0`, ..., which read x again.
std::string by_centre(const CouplingTable &table, const ConvolutionShape &shape);
int n_by_centre(const CouplingTable &table, const ConvolutionShape &shape);

// Derivative by x, `by_source`: the same for an atom and the edges that it sends along.
std::string by_source(const CouplingTable &table, const ConvolutionShape &shape);

// Derivatives by Y, w, and lengths through a spline, `by_edge`: a thread owns a channel of an edge, for all members
// that share its geometry. Sums over channels meet in shared memory.
std::string by_edge(const CouplingTable &table, const ConvolutionShape &shape, const WantedOfEdges &wanted);

// How `by_edge` is launched.
struct EdgeBlocks {
  unsigned lanes;     // threads of an edge: channels, or each of them takes several
  unsigned edges;     // of a block
  unsigned pitch;     // from one edge's lanes to the next one's in shared memory, and
  unsigned stride;    // from one value to the next: so that a warp's sums read different banks
  unsigned n_values;  // that are summed over channels
};
EdgeBlocks edge_blocks(const CouplingTable &table, const ConvolutionShape &shape, const WantedOfEdges &wanted);

}  // namespace mollifield::operators::cuda
