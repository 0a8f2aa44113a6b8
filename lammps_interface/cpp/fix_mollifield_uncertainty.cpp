#include "fix_mollifield_uncertainty.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "frame_text.h"
#include "input.h"
#include "memory.h"
#include "modify.h"
#include "restart_bytes.h"
#include "timer.h"
#include "update.h"

#include <algorithm>
#include <cstring>
#include <limits>

using namespace LAMMPS_NS;
using namespace FixConst;

namespace {

// What a resumed run has to know to go on as if it had never stopped. The file's name and what `novelty` remembers
// follow.
constexpr bigint VERSION = 2;

struct Header {
  bigint version, n_written, last_written, ramp_start, step, end, name_size, n_environments;
};

}  // namespace

FixMollifieldUncertainty::FixMollifieldUncertainty(LAMMPS *lmp, int narg, char **arg) :
    Fix(lmp, narg, arg), settings(read_uncertainty_settings(lmp, narg, arg)), committee(lmp), frames(lmp, settings),
    novelty(lmp, settings.novelty), bias(settings.bias, settings.ramp)
{
  nevery = settings.every;
  scalar_flag = vector_flag = peratom_flag = 1;
  size_vector = 9;
  extscalar = extvector = 0;
  size_peratom_cols = maxexchange = N_COLUMNS;
  create_attribute = 1;
  dynamic_group_allow = 1;
  restart_global = 1;
  energy_global_flag = virial_global_flag = settings.biased;
  // Between its steps the fix keeps the global values of the last one; atoms migrate, so theirs expire.
  global_freq = 1;
  peratom_freq = nevery;

  frames.claim(other_writer());
  grow_arrays(atom->nmax);
  atom->add_callback(Atom::GROW);
}

FixMollifieldUncertainty::~FixMollifieldUncertainty()
{
  if (modify->get_fix_by_id(id)) atom->delete_callback(id, Atom::GROW);
  memory->destroy(array_atom);
}

int FixMollifieldUncertainty::setmask()
{
  return PRE_FORCE | POST_FORCE | FINAL_INTEGRATE | MIN_PRE_FORCE | MIN_POST_FORCE | POST_RUN;
}

void FixMollifieldUncertainty::init()
{
  committee.find(id);
  if (utils::strmatch(update->integrate_style, "^respa"))
    error->all(FLERR, "Fix mollifield/uncertainty does not work with run_style respa");
  check_elements();
  tell_calibration();
  check_quantity();
  if (settings.biased && update->whichflag == 2 && !thermo_energy && comm->me == 0)
    error->warning(FLERR,
                   "Fix mollifield/uncertainty: minimize does not see the energy of the bias without "
                   "fix_modify {} energy yes",
                   id);
  frames.open();
}

// On rank 0: why another fix keeps this one from its file, if so.
std::string FixMollifieldUncertainty::other_writer() const
{
  if (comm->me != 0 || settings.file.empty()) return {};
  for (const Fix *other : modify->get_fix_by_style("^mollifield/uncertainty$")) {
    const auto *const writer = dynamic_cast<const FixMollifieldUncertainty *>(other);
    if (writer && writer->frames.writes_to(frames.name()))
      return fmt::format("is written by fix {} already; name another file", other->id);
  }
  return {};
}

void FixMollifieldUncertainty::check_elements() const
{
  for (std::size_t k = 0; k < settings.elements.size(); k++) {
    const int type = static_cast<int>(k) + 1;
    if (committee.describes(type) && settings.elements[k] != committee.symbol(type))
      error->all(FLERR, "Fix mollifield/uncertainty: keyword 'elements' has {} for type {}, pair_coeff has {}",
                 settings.elements[k], type, committee.symbol(type));
  }
}

void FixMollifieldUncertainty::check_quantity() const
{
  const Quantity &quantity = *settings.quantity;
  if (quantity.needs == Quantity::Needs::LATENT_REFERENCES && !*committee.read<int>("has_latent_references"))
    error->all(FLERR,
               "Fix mollifield/uncertainty: keyword 'quantity {}' needs a model file with latent "
               "references; export it again with the frames it was trained on (mollifield export)",
               quantity.key);
  if (quantity.needs == Quantity::Needs::NOISE && !committee.states_noise())
    error->all(FLERR,
               "Fix mollifield/uncertainty: keyword 'quantity {}' needs a model file that states the noise of its "
               "labels (mollifield noise)",
               quantity.key);
  if (quantity.needs != Quantity::Needs::INTERVALS) return;
  if (!settings.calibrated)
    error->all(FLERR, "Fix mollifield/uncertainty: keyword 'quantity {}' is of calibrated stds; 'calibrated' is no",
               quantity.key);
  if (committee.calibration().force_interval.empty())
    error->all(FLERR,
               "Fix mollifield/uncertainty: keyword 'quantity {}' needs a model file with intervals of 90%; "
               "calibrate it with at least 9 frames that it was not trained on (mollifield calibrate)",
               quantity.key);
}

