#include "element_masses.h"
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "group.h"
#include "memory.h"
#include "modify.h"
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

}  // namespace

PairMollifield::PairMollifield(LAMMPS *lmp) : Pair(lmp), state(std::make_unique<State>(this))
{
  single_enable = 0;
  one_coeff = 1;
  manybody_flag = 1;
  unit_convert_flag = utils::get_supported_conversions(utils::ENERGY);
  // Ghosts of a periodic image are folded into their owners, so the virial is not the sum of f.r over ghosts.
  no_virial_fdotr_compute = 1;
  // The force of an edge is not along the edge: its tensor has nine components.
  centroidstressflag = CENTROID_AVAIL;
  comm_forward = 2;
  comm_reverse = 3 * MEMBERS_PER_MESSAGE;
  nextra = static_cast<int>(state->work.size());
  pvector = state->work.data();
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
  state->options = {};
  state->driver_member = -1;
  state->ghosts_asked = State::Ghosts::EXCHANGE;
  state->edges_asked = State::EdgesAre::BY_DEVICE;
  state->chunk = State::DEFAULT_CHUNK;
  std::set<std::string> seen;
  for (int i = 0; i < narg; i += 2) {
    const std::string key = arg[i];
    if (key != "device" && key != "threads" && key != "driver" && key != "halo" && key != "chunk" && key != "edges")
      error->all(FLERR,
                 "Pair style mollifield: unknown keyword '{}'; allowed: device, threads, driver, halo, chunk, edges",
                 key);
    if (!seen.insert(key).second) error->all(FLERR, "Pair style mollifield: keyword '{}' is repeated", key);
    if (i + 1 >= narg) error->all(FLERR, "Pair style mollifield: keyword '{}' has no value", key);
    if (key != "driver") {
      parse_keyword(key, arg[i + 1]);
      continue;
    }
    parse_driver(i, narg, arg);
    if (state->driver_member >= 0) i++;
  }
  state->settings = utils::join_words(std::vector<std::string>(arg, arg + narg), " ");
  // A model was loaded with the settings before.
  state->resident.reset();
  state->potential.reset();
  state->driver.reset();
  state->coeff_given = false;
  if (allocated) allocate();
}

