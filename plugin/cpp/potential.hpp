// Load and evaluate an exported model (see mollifield/contract.py) with plain C++ types only.
// Units: eV and Å. No torch header here, so that callers need none.
#pragma once

#include "calibration.hpp"
#include "edge_stream.hpp"
#include "halo.hpp"
#include "latent_space.hpp"
#include "uncertainty.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mollifield {

// A graph of `n_atoms` nodes, of which the first `n_local` count in the energy. Without a halo all of them receive
// messages; with one, the others are ghosts, whose features come from elsewhere, and no edge has one as its centre.
struct Graph {
  std::int64_t n_local = 0;
  std::vector<std::int64_t> types;       // [N] index into Potential::species()
  std::vector<std::int64_t> edge_index;  // [2, E] row 0: centre i, row 1: neighbour j
  std::vector<double> edge_vectors;      // [E, 3] r_j - r_i, Å

  std::int64_t n_atoms() const { return static_cast<std::int64_t>(types.size()); }
  std::int64_t n_edges() const { return static_cast<std::int64_t>(edge_vectors.size() / 3); }
};

// What a model says of its atoms, [n_trunks, n_atoms, width], in the model's own precision.
struct Features {
  std::size_t n_trunks = 0, n_atoms = 0, width = 0;
  std::vector<float> singles;  // of float32 models
  std::vector<double> doubles;

  // Of one atom: those of all trunks, one after the other.
  std::size_t n_columns() const { return n_trunks * width; }
  double at(std::size_t atom, std::size_t column) const
  {
    const std::size_t k = (column / width * n_atoms + atom) * width + column % width;
    return singles.empty() ? doubles[k] : singles[k];
  }
};

struct Evaluation {
  std::vector<double> atomic_energies;         // [n_local] mean over members, eV
  std::vector<double> member_energies;         // [M] sums over local atoms, eV
  std::vector<double> member_atomic_energies;  // [M, n_local] eV, only where asked for
  Features latent;                             // of the local atoms, only where members are asked for
  Features noise_features;                     // likewise, of a file with a noise head
  // Where edges come as a stream these three are empty: it has taken them.
  std::vector<double> edge_gradients;         // [E, 3] mean over members of dE/d(edge_vectors), eV/Å
  std::vector<double> member_edge_gradients;  // [M, E, 3], only where asked for
  // [3 (a), E, 3 (b)] mean over members, eV: sum over atoms m of (r_m - r_i)_a dE_m/d(edge_vectors_ij)_b. Only where
  // asked for, and empty for a model of one layer, in which an edge changes the energy of its centre alone.
  std::vector<double> edge_moments;
  // Of a ResidentGraph, in place of what is told by edges: sums over them, by member where members are asked for, else
  // of the mean. Of ghosts too.
  std::vector<double> forces, virials;  // [M or 1, N, 3] eV/Å, [M or 1, 3 (a), 3 (b)] -sum d_a g_b, eV
  std::int64_t n_edges = 0;
  double shortest_square = 0.0;  // Å^2, of the candidates
};

class ResidentGraph;

// What is wanted besides energies and mean gradients.
struct Request {
  bool members = false;  // all of it member by member too, at M times the cost; on one trunk, of the backward pass
  bool moments = false;  // needs a model with stages (has_stages) or of one layer
  Halo *halo = nullptr;  // of the processes that share the system; needs a model with stages
  // Edges of a graph that has none in itself; needs a model with stages. Members of which each has a trunk are
  // evaluated one after the other then, each with its own exchanges.
  EdgeStream *edges = nullptr;
};

struct Options {
  std::string device = "cpu";  // cpu | cuda | cuda:N | auto
  int threads = 0;             // intra-op threads; 0: OMP_NUM_THREADS where set, else 1
  bool verify = true;          // recompute the reference frames of the file and refuse on a difference
};

class Potential {
 public:
  // Throws std::runtime_error that names the file and what is wrong with it.
  explicit Potential(const std::string &path, const Options &options = {});
  ~Potential();
  Potential(const Potential &) = delete;
  Potential &operator=(const Potential &) = delete;

  const std::vector<std::string> &species() const;
  const Calibration &calibration() const;
  const std::vector<std::string> &
  labels() const;  // trained on: energy, forces, stress; empty where the file does not say
  double r_max() const;
  int n_layers() const;
  int n_members() const;
  int n_trunks() const;                 // 1 where members are samples on one, else as many as members
  const std::string &dtype() const;     // float32 | float64
  const std::string &checksum() const;  // CRC-32 of the file, eight hexadecimal digits
  const std::string &device() const;    // the one in use: cpu | cuda:N

  // Scale and references of the latent features; empty where the file holds none.
  const LatentSpace &latent_space() const;

  // Member k (from 0) as a model of its own, at the cost of one; the rest of the committee costs nothing in it.
  // Throws std::runtime_error, also where it does not reproduce the file's reference frames for this member.
  std::unique_ptr<Potential> member(int k) const;

  // Whether the file can be evaluated layer by layer.
  bool has_stages() const;

  Evaluation evaluate(const Graph &graph, const Request &request = {}) const;
  // The same of atoms that have moved to `positions` [R, 3], in units of `unit` Å ** -1: one upload, and one download
  // besides those of a halo. No moments.
  Evaluation evaluate(const ResidentGraph &graph, const double *positions, double unit,
                      const Request &request = {}) const;

  // Whether the file tells the noise of labels atom by atom.
  bool has_noise_head() const;
  // What its head says, the mean over trunks, of the first n_local atoms of `graph`, of which there is one at least.
  // `evaluation` is one with members, `forces` [n_local, 3] their mean, eV/Å.
  Noise noise(const Graph &graph, const Evaluation &evaluation, const std::vector<double> &forces) const;

  // CUDA devices that this build and machine offer.
  static int n_cuda_devices();

 private:
  struct Implementation;
  explicit Potential(std::unique_ptr<Implementation> implementation);
  template <typename F> Evaluation run(F evaluation) const;
  std::unique_ptr<Implementation> impl;
};

}  // namespace mollifield
