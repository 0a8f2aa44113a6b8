// One force computation of pair style mollifield: graph, evaluation, tallies, communication.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neigh_list.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <exception>

using namespace LAMMPS_NS;

namespace {

constexpr double MIN_DISTANCE = 1e-3;    // Å, contract.MIN_DISTANCE

}    // namespace

void PairMollifield::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  const bool members = state->force_std_flag != 0;
  find_owners();
  build_graph();
  evaluate(members);
  tally_energies();
  tally_forces();
  if (members) {
    sum_member_forces();
    reduce_members();
  }
}

void PairMollifield::find_owners()
{
  const int n_all = atom->nlocal + atom->nghost;
  state->owner.resize(n_all);
  for (int i = 0; i < n_all; i++) state->owner[i] = i;
  if (comm->nprocs == 1) comm->forward_comm(this);
}

// Nodes: the local atoms, then shell by shell the ghosts that their features depend on. An atom `hops` edges away
// from the nearest local atom is a centre only where hops < n_layers: edges of farther ones change no local energy.
void PairMollifield::build_graph()
{
  auto &s = *state;
  s.node.assign(s.owner.size(), -1);
  s.atoms.clear();
  s.graph = {};
  s.edge_centre.clear();
  s.edge_neighbour.clear();
  for (int k = 0; k < list->inum; k++) {
    const int i = list->ilist[k];
    if (map[atom->type[i]] < 0) continue;
    s.node[i] = static_cast<int>(s.atoms.size());
    s.atoms.push_back(i);
  }
  s.graph.n_local = static_cast<std::int64_t>(s.atoms.size());

  std::size_t begin = 0;
  for (int hops = 0; hops < s.potential->n_layers(); hops++) {
    const std::size_t end = s.atoms.size();
    for (std::size_t centre = begin; centre < end; centre++) add_edges(s.atoms[centre], centre);
    begin = end;
  }
  for (const int i : s.atoms) s.graph.types.push_back(map[atom->type[i]]);
  s.graph.edge_index.assign(s.edge_centre.begin(), s.edge_centre.end());
  s.graph.edge_index.insert(s.graph.edge_index.end(), s.edge_neighbour.begin(), s.edge_neighbour.end());
}

