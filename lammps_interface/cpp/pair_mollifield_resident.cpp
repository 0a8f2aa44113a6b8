// Force computations of pair style mollifield whose edges are cut where the model runs: positions go there once a step,
// and forces come back. The neighbour list goes there when LAMMPS has made a new one.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "contract.hpp"
#include "neigh_list.h"
#include "neighbor.h"

#include <algorithm>
#include <cmath>

using namespace LAMMPS_NS;

using mollifield::contract::MIN_DISTANCE;

// Not where ghosts are centres, whose shells are found from the positions of a step, nor where virials are asked for
// atom by atom, which are sums over edges that nothing else needs.
bool PairMollifield::edges_are_resident() const
{
  const auto &s = *state;
  if (vflag_atom || cvflag_atom || (comm->nprocs > 1 && s.ghosts == State::Ghosts::COMPUTE)) return false;
  const auto asked = s.edges_asked;
  return asked == State::EdgesAre::BY_DEVICE ? s.potential->device() != "cpu" : asked == State::EdgesAre::ON_DEVICE;
}

// On all ranks alike, for a new graph is made by all. Types may change without a new list, and on some ranks alone.
bool PairMollifield::graph_holds()
{
  auto &s = *state;
  if (!s.resident || neighbor->ago == 0 || s.list_step != neighbor->lastcall || s.list_number != neighbor->ncalls)
    return false;
  const auto n_rows = static_cast<std::size_t>(atom->nlocal + atom->nghost);
  const bool same = s.row_types.size() == n_rows && std::equal(s.row_types.begin(), s.row_types.end(), atom->type);
  return s.halo ? !s.halo->any(!same) : same;
}

// Nodes as in build_graph(), of all pairs in the list.
void PairMollifield::make_resident()
{
  auto &s = *state;
  learn_list();
  find_owners();
  s.list_number = neighbor->ncalls;
  s.row_types.assign(atom->type, atom->type + s.owner.size());
  begin_graph();
  mollifield::Candidates found;
  found.n_local = s.graph.n_local;
  for (std::int64_t node = 0; node < found.n_local; node++) {
    const int i = s.atoms[node];
    for (int k = 0; k < list->numneigh[i]; k++) {
      const int j = list->firstneigh[i][k] & NEIGHMASK;
      if (map[atom->type[j]] < 0) continue;
      found.centres.push_back(i);
      found.neighbours.push_back(j);
      node_of(j);
    }
  }
  connect_ghosts();
  for (const int owner : s.owner) found.row_nodes.push_back(std::max(s.node[owner], 0));
  found.types = s.graph.types;
  const std::vector<std::int64_t> asked = s.halo ? s.halo->asked() : std::vector<std::int64_t>();
  s.resident = std::make_unique<mollifield::ResidentGraph>(found, asked, s.potential->device());
}

mollifield::Evaluation PairMollifield::run_resident(const mollifield::Potential &potential,
                                                    const mollifield::Request &request)
{
  auto &s = *state;
  mollifield::Evaluation found = potential.evaluate(*s.resident, atom->x[0], s.length_unit, request);
  s.n_edges = found.n_edges;
  s.is_finite = std::all_of(found.forces.begin(), found.forces.end(), [](double x) { return std::isfinite(x); });
  if (!request.members) {
    take_nodes(mollifield::EdgeStream::MEAN, found.forces.data(), found.virials.data());
    return found;
  }
  for (int m = 0; m < potential.n_members(); m++)
    take_nodes(m, &found.forces[3 * s.atoms.size() * m], &found.virials[9 * m]);
  return found;
}

// Forces [N, 3] and virial [3, 3], in eV and Å, of a member or of the mean.
void PairMollifield::take_nodes(int member, const double *forces, const double *w)
{
  auto &s = *state;
  constexpr int FIRST[6] = {0, 1, 2, 0, 0, 1}, SECOND[6] = {0, 1, 2, 1, 2, 2};
  double symmetric[6];
  for (int k = 0; k < 6; k++)
    symmetric[k] = 0.5 * s.energy_unit * (w[3 * FIRST[k] + SECOND[k]] + w[3 * SECOND[k] + FIRST[k]]);
  if (s.force_std_flag && member != mollifield::EdgeStream::MEAN) {
    for (std::size_t k = 0; k < 3 * s.atoms.size(); k++)
      s.member_forces[3 * (s.atoms[k / 3] * s.n_members + member) + k % 3] += s.force_unit * forces[k];
    for (int k = 0; k < 6; k++) s.outputs.member_virials[6 * member + k] += symmetric[k];
  }
  const double weight = weight_of(member);
  if (weight == 0.0) return;
  for (std::size_t k = 0; k < 3 * s.atoms.size(); k++)
    atom->f[s.atoms[k / 3]][k % 3] += weight * s.force_unit * forces[k];
  if (vflag_global)
    for (int k = 0; k < 6; k++) virial[k] += weight * symmetric[k];
}

// The model runs where nobody knows atoms' names: the host looks for those that are too near.
void PairMollifield::require_distances()
{
  const auto &s = *state;
  if (s.graph.n_local == 0 || s.evaluation.shortest_square >= MIN_DISTANCE * MIN_DISTANCE) return;
  build_graph();  // says of which atoms
  fail_on_this_rank(fmt::format("two atoms are less than {} A apart", MIN_DISTANCE));
}
