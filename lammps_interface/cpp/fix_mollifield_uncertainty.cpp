#include "fix_mollifield_uncertainty.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "group.h"
#include "memory.h"
#include "pair.h"
#include "timer.h"
#include "update.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

using namespace LAMMPS_NS;
using namespace FixConst;

namespace {

// What travels to rank 0 for each atom: tag, type, position, mean force, force std.
constexpr int VALUES_PER_ATOM = 9;

}    // namespace

FixMollifieldUncertainty::FixMollifieldUncertainty(LAMMPS *lmp, int narg, char **arg) : Fix(lmp, narg, arg)
{
  scalar_flag = vector_flag = peratom_flag = 1;
  size_vector = 4;
  extscalar = extvector = 0;
  size_peratom_cols = 0;
  dynamic_group_allow = 1;
  parse(narg, arg);
  // Between its steps the fix keeps the global values of the last one; atoms migrate, so theirs expire.
  global_freq = 1;
  peratom_freq = nevery;

  int code = 0;
  if (!settings.file.empty() && comm->me == 0) {
    errno = 0;
    fp = fopen(settings.file.c_str(), settings.append ? "a" : "w");
    code = fp ? 0 : errno;
  }
  MPI_Bcast(&code, 1, MPI_INT, 0, world);
  if (code)
    error->all(FLERR, "Fix mollifield/uncertainty: file '{}' cannot be written: {}", settings.file, strerror(code));
}

FixMollifieldUncertainty::~FixMollifieldUncertainty()
{
  if (fp) fclose(fp);
  memory->destroy(vector_atom);
}

void FixMollifieldUncertainty::parse(int narg, char **arg)
{
  if (narg < 4) utils::missing_cmd_args(FLERR, "fix mollifield/uncertainty", error);
  nevery = utils::inumeric(FLERR, arg[3], false, lmp);
  if (nevery < 1) error->all(FLERR, "Fix mollifield/uncertainty: N must be at least 1, found {}", arg[3]);
  std::set<std::string> seen;
  for (int i = 4; i < narg; i += 2) {
    const std::string key = arg[i];
    if (key != "file" && key != "select" && key != "stop" && key != "append")
      error->all(FLERR, "Fix mollifield/uncertainty: unknown keyword '{}'; allowed: file, select, stop, append", key);
    if (!seen.insert(key).second) error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' is repeated", key);
    if (i + 1 >= narg) error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' has no value", key);
    if (key == "file") settings.file = arg[i + 1];
    if (key == "select") settings.select = positive_number(key, arg[i + 1]);
    if (key == "stop") settings.stop = positive_number(key, arg[i + 1]);
    if (key == "append") settings.append = utils::logical(FLERR, arg[i + 1], false, lmp) != 0;
  }
  settings.stops = seen.count("stop") > 0;
  for (const char *key : {"select", "append"})
    if (seen.count(key) && settings.file.empty())
      error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' needs keyword 'file'", key);
}

double FixMollifieldUncertainty::positive_number(const std::string &key, const char *text)
{
  char *end = nullptr;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !std::isfinite(value) || value < 0.0)
    error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' needs a number that is not negative, found '{}'", key,
               text);
  return value;
}

int FixMollifieldUncertainty::setmask()
{
  return PRE_FORCE | POST_FORCE | MIN_PRE_FORCE | MIN_POST_FORCE;
}

template <typename T> T *FixMollifieldUncertainty::from_pair(const char *name)
{
  int dim;
  return force->pair ? static_cast<T *>(force->pair->extract(name, dim)) : nullptr;
}

void FixMollifieldUncertainty::init()
{
  force_std_flag = from_pair<int>("force_std_flag");
  const int *const members = from_pair<int>("n_members");
  if (!force_std_flag || !members)
    error->all(FLERR, "Fix mollifield/uncertainty needs pair_style mollifield");
  n_members = *members;
  if (n_members < 2)
    error->all(FLERR, "Fix mollifield/uncertainty: the model is a single member; a committee of 2 or more has a spread");
  energy_unit = *from_pair<double>("energy_unit");
  energy_std_factor = *from_pair<double>("energy_std_factor");
  type_symbols = from_pair<const char *>("type_symbols");
  if (utils::strmatch(update->integrate_style, "^respa"))
    error->all(FLERR, "Fix mollifield/uncertainty does not work with run_style respa");
}

