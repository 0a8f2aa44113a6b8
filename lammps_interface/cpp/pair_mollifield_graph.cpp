// From LAMMPS's neighbour list to the graph that a model is evaluated on, at once or as a stream of edges.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "contract.hpp"
#include "neigh_list.h"
#include "neighbor.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

using namespace LAMMPS_NS;

using mollifield::contract::MIN_DISTANCE;

// What holds until atoms or ghosts change hands, on all ranks at the same step.
void PairMollifield::learn_list()
{
  auto &s = *state;
  s.knows_list = true;
  s.list_step = neighbor->lastcall;
  const bool exchanges = comm->nprocs > 1 && s.ghosts == State::Ghosts::EXCHANGE;
  s.home.resize(atom->nlocal + atom->nghost);
  for (int i = 0; i < static_cast<int>(s.home.size()); i++) s.home[i] = {comm->me, i};
  if (exchanges || comm->nprocs == 1) comm->forward_comm(this);
  std::int64_t n_entries = 0;
  for (int k = 0; k < list->inum + list->gnum; k++) n_entries += list->numneigh[list->ilist[k]];
  s.streams = n_entries > s.chunk && s.potential->has_stages();
  if (!exchanges) {
    s.halo.reset();
    return;
  }
  if (!s.halo) s.halo = std::make_unique<HaloExchange>(world);
  std::set<int> owners;
  for (int i = atom->nlocal; i < static_cast<int>(s.home.size()); i++)
    if (s.home[i].rank != comm->me) owners.insert(s.home[i].rank);
  s.halo->meet({owners.begin(), owners.end()});
  s.streams = s.halo->any(s.streams);
}

void PairMollifield::find_owners()
{
  auto &s = *state;
  s.owner.resize(s.home.size());
  for (int i = 0; i < static_cast<int>(s.owner.size()); i++)
    s.owner[i] = s.home[i].rank == comm->me ? s.home[i].index : i;
}

// In the order of the neighbour list; where their edges come as a stream, slab by slab along their longest extent, so
// that edges of few chunks at a time cross the front.
std::vector<int> PairMollifield::modelled_atoms() const
{
  const auto &s = *state;
  std::vector<int> atoms;
  for (int k = 0; k < list->inum; k++)
    if (map[atom->type[list->ilist[k]]] >= 0) atoms.push_back(list->ilist[k]);
  if (!s.streams || atoms.empty()) return atoms;
  const double *const *const x = atom->x;
  int longest = 0;
  double lowest = 0.0, extent = -1.0;
  for (int a = 0; a < 3; a++) {
    const auto [low, high] =
        std::minmax_element(atoms.begin(), atoms.end(), [x, a](int i, int j) { return x[i][a] < x[j][a]; });
    if (x[*high][a] - x[*low][a] <= extent) continue;
    longest = a;
    lowest = x[*low][a];
    extent = x[*high][a] - lowest;
  }
  const double thickness = 0.5 * s.potential->r_max() * s.length_unit;
  const auto slab = [&](int i) { return static_cast<bigint>((x[i][longest] - lowest) / thickness); };
  std::stable_sort(atoms.begin(), atoms.end(), [&slab](int i, int j) { return slab(i) < slab(j); });
  return atoms;
}

// A graph of the local atoms, without edges.
void PairMollifield::begin_graph()
{
  auto &s = *state;
  s.node.assign(s.owner.size(), -1);
  s.graph = {};
  s.edges = {};
  s.n_edges = 0;
  s.first_image.clear();
  s.atoms = modelled_atoms();
  for (std::size_t node = 0; node < s.atoms.size(); node++) s.node[s.atoms[node]] = static_cast<int>(node);
  s.graph.n_local = static_cast<std::int64_t>(s.atoms.size());
}

// Nodes: the local atoms, then ghosts. With Ghosts::EXCHANGE the neighbours of local atoms; with Ghosts::COMPUTE shell
// by shell those that their features depend on: an atom `hops` edges away from the nearest local atom is a centre only
// where hops < n_layers, because edges of farther ones change no local energy.
void PairMollifield::build_graph()
{
  auto &s = *state;
  begin_graph();
  const int n_shells = s.ghosts == State::Ghosts::COMPUTE ? s.potential->n_layers() : 1;
  std::size_t begin = 0;
  for (int hops = 0; hops < n_shells; hops++) {
    const std::size_t end = s.atoms.size();
    for (std::size_t centre = begin; centre < end; centre++) {
      const std::size_t n_before = s.edges.size();
      add_edges(s.atoms[centre], static_cast<int>(centre), s.edges);
      s.n_edges += static_cast<std::int64_t>(s.edges.size() - n_before);
      if (s.streams) s.edges = {};
    }
    begin = end;
  }
  s.n_centres = static_cast<int>(begin);
}

void PairMollifield::add_edges(int i, int centre, mollifield::Edges &edges)
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
    edges.centre.push_back(centre);
    edges.neighbour.push_back(node_of(j));
    edges.vectors.insert(edges.vectors.end(), d, d + 3);
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

// Puts ghosts in the order of the ranks that own them, and tells these.
void PairMollifield::connect_ghosts()
{
  auto &s = *state;
  const auto n_local = static_cast<std::size_t>(s.graph.n_local);
  if (s.halo) {
    std::vector<HaloExchange::Home> ghosts;
    std::vector<int> number(s.atoms.size());
    std::iota(number.begin(), number.end(), 0);
    s.atoms.resize(n_local);
    for (const auto &[home, ghost] : s.first_image) {
      number[s.node[ghost]] = static_cast<int>(s.atoms.size());
      s.node[ghost] = static_cast<int>(s.atoms.size());
      s.atoms.push_back(ghost);
      ghosts.push_back(home);
    }
    for (int &neighbour : s.edges.neighbour) neighbour = number[neighbour];
    s.halo->ask(ghosts, [&s](int i) { return s.node[i]; });
  }
  for (const int i : s.atoms) s.graph.types.push_back(map[atom->type[i]]);
}

std::int64_t PairMollifield::Stream::n_edges() const { return pair->state->n_edges; }

std::int64_t PairMollifield::Stream::chunk() const { return pair->state->chunk; }

mollifield::Edges PairMollifield::Stream::make(const std::vector<int> &centres)
{
  mollifield::Edges edges;
  for (const int centre : centres)
    if (centre < pair->state->n_centres) pair->add_edges(pair->state->atoms[centre], centre, edges);
  return edges;
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
