// One force computation of pair style mollifield: graph, evaluation, tallies, communication.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "contract.hpp"
#include "error.h"
#include "neigh_list.h"
#include "update.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <numeric>
#include <thread>

using namespace LAMMPS_NS;

using mollifield::contract::MIN_DISTANCE;

void PairMollifield::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  const bool members = state->force_std_flag != 0;
  state->transferred = mollifield::ResidentGraph::transfers();
  if (edges_are_resident()) {
    compute_resident(members);
    tally_energies();
    tally_resident();
  } else {
    state->resident.reset();
    find_owners();
    build_graph();
    connect_ghosts();
    evaluate(members);
    count_work(state->edge_centre.size());
    tally_energies();
    tally_forces();
  }
  if (members) {
    sum_member_forces();
    reduce_members();
  }
}

void PairMollifield::find_owners()
{
  auto &s = *state;
  const int n_all = atom->nlocal + atom->nghost;
  s.owner.resize(n_all);
  s.home.resize(n_all);
  for (int i = 0; i < n_all; i++) {
    s.owner[i] = i;
    s.home[i] = {comm->me, i};
  }
  if (comm->nprocs > 1 && s.ghosts == State::Ghosts::COMPUTE) return;
  comm->forward_comm(this);
  for (int i = atom->nlocal; i < n_all; i++)
    if (s.home[i].rank == comm->me) s.owner[i] = s.home[i].index;
}

// Nodes: the local atoms, then ghosts. With Ghosts::EXCHANGE the neighbours of local atoms; with Ghosts::COMPUTE shell
// by shell those that their features depend on: an atom `hops` edges away from the nearest local atom is a centre only
// where hops < n_layers, because edges of farther ones change no local energy.
void PairMollifield::build_graph()
{
  auto &s = *state;
  s.node.assign(s.owner.size(), -1);
  s.atoms.clear();
  s.graph = {};
  s.edge_centre.clear();
  s.edge_neighbour.clear();
  s.first_image.clear();
  for (int k = 0; k < list->inum; k++) {
    const int i = list->ilist[k];
    if (map[atom->type[i]] < 0) continue;
    s.node[i] = static_cast<int>(s.atoms.size());
    s.atoms.push_back(i);
  }
  s.graph.n_local = static_cast<std::int64_t>(s.atoms.size());

  const int n_shells = s.ghosts == State::Ghosts::COMPUTE ? s.potential->n_layers() : 1;
  std::size_t begin = 0;
  for (int hops = 0; hops < n_shells; hops++) {
    const std::size_t end = s.atoms.size();
    for (std::size_t centre = begin; centre < end; centre++) add_edges(s.atoms[centre], centre);
    begin = end;
  }
}

void PairMollifield::add_edges(int i, std::size_t centre)
{
  auto &s = *state;
  const double r_max = s.potential->r_max(), unit = s.length_unit;
  const double *const *const x = atom->x;
  for (int k = 0; k < list->numneigh[i]; k++) {
    const int j = list->firstneigh[i][k] & NEIGHMASK;
    if (map[atom->type[j]] < 0) continue;
    const double d[3] = {(x[j][0] - x[i][0]) / unit, (x[j][1] - x[i][1]) / unit, (x[j][2] - x[i][2]) / unit};
    const double square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    // The list has a skin.
    if (square > r_max * r_max) continue;
    if (square < MIN_DISTANCE * MIN_DISTANCE)
      fail_on_this_rank(fmt::format("atoms {} and {} are {} A apart, less than {} A", atom->tag[i], atom->tag[j],
                                    std::sqrt(square), MIN_DISTANCE));
    s.edge_centre.push_back(static_cast<int>(centre));
    s.edge_neighbour.push_back(node_of(j));
    s.graph.edge_vectors.insert(s.graph.edge_vectors.end(), d, d + 3);
  }
}

// All images of an atom are one node: its local atom here, or the first of its ghosts that is met.
int PairMollifield::node_of(int j)
{
  auto &s = *state;
  int &owner = s.owner[j];
  if (s.node[owner] < 0 && s.home[j].rank != comm->me) owner = s.first_image.try_emplace(s.home[j], j).first->second;
  if (s.node[owner] < 0) {
    s.node[owner] = static_cast<int>(s.atoms.size());
    s.atoms.push_back(owner);
  }
  return s.node[owner];
}

// Puts ghosts in the order of the ranks that own them, and tells these. The new numbers of nodes.
std::vector<int> PairMollifield::order_ghosts()
{
  auto &s = *state;
  s.halo.reset();
  std::vector<int> number(s.atoms.size());
  std::iota(number.begin(), number.end(), 0);
  if (comm->nprocs == 1 || s.ghosts == State::Ghosts::COMPUTE) return number;
  std::vector<HaloExchange::Home> ghosts;
  s.atoms.resize(s.graph.n_local);
  for (const auto &[home, ghost] : s.first_image) {
    number[s.node[ghost]] = static_cast<int>(s.atoms.size());
    s.atoms.push_back(ghost);
    ghosts.push_back(home);
  }
  if (!s.halo_world) s.halo_world = std::make_unique<HaloExchange::World>(world);
  s.halo = std::make_unique<HaloExchange>(*s.halo_world);
  s.halo->connect(ghosts, [&s](int i) { return s.node[i]; });
  return number;
}

