// Force computations of pair style mollifield whose edges are cut where the model runs: positions go there once a step,
// and forces come back. The neighbour list goes there when LAMMPS has made a new one.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "contract.hpp"
#include "neigh_list.h"
#include "neighbor.h"

#include <algorithm>

using namespace LAMMPS_NS;

// Not where ghosts are centres, whose shells are found from the positions of a step, nor where virials are asked for
// atom by atom, which are sums over edges that nothing else needs.
bool PairMollifield::edges_are_resident() const
{
  const auto &s = *state;
  if (vflag_atom || cvflag_atom || (comm->nprocs > 1 && s.ghosts == State::Ghosts::COMPUTE)) return false;
  return s.edges == State::Edges::BY_DEVICE ? s.potential->device() != "cpu" : s.edges == State::Edges::ON_DEVICE;
}

// On all ranks alike, for a new graph is made by all. Types may change without a new list, and on some ranks alone.
bool PairMollifield::graph_holds() const
{
  const auto &s = *state;
  if (!s.resident || neighbor->ago == 0 || s.list_step != neighbor->lastcall || s.list_number != neighbor->ncalls)
    return false;
  const auto n_rows = static_cast<std::size_t>(atom->nlocal + atom->nghost);
  int here = s.row_types.size() == n_rows && std::equal(s.row_types.begin(), s.row_types.end(), atom->type);
  if (comm->nprocs == 1) return here;
  int everywhere = 0;
  MPI_Allreduce(&here, &everywhere, 1, MPI_INT, MPI_MIN, world);
  return everywhere;
}

// Nodes as in build_graph(), of all pairs in the list.
void PairMollifield::make_resident()
{
  auto &s = *state;
  s.list_step = neighbor->lastcall;
  s.list_number = neighbor->ncalls;
  find_owners();
  const auto n_rows = s.owner.size();
  s.row_types.assign(atom->type, atom->type + n_rows);
  s.node.assign(n_rows, -1);
  s.atoms.clear();
  s.first_image.clear();
  s.graph = {};
  for (int k = 0; k < list->inum; k++) {
    const int i = list->ilist[k];
    if (map[atom->type[i]] < 0) continue;
    s.node[i] = static_cast<int>(s.atoms.size());
    s.atoms.push_back(i);
  }
  s.graph.n_local = static_cast<std::int64_t>(s.atoms.size());
  mollifield::Candidates found;
  found.n_local = s.graph.n_local;
  found.row_nodes.assign(n_rows, 0);
  for (std::int64_t node = 0; node < s.graph.n_local; node++) {
    const int i = s.atoms[node];
    found.row_nodes[i] = node;
    for (int k = 0; k < list->numneigh[i]; k++) {
      const int j = list->firstneigh[i][k] & NEIGHMASK;
      if (map[atom->type[j]] < 0) continue;
      found.centres.push_back(i);
      found.neighbours.push_back(j);
      found.row_nodes[j] = node_of(j);
    }
  }
  const auto number = order_ghosts();
  for (auto &node : found.row_nodes)
    if (!number.empty()) node = number[node];
  for (const int i : s.atoms) s.graph.types.push_back(map[atom->type[i]]);
  found.types = s.graph.types;
  const std::vector<std::int64_t> asked = s.halo ? s.halo->asked() : std::vector<std::int64_t>();
  s.resident = std::make_unique<mollifield::ResidentGraph>(found, asked, s.potential->device());
}

void PairMollifield::compute_resident(bool members)
{
  auto &s = *state;
  if (!graph_holds()) make_resident();
  evaluate(members);
  constexpr double NEAREST = mollifield::contract::MIN_DISTANCE;
  if (s.graph.n_local > 0 && s.evaluation.shortest_square < NEAREST * NEAREST) {
    build_graph();  // says of which atoms
    fail_on_this_rank(fmt::format("two atoms are less than {} A apart", NEAREST));
  }
  count_work(s.evaluation.n_edges);
}

void PairMollifield::tally_resident()
{
  const auto &s = *state;
  const auto &e = s.evaluation;
  for (std::size_t k = 0; k < e.forces.size(); k++) atom->f[s.atoms[k / 3]][k % 3] += s.force_unit * e.forces[k];
  if (!vflag_global || e.virial.empty()) return;
  constexpr int FIRST[6] = {0, 1, 2, 0, 0, 1}, SECOND[6] = {0, 1, 2, 1, 2, 2};
  for (int k = 0; k < 6; k++)
    virial[k] += 0.5 * s.energy_unit * (e.virial[3 * FIRST[k] + SECOND[k]] + e.virial[3 * SECOND[k] + FIRST[k]]);
}
