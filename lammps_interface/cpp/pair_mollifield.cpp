#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "update.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <set>

using namespace LAMMPS_NS;

namespace {

// utils::inumeric() does not say which keyword it was that had no number.
int whole_number(Error *error, const char *key, const char *text)
{
  char *end = nullptr;
  errno = 0;
  const long found = strtol(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || found < INT_MIN || found > INT_MAX)
    error->all(FLERR, "Pair style mollifield: keyword '{}' needs a whole number, found '{}'", key, text);
  return static_cast<int>(found);
}

}    // namespace

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
  state->driver_member = -1;
  std::set<std::string> seen;
  for (int i = 0; i < narg; i += 2) {
    const std::string key = arg[i];
    if (key != "device" && key != "threads" && key != "driver")
      error->all(FLERR, "Pair style mollifield: unknown keyword '{}'; allowed: device, threads, driver", key);
    if (!seen.insert(key).second) error->all(FLERR, "Pair style mollifield: keyword '{}' is repeated", key);
    if (i + 1 >= narg) error->all(FLERR, "Pair style mollifield: keyword '{}' has no value", key);
    if (key == "driver") {
      parse_driver(i, narg, arg);
      if (state->driver_member >= 0) i++;
      continue;
    }
    if (key == "device")
      options.device = arg[i + 1];
    else
      options.threads = whole_number(error, "threads", arg[i + 1]);
    if (key == "threads" && options.threads < 1)
      error->all(FLERR, "Pair style mollifield: threads must be at least 1, found {}", arg[i + 1]);
  }
  const auto &device = options.device;
  if (device != "cpu" && device != "cuda" && device != "auto" && !utils::strmatch(device, "^cuda:\\d+$"))
    error->all(FLERR, "Pair style mollifield: unknown device '{}'; allowed: cpu, cuda, cuda:N, auto", device);
  state->options = options;
}

void PairMollifield::parse_driver(int i, int narg, char **arg)
{
  const std::string value = arg[i + 1];
  if (value != "mean" && value != "member")
    error->all(FLERR, "Pair style mollifield: unknown driver '{}'; allowed: mean, member k", value);
  state->driver_member = -1;
  if (value == "mean") return;
  if (i + 2 >= narg) error->all(FLERR, "Pair style mollifield: 'driver member' needs the number of a member, from 0");
  state->driver_member = whole_number(error, "driver member", arg[i + 2]);
  if (state->driver_member < 0)
    error->all(FLERR, "Pair style mollifield: members are numbered from 0, found driver member {}", arg[i + 2]);
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
  state->driver.reset();
  try {
    state->potential = std::make_unique<mollifield::Potential>(path, options);
    if (state->driver_member >= 0) state->driver = state->potential->member(state->driver_member);
  } catch (const std::exception &failure) {
    message = failure.what();
  }
  int failed = message.empty() ? 0 : 1, any_failed = 0;
  MPI_Allreduce(&failed, &any_failed, 1, MPI_INT, MPI_MAX, world);
  if (any_failed)
    error->all(FLERR, "Pair style mollifield: {}", failed ? message : "loading the model failed on another rank");

  const auto &potential = *state->potential;
  const std::string driver =
      state->driver ? fmt::format("driven by member {}", state->driver_member) : "driven by the mean";
  state->n_members = potential.n_members();
  state->energy_std_factor = potential.calibration_factor("energy_std_factor");
  if (comm->me == 0)
    utils::logmesg(lmp, "Mollifield model {}: {} member(s), species {}, r_max {} A, {} layer(s), {} on {}, {}\n", path,
                   potential.n_members(), utils::join_words(potential.species(), " "), potential.r_max(), potential.n_layers(),
                   potential.dtype(), potential.device(), driver);
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