void FixMollifieldUncertainty::tell_calibration()
{
  if (told_calibration || comm->me != 0) return;
  told_calibration = true;
  if (settings.calibrated && !committee.calibration().states_std)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: the model file has no calibration, std is as it comes\n");
  if (!committee.states_noise())
    utils::logmesg(lmp, "Fix mollifield/uncertainty: the model file states no force_noise_std, aleatoric std is 0\n");
}

// Once: what the stds are from here on.
void FixMollifieldUncertainty::tell_outside()
{
  const auto &s = statistics;
  if (s.n_outside > 0 && !told_outside && comm->me == 0)
    utils::logmesg(
        lmp,
        "Fix mollifield/uncertainty: step {}: outside, {} atom(s) resemble none of the training data; stds are "
        "warnings from here on\n",
        update->ntimestep, s.n_outside);
  if (s.energies.composition_std > 0.0 && !told_composition && comm->me == 0)
    utils::logmesg(lmp,
                   "Fix mollifield/uncertainty: energies are outside: the training data do not determine those of this "
                   "composition\n");
  told_outside = told_outside || s.n_outside > 0;
  told_composition = told_composition || s.energies.composition_std > 0.0;
}

// LAMMPS tells nobody of `reset_timestep`: a run that does not start where the last one ended shows it.
void FixMollifieldUncertainty::follow_reset_timestep()
{
  if (run_ended == NEVER) return;
  const bigint shift = update->ntimestep - run_ended;
  frames.shift(shift);
  bias.shift(shift);
  if (is_rerun()) frames.forget_last_step();  // another trajectory
  run_ended = NEVER;
}

// `rerun` sets up frame after frame and runs none.
bool FixMollifieldUncertainty::is_rerun() const { return input->command && strcmp(input->command, "rerun") == 0; }

bool FixMollifieldUncertainty::is_due() const { return update->ntimestep % nevery == 0 || is_rerun(); }

bool FixMollifieldUncertainty::is_judged(int i) const
{
  return (atom->mask[i] & groupbit) && committee.describes(atom->type[i]);
}

// A run starts with values whatever its first step, so that thermo output never shows those of another run.
void FixMollifieldUncertainty::setup_pre_force(int /*vflag*/) { committee.ask(true); }

void FixMollifieldUncertainty::setup(int vflag)
{
  follow_reset_timestep();
  bias.start(update->ntimestep);
  evaluate(vflag, true);
  decide();
}

void FixMollifieldUncertainty::min_setup(int vflag) { setup(vflag); }

void FixMollifieldUncertainty::pre_force(int /*vflag*/)
{
  if (is_due() || settings.biased) committee.ask(true);
}

void FixMollifieldUncertainty::post_force(int vflag)
{
  if (is_due() || settings.biased) evaluate(vflag, is_due());
}

// Monte Carlo fixes compute trial configurations through pre_force and post_force, before the forces of the step's
// own configuration; older ones call end_of_step too. Only a step's own one is integrated.
void FixMollifieldUncertainty::final_integrate() { decide(); }

void FixMollifieldUncertainty::min_pre_force(int vflag) { pre_force(vflag); }

void FixMollifieldUncertainty::min_post_force(int vflag)
{
  post_force(vflag);
  decide();
}

void FixMollifieldUncertainty::evaluate(int vflag, bool with_statistics)
{
  committee.ask(false);
  const Energies energies = committee.energies(settings.calibrated);
  if (with_statistics)
    statistics = statistics_of(*settings.quantity, settings.reduction, judge_atoms(), energies, committee, world);
  if (!settings.biased) return;
  v_init(vflag);
  bias.apply(committee, energies, update->ntimestep, atom->nlocal, atom->f, vflag_global ? virial : nullptr);
}

// What an atom's columns say of it, and the judged atoms alone.
JudgedAtoms FixMollifieldUncertainty::judge_atoms()
{
  const double *const force_std = committee.force_std(settings.calibrated),
                      *const noise = committee.read<double>("aleatoric_std"),
                      *const distance = committee.read<double>("latent_distance"),
                      *const relative = committee.read<double>("relative_distance");
  JudgedAtoms found;
  for (int i = 0; i < atom->nlocal; i++) {
    std::fill_n(array_atom[i], N_COLUMNS, 0.0);
    if (!is_judged(i)) continue;
    found.index.push_back(i);
    found.tag.push_back(atom->tag[i]);
    found.force_std.push_back(array_atom[i][0] = force_std[i]);
    found.aleatoric_std.push_back(array_atom[i][1] = noise[i]);
    found.latent_distance.push_back(array_atom[i][2] = distance[i]);
    found.relative_distance.push_back(array_atom[i][3] = relative[i]);
  }
  return found;
}

