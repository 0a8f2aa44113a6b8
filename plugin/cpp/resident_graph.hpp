// A graph that stays where the model runs while its atoms move: positions go there, forces come back. Plain C++.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mollifield {

// Pairs of atoms of which those within r_max are the edges of a step: a neighbour list with a skin. Positions have
// rows, of which several (periodic images, say) may be one node of the graph.
struct Candidates {
  std::int64_t n_local = 0;                       // nodes that count in the energy, the first ones
  std::vector<std::int64_t> types;                // [N] of nodes, index into Potential::species()
  std::vector<std::int64_t> row_nodes;            // [R] the node of a row; any where no candidate has the row
  std::vector<std::int32_t> centres, neighbours;  // [C] rows; as edges of a Graph
};

// How often numbers crossed between host and device, and how many bytes.
struct Transfers {
  std::int64_t uploads = 0, uploaded_bytes = 0, downloads = 0, downloaded_bytes = 0;
};

class ResidentGraph {
 public:
  // `device` as Potential::device() says it. `asked`: Halo::asked(), of a graph with a halo.
  ResidentGraph(const Candidates &candidates, const std::vector<std::int64_t> &asked, const std::string &device);
  ~ResidentGraph();
  ResidentGraph(const ResidentGraph &) = delete;
  ResidentGraph &operator=(const ResidentGraph &) = delete;

  // Of this process, of all graphs and models.
  static Transfers transfers();

 private:
  friend class Potential;
  struct Tensors;
  std::unique_ptr<Tensors> tensors;
};

}  // namespace mollifield