void PairMollifield::connect_ghosts()
{
  auto &s = *state;
  const auto number = order_ghosts();
  for (int &neighbour : s.edge_neighbour) neighbour = number[neighbour];
  for (const int i : s.atoms) s.graph.types.push_back(map[atom->type[i]]);
  s.graph.edge_index.assign(s.edge_centre.begin(), s.edge_centre.end());
  s.graph.edge_index.insert(s.graph.edge_index.end(), s.edge_neighbour.begin(), s.edge_neighbour.end());
}

void PairMollifield::count_work(std::size_t n_edges)
{
  auto &s = *state;
  const auto n_local = static_cast<double>(s.graph.n_local), n_atoms = static_cast<double>(s.atoms.size());
  const auto since = [](std::int64_t now, std::int64_t before) { return static_cast<double>(now - before); };
  const auto &before = s.transferred;
  const auto now = mollifield::ResidentGraph::transfers();
  s.work = {static_cast<double>(n_edges),
            s.halo ? n_local : n_atoms,
            s.halo ? n_atoms - n_local : 0.0,
            since(now.uploads, before.uploads),
            since(now.uploaded_bytes, before.uploaded_bytes),
            since(now.downloads, before.downloads),
            since(now.downloaded_bytes, before.downloaded_bytes)};
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
  const auto says = [&](const mollifield::Potential &model, const mollifield::Request &request) {
    return s.resident ? model.evaluate(*s.resident, atom->x[0], s.length_unit, request)
                      : model.evaluate(s.graph, request);
  };
  try {
    const mollifield::Request driving = {.moments = cvflag_atom != 0, .halo = s.halo.get()};
    if (s.driver && !members) {
      s.evaluation = says(*s.driver, driving);
    } else {
      s.evaluation =
          says(*s.potential, {.members = members, .moments = driving.moments && !s.driver, .halo = driving.halo});
      if (s.driver) follow_driver();
      if (s.driver && driving.moments) s.evaluation.edge_moments = says(*s.driver, driving).edge_moments;
    }
  } catch (const std::exception &failure) {
    fail_on_this_rank(failure.what());
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto &e = s.evaluation;
  for (const auto *values : {&e.member_energies, &e.edge_gradients, &e.forces})
    if (!std::all_of(values->begin(), values->end(), finite))
      fail_on_this_rank(fmt::format("energy or forces are not finite at step {}", update->ntimestep));
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
  part(e.member_forces, e.forces);
  part(e.member_virials, e.virial);
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
    for (int a = 0; a < 3; a++) {
      const double g = s.force_unit * s.evaluation.edge_gradients[3 * edge + a];
      f[i][a] += g;
      f[j][a] -= g;
    }
    if (vflag_global || vflag_atom) tally_virial(edge);
    if (cvflag_atom) tally_centroid(edge);
  }
}

// The symmetric part of -d (x) g, which is all of it once summed over atoms; of atoms, half for each end of the edge.
void PairMollifield::tally_virial(std::size_t edge)
{
  const auto &s = *state;
  const double *const d = &s.graph.edge_vectors[3 * edge], *const g = &s.evaluation.edge_gradients[3 * edge];
  const int ends[2] = {s.atoms[s.edge_centre[edge]], s.atoms[s.edge_neighbour[edge]]};
  constexpr int FIRST[6] = {0, 1, 2, 0, 0, 1}, SECOND[6] = {0, 1, 2, 1, 2, 2};
  for (int k = 0; k < 6; k++) {
    const int a = FIRST[k], b = SECOND[k];
    const double w = -0.5 * s.energy_unit * (d[a] * g[b] + d[b] * g[a]);
    if (vflag_global) virial[k] += w;
    if (vflag_atom)
      for (const int i : ends) vatom[i][k] += 0.5 * w;
  }
}

// W_j = sum_m (r_m - r_j) (x) dE_m/dr_j, for which sum_j W_j v_j + sum_i E_i v_i is the time derivative of
// sum_i r_i E_i, the heat flux: Fan et al., Phys. Rev. B 92, 094301 (2015), eq. 20; for message passing, where E_m
// depends on atoms beyond its neighbours, Langer et al., Phys. Rev. B 108, L100302 (2023). An edge ij moves its
// centre's energy by way of j, whence the whole of -d (x) g for j, and other atoms' by its moments.
void PairMollifield::tally_centroid(std::size_t edge)
{
  const auto &s = *state;
  const auto &moments = s.evaluation.edge_moments;
  const double *const d = &s.graph.edge_vectors[3 * edge], *const g = &s.evaluation.edge_gradients[3 * edge];
  const int i = s.atoms[s.edge_centre[edge]], j = s.atoms[s.edge_neighbour[edge]];
  constexpr int FIRST[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2}, SECOND[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
  for (int k = 0; k < 9; k++) {
    const int a = FIRST[k], b = SECOND[k];
    const double moment = moments.empty() ? 0.0 : s.energy_unit * moments[3 * (a * s.edge_centre.size() + edge) + b];
    cvatom[i][k] -= moment;
    cvatom[j][k] += moment - s.energy_unit * d[a] * g[b];
  }
}

int PairMollifield::pack_forward_comm(int n, int *atoms, double *buffer, int /*pbc_flag*/, int * /*pbc*/)
{
  for (int k = 0; k < n; k++) {
    buffer[2 * k] = state->home[atoms[k]].rank;
    buffer[2 * k + 1] = state->home[atoms[k]].index;
  }
  return 2 * n;
}

void PairMollifield::unpack_forward_comm(int n, int first, double *buffer)
{
  for (int k = 0; k < n; k++)
    state->home[first + k] = {static_cast<int>(buffer[2 * k]), static_cast<int>(buffer[2 * k + 1])};
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
