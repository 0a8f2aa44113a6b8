// An exported model evaluated layer by layer (contract.py), and differentiated by hand from layer to layer, so that
// features and gradients are exchanged in between: with other processes, or with other parts of a graph that is too
// large to be evaluated in one go. Internal: needs torch.
#pragma once

#include "halo.hpp"

#include <torch/script.h>

#include <array>
#include <optional>

namespace mollifield {

struct StageInputs {
  at::Tensor edge_vectors;     // [G, E, 3] leaf that asks for its gradient
  at::Tensor edge_index;       // [2, E]
  at::Tensor types;            // [N'] atoms that receive, then ghosts that only send
  at::Tensor asked;            // Halo::asked(), where there is a halo
  std::int64_t n_centres = 0;  // atoms that receive
  std::int64_t n_local = 0;    // atoms that count in the energy
};

// What is differentiated: the sum over members, or each of them, which share a trunk, of those in `basis` [R] where it
// is defined; `mixing` [M, R] has the others. Several seeds go through one graph and one exchange.
struct Seeds {
  bool by_member = false;
  at::Tensor basis, mixing;
  bool moments = false;  // of the sum of all, too
};

// Sums of energies [M, N] of the first `n_local` atoms, of which the gradients are asked for.
std::vector<at::Tensor> seeded_energies(const at::Tensor &atomic_energies, std::int64_t n_local, const Seeds &seeds);

// Forward: begin(); for every further layer, advance() with the rows that ghosts send; read(). Backward:
// begin_backward(); for every layer but the first, pull() and push(); pull() and to_edges().
class StagedEvaluation {
 public:
  StagedEvaluation(torch::jit::Module &module, int n_layers, const StageInputs &inputs, const Seeds &seeds);

  void begin();
  // Between begin() and the second layer, and between pull() of that and push(): without what begin() made but sent(),
  // which costs memory; recall() makes it again.
  void forget();
  void recall();
  at::Tensor sent(int k) const;            // [T, N, K, C] what neighbours of the centres receive in layer k > 0
  void advance(const at::Tensor &ghosts);  // [T, N' - N, K, C] sent by the others
  void read();

  void begin_backward();
  // [S, T, N', K, C]: gradients by what was sent to the layer; undefined of layer 0, which species alone are sent to.
  at::Tensor pull();
  void push(const at::Tensor &own);  // [S, T, N, K, C] those by sent() of that layer, of all who received it
  void to_edges();

  at::Tensor atomic_energies, latent, noise_features;  // [M, N], [T, N, L], [T, N, F]
  at::Tensor edge_gradients;  // [G, E, 3] dE/d(edge_vectors), E of local atoms; by member [M or R, E, 3]
  // [3 (a), G, E, 3 (b)] sum over atoms m of (r_m - r_i)_a dE_m/d(edge_vectors_ij)_b: the energy that an edge moves
  // in atoms other than its centre, times how far away they are.
  at::Tensor edge_moments;

  // Whether `module` has the methods that this needs.
  static bool is_possible(const torch::jit::Module &module);
  static const std::vector<std::string> METHODS;

 private:
  struct Layer {
    at::Tensor x;         // [T, N, ...] leaf: features of receiving atoms
    at::Tensor sent;      // [T, N, K, C] send(x)
    at::Tensor all_sent;  // [T, N', K, C] leaf: with the rows of ghosts
    at::Tensor by_edge;   // [T, E, K, C] row of every edge's neighbour, where moments are asked for and edges exist
    at::Tensor out;       // [T, N, ...] receive(...)
  };
  // Gradients of one scalar by what a layer takes in; undefined where there are none.
  struct Adjoint {
    at::Tensor x, sent, by_edge;
    std::array<at::Tensor, 3> geometry;  // harmonics, lengths, basis
  };

  torch::jit::Module &module;
  const int n_layers;
  const StageInputs inputs;
  const Seeds seeds;
  const bool moments;          // asked for, and there are any
  std::vector<double> shares;  // how often each of the basis stands in the sum over all members; empty: once
  // Seeds: energies, of which there are `n_energies`, then the moments of their sum along x, y, z.
  std::size_t n_energies = 1, n_seeds = 1;

  std::array<at::Tensor, 3> embedded, geometry;  // outputs of embed, and leaves of the same values
  std::vector<Layer> layers;
  at::Tensor first_sent;                          // sent(1), where the rest of it was forgotten
  at::Tensor last;                                // leaf: features that are read
  std::vector<at::Tensor> from_above;             // of each seed: gradient by what the last layer of `layers` gave
  std::vector<Adjoint> adjoints;                  // of that layer, once it was pulled
  std::vector<std::array<at::Tensor, 3>> totals;  // gradients by the geometry

  at::Tensor call(const char *method, std::vector<c10::IValue> arguments);
  at::Tensor embed();
  void receive();
  Adjoint pull(const Layer &layer, const at::Tensor &seed);
  at::Tensor sent_gradients(const Layer &layer);
};

// One graph that this process has all of but the features of ghosts, which `halo` brings; null: there are none.
void evaluate_in_stages(StagedEvaluation &stages, int n_layers, const StageInputs &inputs, Halo *halo);

// Rows [T, n, K, C] of the nodes that others ask for go out, those of ghosts [T, n_ghosts, K, C] come in.
at::Tensor ghost_rows(Halo &halo, const at::Tensor &asked, std::int64_t n_ghosts);

// Gradients by rows of ghosts [S, T, n_ghosts, K, C] go to their owners; those by the rows asked for come in.
at::Tensor owners_rows(Halo &halo, const at::Tensor &ghosts);

}  // namespace mollifield
