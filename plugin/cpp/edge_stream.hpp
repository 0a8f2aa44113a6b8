// Edges of a graph that is too large to hold them all at once. Plain C++, no torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mollifield {

struct Edges {
  std::vector<int> centre, neighbour;  // [E] nodes
  std::vector<double> vectors;         // [E, 3] r_j - r_i, Å

  std::size_t size() const { return centre.size(); }
};

// Makes edges when they are asked for, and takes what is found of them as soon as it is, part by part: a caller sums
// it. The same edges are asked for several times, and their gradients may come member by member.
class EdgeStream {
 public:
  static constexpr int MEAN = -1;  // in place of a member: the mean over all

  virtual ~EdgeStream() = default;

  // Number of edges of the graph, of which there need be no more than a guess.
  virtual std::int64_t n_edges() const = 0;

  // Of parts that are evaluated at a time.
  virtual std::int64_t chunk() const = 0;

  // Edges whose centres are these nodes, those of one centre in the same order every time.
  virtual Edges make(const std::vector<int> &centres) = 0;

  // dE/d(edges.vectors), eV/Å: of a member's energy, or of the mean.
  virtual void take(const Edges &edges, int member, const double *gradients) = 0;

  // As Evaluation::edge_moments.
  virtual void take_moments(const Edges &edges, int member, const double *moments) = 0;
};

}  // namespace mollifield