bool FixMollifieldUncertainty::is_due() const
{
  return update->ntimestep % nevery == 0;
}

// A run starts with values whatever its first step, so that thermo output never shows those of another run.
void FixMollifieldUncertainty::setup_pre_force(int /*vflag*/)
{
  *force_std_flag = 1;
}

void FixMollifieldUncertainty::setup(int /*vflag*/)
{
  update_statistics();
}

void FixMollifieldUncertainty::min_setup(int /*vflag*/)
{
  update_statistics();
}

void FixMollifieldUncertainty::pre_force(int /*vflag*/)
{
  if (is_due()) *force_std_flag = 1;
}

void FixMollifieldUncertainty::post_force(int /*vflag*/)
{
  if (is_due()) update_statistics();
}

void FixMollifieldUncertainty::min_pre_force(int vflag)
{
  pre_force(vflag);
}

void FixMollifieldUncertainty::min_post_force(int vflag)
{
  post_force(vflag);
}

void FixMollifieldUncertainty::update_statistics()
{
  *force_std_flag = 0;
  const double *const force_std = from_pair<double>("force_std");
  if (atom->nmax > max_atoms) {
    max_atoms = atom->nmax;
    memory->destroy(vector_atom);
    memory->create(vector_atom, max_atoms, "mollifield/uncertainty:vector_atom");
  }
  for (int i = 0; i < atom->nlocal; i++) vector_atom[i] = (atom->mask[i] & groupbit) ? force_std[i] : 0.0;
  update_group_statistics(force_std);
  update_energies(from_pair<double>("member_energies"));

  if (!settings.file.empty() && max_std > settings.select && update->ntimestep != last_written) write_frame();
  if (settings.stops && max_std > settings.stop && !stopped) {
    stopped = true;
    timer->force_timeout();
    if (comm->me == 0)
      utils::logmesg(lmp, "Fix mollifield/uncertainty: run stopped at step {}: force std {:.6g} of atom {} is above {}\n",
                     update->ntimestep, max_std, trigger, settings.stop);
  }
}

// Maximum with the tag it belongs to (the smallest, should two atoms tie), and mean, over the group.
void FixMollifieldUncertainty::update_group_statistics(const double *force_std)
{
  double local_max = -1.0, sums[2] = {0.0, 0.0}, totals[2];
  tagint local_tag = MAXTAGINT;
  for (int i = 0; i < atom->nlocal; i++) {
    if (!(atom->mask[i] & groupbit) || strcmp(type_symbols[atom->type[i]], "X") == 0) continue;
    sums[0] += force_std[i];
    sums[1] += 1.0;
    if (force_std[i] > local_max || (force_std[i] == local_max && atom->tag[i] < local_tag)) {
      local_max = force_std[i];
      local_tag = atom->tag[i];
    }
  }
  MPI_Allreduce(&local_max, &max_std, 1, MPI_DOUBLE, MPI_MAX, world);
  if (local_max != max_std) local_tag = MAXTAGINT;
  MPI_Allreduce(&local_tag, &trigger, 1, MPI_LMP_TAGINT, MPI_MIN, world);
  MPI_Allreduce(sums, totals, 2, MPI_DOUBLE, MPI_SUM, world);
  if (totals[1] == 0.0) max_std = 0.0;
  mean_std = totals[1] > 0.0 ? totals[0] / totals[1] : 0.0;
}

void FixMollifieldUncertainty::update_energies(const double *local_energies)
{
  std::vector<double> energies(n_members);
  MPI_Allreduce(local_energies, energies.data(), n_members, MPI_DOUBLE, MPI_SUM, world);
  energy_mean = std::accumulate(energies.begin(), energies.end(), 0.0) / n_members;
  double squares = 0.0;
  for (const double energy : energies) squares += (energy - energy_mean) * (energy - energy_mean);
  energy_std = energy_std_factor * std::sqrt(squares / (n_members - 1));

  bigint local_modelled = 0;
  for (int i = 0; i < atom->nlocal; i++) local_modelled += strcmp(type_symbols[atom->type[i]], "X") != 0;
  MPI_Allreduce(&local_modelled, &n_modelled, 1, MPI_LMP_BIGINT, MPI_SUM, world);
}

double FixMollifieldUncertainty::compute_scalar()
{
  return max_std;
}

double FixMollifieldUncertainty::compute_vector(int i)
{
  if (i == 0) return max_std;
  if (i == 1) return mean_std;
  if (i == 2) return n_modelled > 0 ? energy_std / static_cast<double>(n_modelled) : 0.0;
  return static_cast<double>(n_written);
}

