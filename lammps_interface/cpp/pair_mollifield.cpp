#include "pair_mollifield.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "potential.hpp"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>

using namespace LAMMPS_NS;

namespace {

constexpr double MIN_DISTANCE = 1e-3;    // Å, contract.MIN_DISTANCE

// LAMMPS sizes its buffers from comm_reverse before the committee is known, so members travel in chunks.
constexpr int MEMBERS_PER_MESSAGE = 4;

}    // namespace

struct PairMollifield::State {
  mollifield::Options options;
  std::unique_ptr<mollifield::Potential> potential;
  std::vector<const char *> type_symbols;    // [ntypes + 1]
  double energy_unit = 1.0, energy_std_factor = 1.0;
  int n_members = 0, force_std_flag = 0;

  mollifield::Graph graph;
  mollifield::Evaluation evaluation;
  std::vector<int> owner;    // [nlocal + nghost] atom that stands for it in the graph
  std::vector<int> node;     // [nlocal + nghost] its node of the graph, -1: none
  std::vector<int> atoms;    // [N] the atom of a node
  std::vector<int> edge_centre, edge_neighbour;    // [E] nodes

  std::vector<double> member_forces;    // [nlocal + nghost, M, 3]
  std::vector<double> force_std, force_mean, member_energies;
  int first_member = 0;    // of the chunk being communicated
};

PairMollifield::PairMollifield(LAMMPS *lmp) : Pair(lmp), state(std::make_unique<State>())
{
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  unit_convert_flag = utils::get_supported_conversions(utils::ENERGY);
  // Ghosts of a periodic image are folded into their owners, so the virial is not the sum of f.r over ghosts.
  no_virial_fdotr_compute = 1;
  // The force of an edge is not along the edge: its tensor has nine components.
  centroidstressflag = CENTROID_AVAIL;
  comm_forward = 1;
  comm_reverse = 3 * MEMBERS_PER_MESSAGE;
}

PairMollifield::~PairMollifield()
{
  if (copymode) return;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairMollifield::settings(int narg, char **arg)
{
  mollifield::Options options;
  for (int i = 0; i < narg; i += 2) {
    const std::string key = arg[i];
    if (key != "device" && key != "threads")
      error->all(FLERR, "Pair style mollifield: unknown keyword '{}'; allowed: device, threads", key);
    if (i + 1 >= narg) error->all(FLERR, "Pair style mollifield: keyword '{}' has no value", key);
    if (key == "device")
      options.device = arg[i + 1];
    else
      options.threads = utils::inumeric(FLERR, arg[i + 1], false, lmp);
    if (key == "threads" && options.threads < 1)
      error->all(FLERR, "Pair style mollifield: threads must be at least 1, found {}", arg[i + 1]);
  }
  const auto &device = options.device;
  if (device != "cpu" && device != "cuda" && device != "auto" && !utils::strmatch(device, "^cuda:\\d+$"))
    error->all(FLERR, "Pair style mollifield: unknown device '{}'; allowed: cpu, cuda, cuda:N, auto", device);
  state->options = options;
}

void PairMollifield::allocate()
{
  const int n = atom->ntypes + 1;
  if (!allocated) {
    memory->create(setflag, n, n, "pair:setflag");
    memory->create(cutsq, n, n, "pair:cutsq");
    map = new int[n];
  }
  allocated = 1;
  for (int i = 1; i < n; i++) {
    map[i] = -1;
    for (int j = 1; j < n; j++) setflag[i][j] = 0;
  }
}

void PairMollifield::coeff(int narg, char **arg)
{
  if (narg < 3 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR, "Pair style mollifield needs: pair_coeff * * model.pt, then one element or NULL per atom type");
  if (narg != 3 + atom->ntypes)
    error->all(FLERR, "Pair style mollifield: {} elements in pair_coeff, but {} atom types; one element or NULL each",
               narg - 3, atom->ntypes);
  allocate();
  const std::string path = utils::get_potential_file_path(arg[2]);
  if (path.empty())
    error->all(FLERR, "Pair style mollifield: no model file '{}' here or in LAMMPS_POTENTIALS", arg[2]);
  load_model(path);
  map_types(narg - 3, arg + 3);
}

// Ranks of one node take its devices in turn.
std::string PairMollifield::device_of_rank() const
{
  const auto &device = state->options.device;
  const int n_devices = mollifield::Potential::n_cuda_devices();
  if ((device != "cuda" && device != "auto") || n_devices == 0) return device;
  MPI_Comm node;
  int rank;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &rank);
  MPI_Comm_free(&node);
  return "cuda:" + std::to_string(rank % n_devices);
}

