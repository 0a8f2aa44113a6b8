// What PairMollifield keeps out of its public header: the model, and the data of one force computation.
#ifndef LMP_PAIR_MOLLIFIELD_STATE_H
#define LMP_PAIR_MOLLIFIELD_STATE_H

#include "pair_mollifield.h"
#include "pair_mollifield_members.h"
#include "potential.hpp"

namespace LAMMPS_NS {

// LAMMPS sizes its buffers from comm_reverse before the committee is known, so members travel in chunks.
constexpr int MEMBERS_PER_MESSAGE = 4;

struct PairMollifield::State {
  mollifield::Options options;
  std::unique_ptr<mollifield::Potential> potential;
  // The dynamics follows the committee's mean (-1), or this member, of which `driver` is a model of its own.
  int driver_member = -1;
  std::unique_ptr<mollifield::Potential> driver;
  std::vector<const char *> type_symbols;    // [ntypes + 1]
  double energy_unit = 1.0;
  int n_members = 0, force_std_flag = 0;

  mollifield::Graph graph;
  mollifield::Evaluation evaluation;
  std::vector<int> owner;    // [nlocal + nghost] atom that stands for it in the graph
  std::vector<int> node;     // [nlocal + nghost] its node of the graph, -1: none
  std::vector<int> atoms;    // [N] the atom of a node
  std::vector<int> edge_centre, edge_neighbour;    // [E] nodes

  std::vector<double> member_forces;    // [nlocal + nghost, M, 3]
  MemberOutputs outputs;
  int first_member = 0;    // of the chunk being communicated
};

}    // namespace LAMMPS_NS

#endif
