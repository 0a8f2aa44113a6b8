// One force computation of pair style mollifield: evaluation, tallies, communication.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <thread>

using namespace LAMMPS_NS;

void PairMollifield::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  const bool members = state->force_std_flag != 0;
  state->transferred = mollifield::ResidentGraph::transfers();
  if (state->halo) state->halo->traffic = {};
  if (edges_are_resident()) {
    if (!graph_holds()) make_resident();
  } else {
    state->resident.reset();
    if (neighbor->ago == 0 || !state->knows_list || state->list_step != neighbor->lastcall) learn_list();
    find_owners();
    build_graph();
    connect_ghosts();
  }
  if (members) clear_members();
  evaluate(members);
  if (state->resident) require_distances();
  count_work();
  tally_energies();
  if (members) {
    communicate_members();
    reduce_members();
  }
}

void PairMollifield::count_work()
{
  auto &s = *state;
  const auto n_edges = static_cast<double>(s.n_edges);
  const auto n_local = static_cast<double>(s.graph.n_local), n_atoms = static_cast<double>(s.atoms.size());
  const auto traffic = s.halo ? s.halo->traffic : HaloExchange::Traffic();
  const auto since = [](std::int64_t now, std::int64_t before) { return static_cast<double>(now - before); };
  const auto &before = s.transferred;
  const auto now = mollifield::ResidentGraph::transfers();
  s.work = {n_edges,
            s.halo ? n_local : n_atoms,
            s.halo ? n_atoms - n_local : 0.0,
            traffic.messages,
            traffic.bytes,
            traffic.collectives,
            since(now.uploads, before.uploads),
            since(now.uploaded_bytes, before.uploaded_bytes),
            since(now.downloads, before.downloads),
            since(now.downloaded_bytes, before.downloaded_bytes)};
}