void PairMollifield::load_model(const std::string &path)
{
  std::string message;
  mollifield::Options options = state->options;
  options.device = device_of_rank();
  try {
    state->potential = std::make_unique<mollifield::Potential>(path, options);
  } catch (const std::exception &failure) {
    message = failure.what();
  }
  int failed = message.empty() ? 0 : 1, any_failed = 0;
  MPI_Allreduce(&failed, &any_failed, 1, MPI_INT, MPI_MAX, world);
  if (any_failed)
    error->all(FLERR, "Pair style mollifield: {}", failed ? message : "loading the model failed on another rank");

  const auto &potential = *state->potential;
  state->n_members = potential.n_members();
  state->energy_std_factor = potential.calibration_factor("energy_std_factor");
  if (comm->me == 0)
    utils::logmesg(lmp, "Mollifield model {}: {} member(s), species {}, r_max {} A, {} layer(s), {} on {}\n", path,
                   potential.n_members(), utils::join_words(potential.species(), " "), potential.r_max(), potential.n_layers(),
                   potential.dtype(), potential.device());
}

void PairMollifield::map_types(int n, char **symbols)
{
  const auto &species = state->potential->species();
  state->type_symbols.assign(n + 1, "X");
  for (int type = 1; type <= n; type++) {
    const std::string symbol = symbols[type - 1];
    if (symbol == "NULL") continue;
    const auto found = std::find(species.begin(), species.end(), symbol);
    if (found == species.end())
      error->all(FLERR, "Pair style mollifield: the model does not know element '{}'; it knows: {}", symbol,
                 utils::join_words(species, " "));
    map[type] = static_cast<int>(found - species.begin());
    state->type_symbols[type] = found->c_str();
  }
  // Under a hybrid style another one has to claim the NULL types; alone, this one leaves their atoms without forces.
  const bool hybrid = utils::strmatch(force->pair_style, "^hybrid");
  bool any = false;
  for (int i = 1; i <= n; i++) {
    any = any || map[i] >= 0;
    for (int j = i; j <= n; j++) setflag[i][j] = !hybrid || (map[i] >= 0 && map[j] >= 0);
  }
  if (!any) error->all(FLERR, "Pair style mollifield: every atom type is NULL in pair_coeff");
}

void PairMollifield::init_style()
{
  if (strcmp(update->unit_style, "metal") == 0)
    state->energy_unit = 1.0;
  else if (strcmp(update->unit_style, "real") == 0)
    state->energy_unit = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  else
    error->all(FLERR, "Pair style mollifield needs units metal or real, found units {}", update->unit_style);
  if (!force->newton_pair)
    error->all(FLERR, "Pair style mollifield needs newton pair on (forces on ghost atoms go back to their owners)");
  if (!atom->tag_enable) error->all(FLERR, "Pair style mollifield needs atom IDs");
  if (atom->molecular != Atom::ATOMIC)
    for (int i = 1; i < 4; i++)
      if (force->special_lj[i] == 0.0 && force->special_coul[i] == 0.0)
        error->all(FLERR, "Pair style mollifield needs all neighbors, bonded ones too: special_bonds lj/coul 1 1 1");
  if (neighbor->exclude && comm->me == 0)
    error->warning(FLERR, "Pair style mollifield: neigh_modify exclude removes edges that the model was trained with");

  // Alone, a rank maps ghosts to their owners. Otherwise it computes the features of its ghosts itself.
  const int n_layers = state->potential->n_layers();
  const bool needs_ghosts = comm->nprocs > 1;
  if (needs_ghosts) {
    const double reach = n_layers * state->potential->r_max() + neighbor->skin;
    if (comm->mode != Comm::SINGLE) error->all(FLERR, "Pair style mollifield on several ranks needs comm_modify mode single");
    comm->cutghostuser = std::max(comm->cutghostuser, reach);
  }
  const int flags = NeighConst::REQ_FULL | (needs_ghosts && n_layers > 1 ? NeighConst::REQ_GHOST : 0);
  neighbor->add_request(this, flags);
}