void FixMollifieldUncertainty::decide()
{
  // A run may start between the steps that are looked at; those alone decide, so that a run that was interrupted
  // anywhere keeps the same frames.
  if (!is_due()) return;
  tell_outside();
  const bigint step = update->ntimestep;
  if (!frames.name().empty() && statistics.value > settings.select && frames.may_follow(step) &&
      novelty.admits(statistics.trigger, committee))
    frames.append(frame_text(lmp, settings, committee, statistics), step);
  stop_if_above();
}

void FixMollifieldUncertainty::stop_if_above()
{
  if (!settings.stops || stopped || !(statistics.value > settings.stop)) return;
  stopped = true;
  const std::string what = fmt::format("step {}: {} {:.6g} of atom {} is above {}", update->ntimestep,
                                       settings.quantity->name, statistics.value, statistics.trigger, settings.stop);
  if (settings.stop_kind == UncertaintySettings::HARD)
    error->all(FLERR, "Fix mollifield/uncertainty: run ended at {}", what);
  // Nothing stops a rerun but an error.
  const bool goes_on = is_rerun();
  if (!goes_on) timer->force_timeout();
  if (comm->me == 0)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: {} {}\n", goes_on ? "rerun goes on after" : "run stopped at",
                   what);
}

// As in fix halt: after a soft stop LAMMPS skips later runs too, with `continue` it goes on with them.
void FixMollifieldUncertainty::post_run()
{
  run_ended = update->ntimestep;
  if (settings.stop_kind != UncertaintySettings::CONTINUE || !stopped) return;
  stopped = false;
  timer->reset_timeout();
}

// LAMMPS takes the energy of a fix from its scalar (Modify::energy_global), where it is told to.
double FixMollifieldUncertainty::compute_scalar()
{
  return settings.biased && thermo_energy ? bias.energy() : statistics.value;
}

double FixMollifieldUncertainty::compute_vector(int i)
{
  const auto &s = statistics;
  const bigint since = frames.last_step() == NEVER ? -1 : update->ntimestep - frames.last_step();
  const double values[9] = {s.max,
                            s.mean,
                            s.q99,
                            committee.energy_std_per_atom(s.energies),
                            static_cast<double>(frames.n_written()),
                            static_cast<double>(since),
                            s.aleatoric,
                            s.epistemic,
                            static_cast<double>(s.n_outside)};
  return values[i];
}

double FixMollifieldUncertainty::memory_usage()
{
  return static_cast<double>((static_cast<std::size_t>(max_atoms) * N_COLUMNS + novelty.n_doubles()) * sizeof(double));
}

// What LAMMPS reads between runs too, when it likes: an atom that no computation has met has no std, not one of 0.
void FixMollifieldUncertainty::grow_arrays(int n_max)
{
  const int known = max_atoms;
  max_atoms = std::max(n_max, 1);  // a null pointer would be no array
  memory->grow(array_atom, max_atoms, N_COLUMNS, "mollifield/uncertainty:array_atom");
  for (int i = known; i < max_atoms; i++) set_arrays(i);
}

void FixMollifieldUncertainty::set_arrays(int i)
{
  std::fill_n(array_atom[i], N_COLUMNS, std::numeric_limits<double>::quiet_NaN());
}

void FixMollifieldUncertainty::copy_arrays(int from, int to, int /*delflag*/)
{
  std::copy_n(array_atom[from], N_COLUMNS, array_atom[to]);
}

int FixMollifieldUncertainty::pack_exchange(int i, double *buffer)
{
  std::copy_n(array_atom[i], N_COLUMNS, buffer);
  return N_COLUMNS;
}

int FixMollifieldUncertainty::unpack_exchange(int i, double *buffer)
{
  std::copy_n(buffer, N_COLUMNS, array_atom[i]);
  return N_COLUMNS;
}

void FixMollifieldUncertainty::write_restart(FILE *file)
{
  if (comm->me != 0) return;
  std::string bytes;
  const bigint step = run_ended == NEVER ? update->ntimestep : run_ended;
  put(bytes, Header{VERSION, frames.n_written(), frames.last_step(), bias.started(), step, frames.end(),
                    static_cast<bigint>(frames.name().size()), novelty.size()});
  bytes += frames.name();
  novelty.write(bytes);
  const int size = static_cast<int>(bytes.size());
  fwrite(&size, sizeof(int), 1, file);
  fwrite(bytes.data(), 1, bytes.size(), file);
}

void FixMollifieldUncertainty::restart(char *bytes)
{
  const char *from = bytes;
  // Another version's header may have another size.
  bigint version;
  memcpy(&version, bytes, sizeof(version));
  if (version != VERSION)
    error->all(FLERR,
               "Fix mollifield/uncertainty: its state in the restart file has version {}, this build reads {}; "
               "with an ID other than {} it starts anew",
               version, VERSION, id);
  const auto header = take<Header>(from);
  frames.resume(header.n_written, header.last_written, header.end, std::string(from, header.name_size));
  bias.resume(header.ramp_start);
  run_ended = header.step;
  novelty.read(from + header.name_size, header.n_environments);
}
