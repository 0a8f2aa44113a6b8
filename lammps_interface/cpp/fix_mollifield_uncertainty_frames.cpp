// Frames that fix mollifield/uncertainty keeps: which, and how they look.
#include "fix_mollifield_uncertainty.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "modify.h"
#include "universe.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

using namespace LAMMPS_NS;

namespace {

// What travels to rank 0 for each atom: tag, type, position, mean force, force std, latent distance.
constexpr int VALUES_PER_ATOM = 10;

}    // namespace

// Several partitions read one input: each has its own file, numbered as their log files are.
void FixMollifieldUncertainty::number_file()
{
  int keeps_name = 0;
  if (comm->me == 0) keeps_name = FramesFile::is_special(settings.file);
  MPI_Bcast(&keeps_name, 1, MPI_INT, 0, world);
  if (keeps_name) return;
  std::filesystem::path name = settings.file;
  name.replace_filename(fmt::format("{}.{}{}", name.stem().string(), universe->iworld, name.extension().string()));
  settings.file = name.string();
}

// A restart file may still ask for what the file holds: that is looked at when the first run starts.
void FixMollifieldUncertainty::claim_file()
{
  if (settings.file.empty()) return;
  if (universe->nworlds > 1) number_file();
  std::string refusal;
  if (comm->me == 0) {
    for (const Fix *other : modify->get_fix_by_style("^mollifield/uncertainty$")) {
      const auto *const writer = dynamic_cast<const FixMollifieldUncertainty *>(other);
      if (writer && writer->frames.is_regular() && writer->frames.is_at(settings.file))
        refusal = fmt::format("is written by fix {} already; name another file", other->id);
    }
    if (refusal.empty()) refusal = frames.claim(settings.file);
    if (!frames.lock_problem().empty())
      error->warning(FLERR, "Fix mollifield/uncertainty: file '{}' cannot be locked ({}): another run that writes it "
                            "will not be noticed", settings.file, frames.lock_problem());
  }
  check_file(refusal);
}

void FixMollifieldUncertainty::open_file()
{
  if (settings.file.empty() || file_ready) return;
  check_file(comm->me == 0 && frames.is_regular() ? find_end() : "");
  file_ready = true;
}

// What rank 0 found to be wrong with the file, if anything, ends all ranks.
void FixMollifieldUncertainty::check_file(std::string refusal)
{
  int size = static_cast<int>(refusal.size());
  MPI_Bcast(&size, 1, MPI_INT, 0, world);
  if (size == 0) return;
  refusal.resize(size);
  MPI_Bcast(refusal.data(), size, MPI_CHAR, 0, world);
  error->all(FLERR, "Fix mollifield/uncertainty: file '{}' {}", settings.file, refusal);
}

// On rank 0. Two things may be cut off: a torn last frame, and frames behind the end that a restart file recorded, which
// the run is about to write again.
std::string FixMollifieldUncertainty::find_end()
{
  const bool resumes = resumed_end >= 0 && frames.is_at(resumed_file);
  const bigint size = frames.size();
  if (!frames.is_in_place()) return "was moved or removed after the fix was defined";
  if (!resumes && !settings.append && size > 0)
    return fmt::format("holds {} bytes already: 'append yes' keeps its frames and goes on behind them; otherwise "
                       "remove it, or name another file", size);
  if (resumes && size < resumed_end)
    return fmt::format("has {} bytes, but had {} when the restart file was written; put the frames back, or name "
                       "another file", size, resumed_end);
  bigint end = 0;
  FramesReader reader = frames.reader();
  while (reader.next()) {
    if (!resumes || reader.end() <= resumed_end)
      end = reader.end();
    else if (end != resumed_end)
      break;
    else if (reader.step() <= last_written)
      return fmt::format("has frame {} of step {} behind those that the restart file knows of, the last of which is of "
                         "step {}: it is of another run and would be lost; put it elsewhere, or name another file",
                         reader.n_frames(), reader.step(), last_written);
  }
  if (reader.is_foreign())
    return fmt::format("is not of this fix alone: after {} frames, {} is no part of one; put that elsewhere, or name "
                       "another file", reader.n_frames(), reader.where());
  if (resumes && end != resumed_end)
    return fmt::format("has other frames than when the restart file was written: none ends after {} bytes; put them "
                       "back, or name another file", resumed_end);
  if (resumes)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: goes on after frame {} of '{}'{}\n", n_written, settings.file,
                   size > end ? ", what was written after the restart file is dropped" : "");
  else if (size > end)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: the last frame of '{}' is torn, its {} bytes are dropped\n",
                   settings.file, size - end);
  return frames.go_on(end);
}

bool FixMollifieldUncertainty::is_selected()
{
  if (settings.file.empty() || !(statistics.value > settings.select)) return false;
  if (settings.max_frames >= 0 && n_written >= settings.max_frames) return false;
  // Once a step at most (minimize looks more often).
  const bigint gap = last_written == NEVER ? -1 : update->ntimestep - last_written;
  if (gap >= 0 && gap < std::max<bigint>(settings.min_gap, 1)) return false;
  if (settings.novelty == 0.0) return true;
  Environment environment = trigger_environment();
  if (!is_novel(environment)) return false;
  written_environments.push_back(std::move(environment));
  return true;
}

