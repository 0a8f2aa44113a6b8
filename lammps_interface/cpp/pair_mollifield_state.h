// What PairMollifield keeps out of its public header: the model, and the data of one force computation.
#ifndef LMP_PAIR_MOLLIFIELD_STATE_H
#define LMP_PAIR_MOLLIFIELD_STATE_H

#include "halo_exchange.h"
#include "pair_mollifield.h"
#include "pair_mollifield_members.h"
#include "potential.hpp"
#include "resident_graph.hpp"

#include <array>
#include <map>

namespace LAMMPS_NS {

// LAMMPS sizes its buffers from comm_reverse before the committee is known, so members travel in chunks.
constexpr int MEMBERS_PER_MESSAGE = 4;

// Edges made from LAMMPS's neighbour list, a chunk at a time, where there are too many to keep.
class PairMollifield::Stream : public mollifield::EdgeStream {
 public:
  explicit Stream(PairMollifield *its_pair) : pair(its_pair) {}
  std::int64_t n_edges() const override;
  std::int64_t chunk() const override;
  mollifield::Edges make(const std::vector<int> &) override;
  void take(const mollifield::Edges &edges, int member, const double *gradients) override
  {
    pair->take_edges(edges, member, gradients);
  }
  void take_moments(const mollifield::Edges &edges, int member, const double *moments) override
  {
    pair->take_moments(edges, member, moments);
  }

 private:
  PairMollifield *const pair;
};

struct PairMollifield::State {
  explicit State(PairMollifield *pair) : stream(pair) {}

  mollifield::Options options;
  std::unique_ptr<mollifield::Potential> potential;
  // The dynamics follows the committee's mean (-1), or this member, of which `driver` is a model of its own.
  int driver_member = -1;
  std::unique_ptr<mollifield::Potential> driver;
  std::vector<const char *> type_symbols;  // [ntypes + 1]

  // As the input script has them, for the restart file. `restart_problem`: why the model it names is not there.
  std::string settings, model_name, elements;
  std::string restart_checksum, restart_problem;
  bool coeff_given = false, told_of_stress = false;

  enum class Ghosts {
    EXCHANGE,  // their features come from the ranks that own them
    COMPUTE    // this rank computes their features from their own neighbours
  };
  Ghosts ghosts_asked = Ghosts::EXCHANGE, ghosts = Ghosts::EXCHANGE;
  std::unique_ptr<HaloExchange> halo;  // on several ranks with Ghosts::EXCHANGE
  // pvector, of this rank: edges and nodes evaluated, rows received; messages and bytes sent to others, collectives;
  // how often numbers went to the device and how many bytes, how often they came back and how many.
  std::array<double, 10> work;
  mollifield::Transfers transferred;  // before this force computation
  // Of the neighbour list: whether it is known, the step it was made at, and whether its edges are too many to keep,
  // here or, since ranks exchange alike, on another rank.
  bool knows_list = false, streams = false;
  bigint list_step = -1;
  static constexpr std::int64_t DEFAULT_CHUNK = 1 << 16;
  std::int64_t chunk = DEFAULT_CHUNK;  // edges evaluated at a time
  Stream stream;
  // Where edges are cut from the neighbour list; BY_DEVICE: where the model runs, if that is a GPU.
  enum class EdgesAre { BY_DEVICE, ON_HOST, ON_DEVICE };
  EdgesAre edges_asked = EdgesAre::BY_DEVICE;
  // Where the model runs, for as long as the list holds: the graph; the types that its rows had, the list's number.
  std::unique_ptr<mollifield::ResidentGraph> resident;
  std::vector<int> row_types;
  bigint list_number = -1;
  // LAMMPS's units of 1 eV, 1 Å and 1 eV/Å.
  double energy_unit = 1.0, length_unit = 1.0, force_unit = 1.0;
  int n_members = 0, force_std_flag = 0;

  mollifield::Graph graph;
  mollifield::Evaluation evaluation;
  mollifield::Edges edges;  // all of them, unless they come as a stream
  std::int64_t n_edges = 0;
  int n_centres = 0;  // nodes that have edges
  // Whose gradients are forces: a member's, or those of ALL or of NONE.
  static constexpr int ALL = -1, NONE = -2;
  int forces_of = ALL;
  bool is_finite = true;                          // all that was found in this force computation
  std::vector<HaloExchange::Home> home;           // [nlocal + nghost]
  std::vector<int> owner;                         // [nlocal + nghost] atom of this rank that stands for it in the graph
  std::map<HaloExchange::Home, int> first_image;  // ghost that stands for an atom of another rank in the graph
  std::vector<int> node;                          // [nlocal + nghost] its node of the graph, -1: none
  std::vector<int> atoms;                         // [N] the atom of a node

  std::vector<double> member_forces;  // [nlocal + nghost, M, 3], where members are asked for
  MemberOutputs outputs;
  int first_member = 0;  // of the chunk being communicated
};

}  // namespace LAMMPS_NS

#endif
