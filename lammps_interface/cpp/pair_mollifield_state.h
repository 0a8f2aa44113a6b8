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

struct PairMollifield::State {
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
  std::unique_ptr<HaloExchange::World> halo_world;
  std::unique_ptr<HaloExchange> halo;  // of a force computation on several ranks with Ghosts::EXCHANGE
  // pvector, of this rank: edges and nodes evaluated, rows received; how often numbers went to the device and how many
  // bytes, how often they came back and how many.
  std::array<double, 7> work;
  mollifield::Transfers transferred;  // before this force computation
  enum class Edges {
    BY_DEVICE,  // where the model runs, if that is a GPU
    ON_HOST,
    ON_DEVICE
  };
  Edges edges = Edges::BY_DEVICE;

  // LAMMPS's units of 1 eV, 1 Å and 1 eV/Å.
  double energy_unit = 1.0, length_unit = 1.0, force_unit = 1.0;
  int n_members = 0, force_std_flag = 0;

  mollifield::Graph graph;
  mollifield::Evaluation evaluation;
  std::vector<HaloExchange::Home> home;           // [nlocal + nghost]
  std::vector<int> owner;                         // [nlocal + nghost] atom of this rank that stands for it in the graph
  std::map<HaloExchange::Home, int> first_image;  // ghost that stands for an atom of another rank in the graph
  std::vector<int> node;                          // [nlocal + nghost] its node of the graph, -1: none
  std::vector<int> atoms;                         // [N] the atom of a node
  std::vector<int> edge_centre, edge_neighbour;   // [E] nodes

  // Of a neighbour list, for as long as it holds: the graph where the model runs, the types that its rows had.
  std::unique_ptr<mollifield::ResidentGraph> resident;
  std::vector<int> row_types;
  bigint list_step = -1, list_number = -1;

  std::vector<double> member_forces;  // [nlocal + nghost, M, 3]
  MemberOutputs outputs;
  int first_member = 0;  // of the chunk being communicated
};

}  // namespace LAMMPS_NS

#endif