void PairMollifield::add_edges(int i, std::size_t centre)
{
  auto &s = *state;
  const double r_max = s.potential->r_max();
  const double *const *const x = atom->x;
  for (int k = 0; k < list->numneigh[i]; k++) {
    const int j = list->firstneigh[i][k] & NEIGHMASK;
    if (map[atom->type[j]] < 0) continue;
    const double d[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
    const double square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    // The list has a skin.
    if (square > r_max * r_max) continue;
    if (square < MIN_DISTANCE * MIN_DISTANCE)
      error->one(FLERR, "Pair style mollifield: atoms {} and {} are {} A apart, less than {} A", atom->tag[i],
                 atom->tag[j], std::sqrt(square), MIN_DISTANCE);
    const int owner = s.owner[j];
    if (s.node[owner] < 0) {
      s.node[owner] = static_cast<int>(s.atoms.size());
      s.atoms.push_back(owner);
    }
    s.edge_centre.push_back(static_cast<int>(centre));
    s.edge_neighbour.push_back(s.node[owner]);
    s.graph.edge_vectors.insert(s.graph.edge_vectors.end(), d, d + 3);
  }
}

void PairMollifield::evaluate(bool members)
{
  auto &s = *state;
  s.evaluation = {};
  s.evaluation.member_energies.assign(s.n_members, 0.0);
  if (s.graph.n_local == 0) {
    // Nothing of this rank's energy depends on its ghosts.
    s.graph.edge_vectors.clear();
    s.edge_centre.clear();
    s.edge_neighbour.clear();
    return;
  }
  const bool whole_committee = members || !s.driver;
  try {
    s.evaluation = (whole_committee ? s.potential : s.driver)->evaluate(s.graph, members);
    if (whole_committee && s.driver) follow_driver();
  } catch (const std::exception &failure) {
    error->one(FLERR, "Pair style mollifield: {}", failure.what());
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto &e = s.evaluation;
  if (!std::all_of(e.member_energies.begin(), e.member_energies.end(), finite) ||
      !std::all_of(e.edge_gradients.begin(), e.edge_gradients.end(), finite))
    error->one(FLERR, "Pair style mollifield: energy or forces are not finite at step {}", update->ntimestep);
}

// Energies and forces of the run are the driver's also on a step that evaluates the committee.
void PairMollifield::follow_driver()
{
  auto &e = state->evaluation;
  const auto part = [&](const std::vector<double> &all, std::vector<double> &one) {
    const std::size_t size = all.size() / state->n_members;
    std::copy_n(all.begin() + size * state->driver_member, size, one.begin());
  };
  part(e.member_atomic_energies, e.atomic_energies);
  part(e.member_edge_gradients, e.edge_gradients);
}

void PairMollifield::tally_energies()
{
  const auto &s = *state;
  if (!eflag_either) return;
  for (std::int64_t node = 0; node < s.graph.n_local; node++) {
    const double energy = s.energy_unit * s.evaluation.atomic_energies[node];
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom) eatom[s.atoms[node]] += energy;
  }
}

void PairMollifield::tally_forces()
{
  const auto &s = *state;
  double **const f = atom->f;
  for (std::size_t edge = 0; edge < s.edge_centre.size(); edge++) {
    const int i = s.atoms[s.edge_centre[edge]], j = s.atoms[s.edge_neighbour[edge]];
    const double *const d = &s.graph.edge_vectors[3 * edge];
    double w[9];
    for (int a = 0; a < 3; a++) {
      const double g = s.energy_unit * s.evaluation.edge_gradients[3 * edge + a];
      f[i][a] += g;
      f[j][a] -= g;
      for (int b = 0; b < 3; b++) w[3 * b + a] = -d[b] * g;
    }
    if (vflag_either) tally_virial_atom(i, j, w);
  }
}

// w[3 * a + b] = -d_a g_b. Six components: the symmetric part, which is all of it once summed over atoms.
void PairMollifield::tally_virial_atom(int i, int j, const double *w)
{
  const double symmetric[6] = {w[0], w[4], w[8], 0.5 * (w[1] + w[3]), 0.5 * (w[2] + w[6]), 0.5 * (w[5] + w[7])};
  const double centroid[9] = {w[0], w[4], w[8], w[1], w[2], w[5], w[3], w[6], w[7]};
  for (int k = 0; k < 6; k++) {
    if (vflag_global) virial[k] += symmetric[k];
    if (vflag_atom) vatom[i][k] += 0.5 * symmetric[k];
    if (vflag_atom) vatom[j][k] += 0.5 * symmetric[k];
  }
  if (!cvflag_atom) return;
  for (int k = 0; k < 9; k++) {
    cvatom[i][k] += 0.5 * centroid[k];
    cvatom[j][k] += 0.5 * centroid[k];
  }
}

int PairMollifield::pack_forward_comm(int n, int *atoms, double *buffer, int /*pbc_flag*/, int * /*pbc*/)
{
  for (int k = 0; k < n; k++) buffer[k] = state->owner[atoms[k]];
  return n;
}

void PairMollifield::unpack_forward_comm(int n, int first, double *buffer)
{
  for (int k = 0; k < n; k++) state->owner[first + k] = static_cast<int>(buffer[k]);
}

int PairMollifield::pack_reverse_comm(int n, int first, double *buffer)
{
  const auto &s = *state;
  int size = 0;
  for (int i = first; i < first + n; i++)
    for (int m = s.first_member; m < s.first_member + MEMBERS_PER_MESSAGE; m++)
      for (int a = 0; a < 3; a++)
        buffer[size++] = m < s.n_members ? s.member_forces[3 * (i * s.n_members + m) + a] : 0.0;
  return size;
}

void PairMollifield::unpack_reverse_comm(int n, int *atoms, double *buffer)
{
  auto &s = *state;
  int size = 0;
  for (int k = 0; k < n; k++)
    for (int m = s.first_member; m < s.first_member + MEMBERS_PER_MESSAGE; m++)
      for (int a = 0; a < 3; a++, size++)
        if (m < s.n_members) s.member_forces[3 * (atoms[k] * s.n_members + m) + a] += buffer[size];
}