// Of the trigger atom, on all ranks.
FixMollifieldUncertainty::Environment FixMollifieldUncertainty::trigger_environment()
{
  int local = -1;
  for (int i = 0; i < atom->nlocal; i++)
    if (atom->tag[i] == statistics.trigger) local = i;
  const int mine = local >= 0 ? comm->me : -1;
  int owner, shape[2] = {0, 0};
  MPI_Allreduce(&mine, &owner, 1, MPI_INT, MPI_MAX, world);
  if (comm->me == owner) {
    shape[0] = atom->type[local];
    shape[1] = *from_pair<int>("n_latent");
  }
  MPI_Bcast(shape, 2, MPI_INT, owner, world);
  Environment found;
  found.type = shape[0];
  found.latent.resize(shape[1]);
  if (comm->me == owner) {
    const double *const latent = from_pair<double>("latent");
    std::copy_n(latent + static_cast<std::size_t>(shape[1]) * local, shape[1], found.latent.begin());
  }
  MPI_Bcast(found.latent.data(), shape[1], MPI_DOUBLE, owner, world);
  return found;
}

bool FixMollifieldUncertainty::is_novel(const Environment &found) const
{
  for (const auto &known : written_environments) {
    // Two types may be one element; another model's features, from a restart file, say nothing here.
    if (strcmp(type_symbols[known.type], type_symbols[found.type]) != 0) continue;
    if (known.latent.size() != found.latent.size()) continue;
    double squares = 0.0;
    for (std::size_t k = 0; k < known.latent.size(); k++) {
      const double difference = known.latent[k] - found.latent[k];
      squares += difference * difference;
    }
    if (std::sqrt(squares) < settings.novelty) return false;
  }
  return true;
}

void FixMollifieldUncertainty::write_frame()
{
  last_written = update->ntimestep;
  n_written++;
  const std::vector<double> atoms = gather_atoms();
  int code = 0;
  if (comm->me == 0) code = frames.append(frame_text(atoms));
  MPI_Bcast(&code, 1, MPI_INT, 0, world);
  if (code)
    error->all(FLERR, "Fix mollifield/uncertainty: frame {} of step {} cannot be written to '{}': {}; "
                      "the frames before it are whole", n_written, last_written, settings.file, strerror(code));
}

// [n, VALUES_PER_ATOM] on rank 0, sorted by tag; in eV and Å.
std::vector<double> FixMollifieldUncertainty::gather_atoms()
{
  const double *const force_std = atomic_std(), *const mean = from_pair<double>("force_mean"),
                      *const distance = from_pair<double>("latent_distance");
  std::vector<double> mine, all;
  for (int i = 0; i < atom->nlocal; i++) {
    const double *const x = atom->x[i], *const f = &mean[3 * i];
    mine.insert(mine.end(), {static_cast<double>(atom->tag[i]), static_cast<double>(atom->type[i]), x[0] / length_unit,
                             x[1] / length_unit, x[2] / length_unit, f[0] / force_unit, f[1] / force_unit,
                             f[2] / force_unit, force_std[i] / force_unit, distance[i]});
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
  const auto &s = statistics;
  const auto flag = [&](int axis) { return domain->periodicity[axis] ? 'T' : 'F'; };
  const auto vector = [&](double x, double y, double z) {
    return fmt::format("{:.17g} {:.17g} {:.17g}", x / length_unit, y / length_unit, z / length_unit);
  };
  const bool is_force = settings.quantity == UncertaintySettings::FORCE;
  const double unit = is_force ? force_unit : settings.quantity == UncertaintySettings::ENERGY ? energy_unit : 1.0;
  const double trigger_unit = settings.quantity == UncertaintySettings::ENERGY ? force_unit : unit;
  std::string text = fmt::format("{}\nLattice=\"{} {} {}\" Origin=\"{}\" ", n, vector(domain->xprd, 0.0, 0.0),
                                 vector(domain->xy, domain->yprd, 0.0),
                                 vector(domain->xz, domain->yz, domain->zprd),
                                 vector(domain->boxlo[0], domain->boxlo[1], domain->boxlo[2]));
  text += fmt::format("pbc=\"{} {} {}\" {} ", flag(0), flag(1), flag(2), std::string(FRAME_COLUMNS));
  text += fmt::format("step={} energy_mean={:.17g} energy_std={:.17g} max_force_std={:.17g} ", update->ntimestep,
                      s.energy.spread.mean, s.energy.spread.std, s.max_force_std / force_unit);
  text += fmt::format("force_noise_std={:.17g} energy_noise_std={:.17g} ", s.aleatoric / force_unit,
                      calibration->energy_noise);
  text += fmt::format("quantity={} reduce={} value={:.17g} trigger={} trigger_value={:.17g}\n", settings.quantity_key(),
                      settings.reduction_key(), s.value / unit, s.trigger, s.trigger_value / trigger_unit);
  return text;
}

std::string FixMollifieldUncertainty::frame_text(const std::vector<double> &atoms)
{
  const std::size_t n = atoms.size() / VALUES_PER_ATOM;
  std::string text = frame_header(n);
  for (std::size_t k = 0; k < n; k++) {
    const double *const v = &atoms[VALUES_PER_ATOM * k];
    text += fmt::format("{} {:.17g} {:.17g} {:.17g} {} {:.17g} {:.17g} {:.17g} {:.17g} {:.17g} {:.17g}\n",
                        symbol(static_cast<int>(v[1])), v[2], v[3], v[4], static_cast<bigint>(v[0]), v[5], v[6],
                        v[7], v[8], v[8] * v[8], v[9]);
  }
  return text;
}