void PairMollifield::parse_keyword(const std::string &key, char *text)
{
  const std::string value = text;
  if (key == "threads") {
    state->options.threads = whole_number(error, "threads", text);
    if (state->options.threads < 1)
      error->all(FLERR, "Pair style mollifield: threads must be at least 1, found {}", value);
  } else if (key == "chunk") {
    state->chunk = whole_number(error, "chunk", text);
    if (state->chunk < 1) error->all(FLERR, "Pair style mollifield: chunk must be at least 1, found {}", value);
  } else if (key == "halo") {
    if (value != "exchange" && value != "ghost")
      error->all(FLERR, "Pair style mollifield: unknown halo '{}'; allowed: exchange, ghost", value);
    state->ghosts_asked = value == "exchange" ? State::Ghosts::EXCHANGE : State::Ghosts::COMPUTE;
  } else if (key == "edges") {
    if (value != "auto" && value != "host" && value != "device")
      error->all(FLERR, "Pair style mollifield: unknown edges '{}'; allowed: auto, host, device", value);
    state->edges_asked = value == "auto"   ? State::EdgesAre::BY_DEVICE
                         : value == "host" ? State::EdgesAre::ON_HOST
                                           : State::EdgesAre::ON_DEVICE;
  } else {
    if (value != "cpu" && value != "cuda" && value != "auto" && !utils::strmatch(value, "^cuda:\\d+$"))
      error->all(FLERR, "Pair style mollifield: unknown device '{}'; allowed: cpu, cuda, cuda:N, auto", value);
    state->options.device = value;
  }
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
  if (state->coeff_given)
    error->all(FLERR, "Pair style mollifield takes one pair_coeff, which names every atom type; found a second one");
  allocate();
  const std::string problem = load_model(arg[2]);
  if (!problem.empty()) error->all(FLERR, "Pair style mollifield: {}", problem);
  map_types({arg + 3, arg + narg});
  state->coeff_given = true;
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

// Loads the file of this name and returns what is wrong with it, on every rank alike whether there is something.
std::string PairMollifield::load_model(const std::string &name)
{
  state->resident.reset();
  state->potential.reset();
  state->driver.reset();
  const std::string path = utils::get_potential_file_path(name);
  if (path.empty()) return fmt::format("no model file '{}' here or in LAMMPS_POTENTIALS", name);
  std::string problem;
  mollifield::Options options = state->options;
  options.device = device_of_rank();
  try {
    state->potential = std::make_unique<mollifield::Potential>(path, options);
    if (state->driver_member >= 0) state->driver = state->potential->member(state->driver_member);
    problem = wrong_checksum(path);
  } catch (const std::exception &failure) {
    problem = failure.what();
  }
  int failed = problem.empty() ? 0 : 1, any_failed = 0;
  MPI_Allreduce(&failed, &any_failed, 1, MPI_INT, MPI_MAX, world);
  if (any_failed) {
    state->potential.reset();
    return failed ? problem : "loading the model failed on another rank";
  }
  state->model_name = name;
  state->told_of_stress = false;
  state->n_members = state->potential->n_members();
  report_model();
  return "";
}

void PairMollifield::report_model() const
{
  if (comm->me != 0) return;
  const auto &potential = *state->potential;
  const std::string driver =
      state->driver ? fmt::format("driven by member {}", state->driver_member) : "driven by the mean";
  utils::logmesg(
      lmp, "Mollifield model {}: {} member(s), species {}, r_max {} A, {} layer(s), {} on {}, {}, checksum {}\n",
      state->model_name, potential.n_members(), utils::join_words(potential.species(), " "), potential.r_max(),
      potential.n_layers(), potential.dtype(), potential.device(), driver, potential.checksum());
}

void PairMollifield::map_types(const std::vector<std::string> &symbols)
{
  const auto &species = state->potential->species();
  const int n = static_cast<int>(symbols.size());
  state->elements = utils::join_words(symbols, " ");
  state->type_symbols.assign(n + 1, "X");
  for (int type = 1; type <= n; type++) {
    const std::string &symbol = symbols[type - 1];
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
  if (!hybrid) warn_of_null_types();
}

void PairMollifield::warn_of_null_types() const
{
  std::vector<std::string> types;
  for (int i = 1; i <= atom->ntypes; i++)
    if (map[i] < 0) types.push_back(std::to_string(i));
  if (!types.empty() && comm->me == 0)
    error->warning(FLERR,
                   "Pair style mollifield: NULL in pair_coeff leaves atoms of type {} without any forces; "
                   "pair_style hybrid gives them another style",
                   utils::join_words(types, ", "));
}

// Elements in another order than atom types are the one mistake that nothing else tells. Isotopes and repartitioned
// masses are no reason to warn: only where another element of pair_coeff would fit the mass better.
void PairMollifield::warn_of_other_masses() const
{
  if (comm->me != 0 || atom->rmass || !atom->mass_setflag) return;
  for (int type = 1; type <= atom->ntypes; type++) {
    if (map[type] < 0 || !atom->mass_setflag[type]) continue;
    const std::string symbol = state->type_symbols[type];
    const double own = mollifield::mass_difference(atom->mass[type], symbol);
    for (int other = 1; other <= atom->ntypes; other++) {
      if (map[other] < 0 || 2.0 * mollifield::mass_difference(atom->mass[type], state->type_symbols[other]) >= own)
        continue;
      error->warning(FLERR,
                     "Pair style mollifield: atom type {} has the mass {:.6g} of {}, but is element {} in pair_coeff; "
                     "elements go in the order of atom types",
                     type, atom->mass[type], state->type_symbols[other], symbol);
      break;
    }
  }
}

void PairMollifield::init_style()
{
  if (!state->potential) error->all(FLERR, "Pair style mollifield: {}", state->restart_problem);
  choose_units();
  check_neighbours();
  warn_of_unseen_stress();
  warn_of_other_masses();
  choose_ghosts();
  const bool of_ghosts =
      state->ghosts == State::Ghosts::COMPUTE && comm->nprocs > 1 && state->potential->n_layers() > 1;
  neighbor->add_request(this, NeighConst::REQ_FULL | (of_ghosts ? NeighConst::REQ_GHOST : 0));
}

void PairMollifield::choose_units()
{
  auto &s = *state;
  s.energy_unit = s.length_unit = 1.0;
  const std::string units = update->unit_style;
  if (units == "real") {
    s.energy_unit = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  } else if (units == "electron") {
    // From LAMMPS's own constants, so that temperatures and densities agree with those of metal units.
    constexpr double METAL_BOLTZ = 8.617343e-5;
    s.energy_unit = force->boltz / METAL_BOLTZ;
    s.length_unit = force->angstrom;
  } else if (units != "metal") {
    error->all(FLERR, "Pair style mollifield needs units metal, real or electron, found units {}", units);
  }
  s.force_unit = s.energy_unit / s.length_unit;
}

void PairMollifield::check_neighbours() const
{
  if (!force->newton_pair)
    error->all(FLERR, "Pair style mollifield needs newton pair on (forces on ghost atoms go back to their owners)");
  if (!atom->tag_enable) error->all(FLERR, "Pair style mollifield needs atom IDs");
  if (atom->molecular != Atom::ATOMIC)
    for (int i = 1; i < 4; i++)
      if (force->special_lj[i] == 0.0 && force->special_coul[i] == 0.0)
        error->all(FLERR, "Pair style mollifield needs all neighbors, bonded ones too: special_bonds lj/coul 1 1 1");
  warn_of_exclusions();
}

// From the lists that neigh_modify fills: neighbor->exclude is of the run before until LAMMPS has set up this one.
void PairMollifield::warn_of_exclusions() const
{
  const auto &n = *neighbor;
  bool removes = false;
  for (int k = 0; k < n.nex_type; k++) removes = removes || (map[n.ex1_type[k]] >= 0 && map[n.ex2_type[k]] >= 0);
  const auto has_any = [this](int number) { return count_modelled(group->bitmask[number]) > 0; };
  for (int k = 0; k < n.nex_group; k++) removes = removes || (has_any(n.ex1_group[k]) && has_any(n.ex2_group[k]));
  for (int k = 0; k < n.nex_mol; k++) removes = removes || has_any(n.ex_mol_group[k]);
  if (removes && comm->me == 0)
    error->warning(FLERR, "Pair style mollifield: neigh_modify exclude removes edges that the model was trained with");
}

// Atoms of a group, on all ranks, that the model describes.
bigint PairMollifield::count_modelled(int groupbit) const
{
  bigint mine = 0, all = 0;
  for (int i = 0; i < atom->nlocal; i++) mine += (atom->mask[i] & groupbit) && map[atom->type[i]] >= 0;
  MPI_Allreduce(&mine, &all, 1, MPI_LMP_BIGINT, MPI_SUM, world);
  return all;
}

// A file that does not say what it was trained on may have seen stresses.
void PairMollifield::warn_of_unseen_stress()
{
  auto &s = *state;
  const auto &labels = s.potential->labels();
  if (s.told_of_stress || labels.empty() || std::find(labels.begin(), labels.end(), "stress") != labels.end()) return;
  for (const Fix *fix : modify->get_fix_list()) {
    // `deform` changes the box as the input says, `balance` its sub-domains.
    if (!(fix->box_change & ~Fix::BOX_CHANGE_DOMAIN) || strcmp(fix->style, "deform") == 0) continue;
    s.told_of_stress = true;
    if (comm->me == 0)
      error->warning(FLERR,
                     "Pair style mollifield: fix {} ({}) moves the box by the virial, but model {} was trained on "
                     "{}, never on stress: compare its pressures with the reference method's first",
                     fix->id, fix->style, s.model_name, utils::join_words(labels, " and "));
    return;
  }
}

// Alone, a rank maps ghosts to their owners, and nothing is chosen.
void PairMollifield::choose_ghosts()
{
  auto &s = *state;
  s.knows_list = false;
  s.ghosts = s.ghosts_asked;
  if (comm->nprocs == 1) return;
  if (s.ghosts == State::Ghosts::EXCHANGE && !s.potential->has_stages()) {
    s.ghosts = State::Ghosts::COMPUTE;
    if (comm->me == 0)
      error->warning(FLERR, "Pair style mollifield: the model was exported without its stages, hence halo ghost");
  }
  if (s.ghosts == State::Ghosts::EXCHANGE) return;
  if (comm->mode != Comm::SINGLE)
    error->all(FLERR, "Pair style mollifield with halo ghost needs comm_modify mode single");
  const double reach = s.potential->n_layers() * s.potential->r_max() * s.length_unit + neighbor->skin;
  comm->cutghostuser = std::max(comm->cutghostuser, reach);
}

double PairMollifield::init_one(int i, int j)
{
  if (setflag[i][j] == 0 && map[i] >= 0 && map[j] >= 0) error->all(FLERR, "Pair style mollifield: pair_coeff not set");
  return state->potential->r_max() * state->length_unit;
}

double PairMollifield::memory_usage()
{
  const auto &s = *state;
  const auto &e = s.evaluation;
  const std::size_t doubles = s.member_forces.capacity() + s.outputs.n_doubles() + s.edges.vectors.capacity() +
                              s.graph.edge_index.capacity() + e.latent.doubles.capacity() +
                              e.noise_features.doubles.capacity();
  const std::size_t ints = s.owner.capacity() + s.node.capacity() + s.atoms.capacity() + s.edges.centre.capacity() +
                           s.edges.neighbour.capacity() + e.latent.singles.capacity() +
                           e.noise_features.singles.capacity() + 2 * s.home.capacity();
  return Pair::memory_usage() + static_cast<double>(doubles * sizeof(double) + ints * sizeof(int));
}
