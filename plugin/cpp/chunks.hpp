// Evaluation of a graph part by part. A chunk is some of the centres with all of their edges: a staged evaluation, to
// which atoms of other chunks are what ghosts are to a process. Chunks live from when another needs their features to
// when all gradients by these are known, so that with centres in the order of space memory goes by the area of a cut
// through the system. Few wait for long: those at the far side of a periodic boundary, and those whose atoms other
// processes have as ghosts. Their first layer is computed again, and nothing else is. Internal: needs torch.
#pragma once

#include "edge_stream.hpp"
#include "potential.hpp"
#include "stages.hpp"

#include <functional>
#include <memory>

namespace mollifield {

// Which centres go together, and which chunks have atoms that a chunk's edges reach; the same for all members.
class Partition {
 public:
  // Nodes that `halo` (null: none) hands to other processes are chunks of their own, since they wait for these.
  Partition(const Graph &graph, EdgeStream &stream, const Halo *halo);

  static constexpr int GHOST = -1;  // in place of a chunk

  std::size_t size() const { return centres.size(); }

  std::vector<std::vector<int>> centres, needs;    // of each chunk: its nodes; other chunks, without ghosts
  std::vector<int> n_users;                        // chunks that need it
  std::vector<std::size_t> first_user, last_user;  // of these and itself
  std::vector<std::vector<std::int64_t>> asked;    // of each chunk: places of its nodes in Halo::asked()
  std::vector<int> chunk, row;                     // [N] of each node; of ghosts GHOST and their number
  std::int64_t n_ghosts = 0;

 private:
  void split(const std::vector<int> &nodes, std::size_t most);
};

class ChunkedEvaluation {
 public:
  // What is found of a chunk, as StagedEvaluation has it: each is called once for every chunk, after its forward and
  // its backward pass.
  struct Sink {
    std::function<void(const std::vector<int> &nodes, const StagedEvaluation &)> atoms;
    std::function<void(const Edges &, const StagedEvaluation &)> edges;
  };

  struct Parts {
    const Graph &graph;
    const Partition &partition;
    EdgeStream &stream;
    Halo *halo;
  };

  ChunkedEvaluation(torch::jit::Module &module, int n_layers, at::ScalarType dtype, at::Device device,
                    const Parts &parts, const Seeds &seeds, Sink sink);
  ~ChunkedEvaluation();

  void run();

 private:
  struct Chunk;
  torch::jit::Module &module;
  const int n_layers;
  const at::ScalarType dtype;
  const at::Device device;
  const Parts parts;
  const Seeds seeds;
  const Sink sink;

  std::vector<std::unique_ptr<Chunk>> chunks;       // those that live
  std::vector<at::Tensor> ghosts, ghosts_gradient;  // [T, G, K, C], [S, T, G, K, C] of each layer's rows
  std::vector<int> number;                          // [N] of a node among the senders of a chunk that is being made

  bool is_long(std::size_t c, std::size_t from, std::size_t to) const;
  Chunk &open(std::size_t c);
  void forward(std::size_t c, int k);
  at::Tensor gather(const Chunk &chunk, int k);
  at::Tensor asked_places(std::size_t c) const;
  void send_asked(int k);
  void return_asked(int k);
  void pull(std::size_t c);
  void add_gradient(std::size_t c, int k, const at::Tensor &rows, const at::Tensor &places);
};

}  // namespace mollifield