// Forces and virials are summed on the way.
void PairMollifield::evaluate(bool members)
{
  auto &s = *state;
  s.evaluation = {};
  s.evaluation.member_energies.assign(s.n_members, 0.0);
  s.is_finite = true;
  if (s.graph.n_local == 0) return;  // nothing of this rank's energy depends on its ghosts
  const mollifield::Request driving = {.moments = cvflag_atom != 0, .halo = s.halo.get()};
  // Moments are those of a mean: where a member drives, of a model of its own.
  const bool separately = members && s.driver && driving.moments;
  try {
    if (s.driver && !members) {
      s.evaluation = run(*s.driver, driving, State::ALL);
    } else {
      s.evaluation =
          run(*s.potential, {.members = members, .moments = driving.moments && !s.driver, .halo = driving.halo},
              separately ? State::NONE : s.driver_member);
      if (s.driver) follow_driver();
      if (separately) run(*s.driver, driving, State::ALL);
    }
  } catch (const std::exception &failure) {
    fail_on_this_rank(failure.what());
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto &energies = s.evaluation.member_energies;
  if (!s.is_finite || !std::all_of(energies.begin(), energies.end(), finite))
    fail_on_this_rank(fmt::format("energy or forces are not finite at step {}", update->ntimestep));
}

// With the gradients of `forces_of` as forces.
mollifield::Evaluation PairMollifield::run(const mollifield::Potential &potential, mollifield::Request request,
                                           int forces_of)
{
  auto &s = *state;
  s.forces_of = forces_of;
  if (s.resident) return run_resident(potential, request);
  if (s.streams) {
    request.edges = &s.stream;
    return potential.evaluate(s.graph, request);
  }
  s.graph.edge_index.assign(s.edges.centre.begin(), s.edges.centre.end());
  s.graph.edge_index.insert(s.graph.edge_index.end(), s.edges.neighbour.begin(), s.edges.neighbour.end());
  s.graph.edge_vectors.swap(s.edges.vectors);
  mollifield::Evaluation found = potential.evaluate(s.graph, request);
  s.graph.edge_vectors.swap(s.edges.vectors);
  if (found.edge_gradients.empty()) return found;
  if (request.members)
    for (int m = 0; m < potential.n_members(); m++)
      take_edges(s.edges, m, &found.member_edge_gradients[3 * s.edges.size() * m]);
  else
    take_edges(s.edges, mollifield::EdgeStream::MEAN, found.edge_gradients.data());
  if (!found.edge_moments.empty()) take_moments(s.edges, mollifield::EdgeStream::MEAN, found.edge_moments.data());
  return found;
}

// error->one() aborts all ranks and their launcher with them, which may not have passed on yet why: print it before.
void PairMollifield::fail_on_this_rank(const std::string &problem) const
{
  if (comm->nprocs > 1 && screen) {
    fprintf(screen, "ERROR on proc %d: Pair style mollifield: %s\n", comm->me, problem.c_str());
    fflush(screen);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  error->one(FLERR, "Pair style mollifield: {}", problem);
}

// Energies of the run are the driver's also on a step that evaluates the committee.
void PairMollifield::follow_driver()
{
  auto &e = state->evaluation;
  const std::size_t n = e.atomic_energies.size();
  std::copy_n(e.member_atomic_energies.begin() + static_cast<std::ptrdiff_t>(n * state->driver_member), n,
              e.atomic_energies.begin());
}

void PairMollifield::tally_energies()
{
  const auto &s = *state;
  if (!eflag_either) return;
  for (std::size_t node = 0; node < s.evaluation.atomic_energies.size(); node++) {
    const double energy = s.energy_unit * s.evaluation.atomic_energies[node];
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom) eatom[s.atoms[node]] += energy;
  }
}

// How much a member's gradients, or those of the mean, count in the forces.
double PairMollifield::weight_of(int member) const
{
  const auto &s = *state;
  if (s.forces_of == State::NONE) return 0.0;
  if (member == mollifield::EdgeStream::MEAN) return 1.0;
  if (s.forces_of == State::ALL) return 1.0 / s.n_members;
  return member == s.forces_of ? 1.0 : 0.0;
}

void PairMollifield::take_edges(const mollifield::Edges &edges, int member, const double *gradients)
{
  auto &s = *state;
  for (std::size_t k = 0; k < 3 * edges.size(); k++) s.is_finite = s.is_finite && std::isfinite(gradients[k]);
  if (s.force_std_flag && member != mollifield::EdgeStream::MEAN) take_member(edges, member, gradients);
  const double weight = weight_of(member);
  if (weight == 0.0) return;
  double **const f = atom->f;
  for (std::size_t edge = 0; edge < edges.size(); edge++) {
    const int i = s.atoms[edges.centre[edge]], j = s.atoms[edges.neighbour[edge]];
    const double *const d = &edges.vectors[3 * edge], *const g = &gradients[3 * edge];
    for (int a = 0; a < 3; a++) {
      const double force = weight * s.force_unit * g[a];
      f[i][a] += force;
      f[j][a] -= force;
    }
    if (vflag_global || vflag_atom) tally_virial(i, j, d, g, weight);
    if (cvflag_atom) tally_centroid(j, d, g, weight);
  }
}

// The symmetric part of -d (x) g, which is all of it once summed over atoms; of atoms, half for each end of the edge.
void PairMollifield::tally_virial(int i, int j, const double *d, const double *g, double weight)
{
  constexpr int FIRST[6] = {0, 1, 2, 0, 0, 1}, SECOND[6] = {0, 1, 2, 1, 2, 2};
  for (int k = 0; k < 6; k++) {
    const int a = FIRST[k], b = SECOND[k];
    const double w = -0.5 * weight * state->energy_unit * (d[a] * g[b] + d[b] * g[a]);
    if (vflag_global) virial[k] += w;
    if (vflag_atom)
      for (const int end : {i, j}) vatom[end][k] += 0.5 * w;
  }
}

namespace {

// Components of a tensor in the order of cvatom.
constexpr int FIRST[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2}, SECOND[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};

}  // namespace

// W_j = sum_m (r_m - r_j) (x) dE_m/dr_j, for which sum_j W_j v_j + sum_i E_i v_i is the time derivative of
// sum_i r_i E_i, the heat flux: Fan et al., Phys. Rev. B 92, 094301 (2015), eq. 20; for message passing, where E_m
// depends on atoms beyond its neighbours, Langer et al., Phys. Rev. B 108, L100302 (2023). An edge ij moves its
// centre's energy by way of j, whence the whole of -d (x) g for j, and other atoms' by its moments.
void PairMollifield::tally_centroid(int j, const double *d, const double *g, double weight)
{
  for (int k = 0; k < 9; k++) cvatom[j][k] -= weight * state->energy_unit * d[FIRST[k]] * g[SECOND[k]];
}

void PairMollifield::take_moments(const mollifield::Edges &edges, int member, const double *moments)
{
  const auto &s = *state;
  const double weight = weight_of(member) * s.energy_unit;
  for (std::size_t edge = 0; edge < edges.size(); edge++)
    for (int k = 0; k < 9; k++) {
      const double moment = weight * moments[3 * (FIRST[k] * edges.size() + edge) + SECOND[k]];
      cvatom[s.atoms[edges.centre[edge]]][k] -= moment;
      cvatom[s.atoms[edges.neighbour[edge]]][k] += moment;
    }
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