void FixMollifieldUncertainty::write_frame()
{
  last_written = update->ntimestep;
  n_written++;
  const std::vector<double> atoms = gather_atoms(from_pair<double>("force_std"), from_pair<double>("force_mean"));
  int failed = 0;
  if (comm->me == 0) {
    // One write and one flush: a run that is killed leaves whole frames.
    const std::string text = frame_text(atoms);
    failed = fwrite(text.data(), 1, text.size(), fp) != text.size() || fflush(fp) != 0;
  }
  MPI_Bcast(&failed, 1, MPI_INT, 0, world);
  if (failed) error->all(FLERR, "Fix mollifield/uncertainty: writing to '{}' failed", settings.file);
}

// [n, VALUES_PER_ATOM] on rank 0, sorted by tag; forces in eV/Å.
std::vector<double> FixMollifieldUncertainty::gather_atoms(const double *force_std, const double *force_mean)
{
  std::vector<double> mine, all;
  for (int i = 0; i < atom->nlocal; i++) {
    const double *const x = atom->x[i], *const f = &force_mean[3 * i];
    mine.insert(mine.end(), {static_cast<double>(atom->tag[i]), static_cast<double>(atom->type[i]), x[0], x[1], x[2],
                             f[0] / energy_unit, f[1] / energy_unit, f[2] / energy_unit, force_std[i] / energy_unit});
  }
  const int size = static_cast<int>(mine.size());
  std::vector<int> sizes(comm->nprocs), offsets(comm->nprocs, 0);
  MPI_Gather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, world);
  std::partial_sum(sizes.begin(), sizes.end() - 1, offsets.begin() + 1);
  if (comm->me == 0) all.resize(offsets.back() + sizes.back());
  MPI_Gatherv(mine.data(), size, MPI_DOUBLE, all.data(), sizes.data(), offsets.data(), MPI_DOUBLE, 0, world);

  const std::size_t n = all.size() / VALUES_PER_ATOM;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return all[VALUES_PER_ATOM * a] < all[VALUES_PER_ATOM * b]; });
  std::vector<double> sorted;
  for (const std::size_t k : order)
    sorted.insert(sorted.end(), all.begin() + VALUES_PER_ATOM * k, all.begin() + VALUES_PER_ATOM * (k + 1));
  return sorted;
}

std::string FixMollifieldUncertainty::frame_header(std::size_t n)
{
  const auto flag = [&](int axis) { return domain->periodicity[axis] ? 'T' : 'F'; };
  std::string text = fmt::format("{}\n", n);
  text += fmt::format("Lattice=\"{:.17g} 0 0 {:.17g} {:.17g} 0 {:.17g} {:.17g} {:.17g}\" Origin=\"{:.17g} {:.17g} {:.17g}\" ",
                      domain->xprd, domain->xy, domain->yprd, domain->xz, domain->yz, domain->zprd, domain->boxlo[0],
                      domain->boxlo[1], domain->boxlo[2]);
  text += fmt::format("pbc=\"{} {} {}\" ", flag(0), flag(1), flag(2));
  text += "Properties=species:S:1:pos:R:3:tag:I:1:forces_mean:R:3:force_std:R:1 ";
  text += fmt::format("step={} energy_mean={:.17g} energy_std={:.17g} max_force_std={:.17g} trigger={}\n",
                      update->ntimestep, energy_mean / energy_unit, energy_std / energy_unit, max_std / energy_unit,
                      trigger);
  return text;
}

std::string FixMollifieldUncertainty::frame_text(const std::vector<double> &atoms)
{
  const std::size_t n = atoms.size() / VALUES_PER_ATOM;
  std::string text = frame_header(n);
  for (std::size_t k = 0; k < n; k++) {
    const double *const v = &atoms[VALUES_PER_ATOM * k];
    text += fmt::format("{} {:.17g} {:.17g} {:.17g} {} {:.17g} {:.17g} {:.17g} {:.17g}\n",
                        type_symbols[static_cast<int>(v[1])], v[2], v[3], v[4], static_cast<bigint>(v[0]), v[5], v[6],
                        v[7], v[8]);
  }
  return text;
}

double FixMollifieldUncertainty::memory_usage()
{
  return static_cast<double>(max_atoms) * sizeof(double);
}