double PairMollifield::init_one(int i, int j)
{
  if (setflag[i][j] == 0 && map[i] >= 0 && map[j] >= 0) error->all(FLERR, "Pair style mollifield: pair_coeff not set");
  return state->potential->r_max();
}

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
  try {
    s.evaluation = s.potential->evaluate(s.graph, members);
  } catch (const std::exception &failure) {
    error->one(FLERR, "Pair style mollifield: {}", failure.what());
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto &e = s.evaluation;
  if (!std::all_of(e.member_energies.begin(), e.member_energies.end(), finite) ||
      !std::all_of(e.edge_gradients.begin(), e.edge_gradients.end(), finite))
    error->one(FLERR, "Pair style mollifield: energy or forces are not finite at step {}", update->ntimestep);
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

void PairMollifield::sum_member_forces()
{
  auto &s = *state;
  const std::size_t n_edges = s.edge_centre.size();
  s.member_forces.assign(3 * s.n_members * s.owner.size(), 0.0);
  for (int m = 0; m < s.n_members; m++)
    for (std::size_t edge = 0; edge < n_edges; edge++) {
      const double *const g = &s.evaluation.member_edge_gradients[3 * (m * n_edges + edge)];
      double *const fi = &s.member_forces[3 * (s.atoms[s.edge_centre[edge]] * s.n_members + m)];
      double *const fj = &s.member_forces[3 * (s.atoms[s.edge_neighbour[edge]] * s.n_members + m)];
      for (int a = 0; a < 3; a++) {
        fi[a] += s.energy_unit * g[a];
        fj[a] -= s.energy_unit * g[a];
      }
    }
  if (comm->nprocs == 1) return;
  for (s.first_member = 0; s.first_member < s.n_members; s.first_member += MEMBERS_PER_MESSAGE) comm->reverse_comm(this);
}

void PairMollifield::reduce_members()
{
  auto &s = *state;
  const int n_local = atom->nlocal, n_members = s.n_members;
  const double factor = s.potential->calibration_factor("force_std_factor");
  s.force_std.assign(n_local, 0.0);
  s.force_mean.assign(3 * n_local, 0.0);
  s.member_energies = s.evaluation.member_energies;
  for (double &energy : s.member_energies) energy *= s.energy_unit;
  for (int i = 0; i < n_local; i++) {
    const double *const forces = &s.member_forces[3 * i * n_members];
    double squares = 0.0;
    for (int a = 0; a < 3; a++) {
      double mean = 0.0;
      for (int m = 0; m < n_members; m++) mean += forces[3 * m + a] / n_members;
      for (int m = 0; m < n_members; m++) squares += (forces[3 * m + a] - mean) * (forces[3 * m + a] - mean);
      s.force_mean[3 * i + a] = mean;
    }
    if (n_members > 1) s.force_std[i] = factor * std::sqrt(squares / (n_members - 1));
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

void *PairMollifield::extract(const char *name, int &dim)
{
  auto &s = *state;
  dim = 0;
  const std::string key = name;
  if (key == "n_members") return &s.n_members;
  if (key == "force_std_flag") return &s.force_std_flag;
  if (key == "energy_unit") return &s.energy_unit;
  if (key == "energy_std_factor") return &s.energy_std_factor;
  dim = 1;
  if (key == "type_symbols") return s.type_symbols.data();
  if (key == "force_std") return s.force_std.data();
  if (key == "force_mean") return s.force_mean.data();
  if (key == "member_energies") return s.member_energies.data();
  return nullptr;
}

void *PairMollifield::extract_peratom(const char *name, int &n_columns)
{
  n_columns = 0;
  return strcmp(name, "force_std") == 0 ? state->force_std.data() : nullptr;
}

double PairMollifield::memory_usage()
{
  const auto &s = *state;
  const std::size_t doubles = s.member_forces.capacity() + s.force_std.capacity() + s.force_mean.capacity() +
      s.graph.edge_vectors.capacity() + s.graph.edge_index.capacity();
  const std::size_t ints = s.owner.capacity() + s.node.capacity() + s.atoms.capacity() + 2 * s.edge_centre.capacity();
  return Pair::memory_usage() + static_cast<double>(doubles * sizeof(double) + ints * sizeof(int));
}
