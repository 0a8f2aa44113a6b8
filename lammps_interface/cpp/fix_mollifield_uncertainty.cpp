#include "fix_mollifield_uncertainty.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "input.h"
#include "memory.h"
#include "modify.h"
#include "pair.h"
#include "timer.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace LAMMPS_NS;
using namespace FixConst;

FixMollifieldUncertainty::FixMollifieldUncertainty(LAMMPS *lmp, int narg, char **arg) :
    Fix(lmp, narg, arg), settings(read_uncertainty_settings(lmp, narg, arg))
{
  nevery = settings.every;
  scalar_flag = vector_flag = peratom_flag = 1;
  size_vector = 8;
  extscalar = extvector = 0;
  size_peratom_cols = maxexchange = N_COLUMNS;
  create_attribute = 1;
  dynamic_group_allow = 1;
  restart_global = 1;
  energy_global_flag = virial_global_flag = settings.biased;
  // Between its steps the fix keeps the global values of the last one; atoms migrate, so theirs expire.
  global_freq = 1;
  peratom_freq = nevery;

  claim_file();
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

template <typename T> T *FixMollifieldUncertainty::from_pair(const char *name)
{
  int dim;
  return static_cast<T *>(model->extract(name, dim));
}

template double *FixMollifieldUncertainty::from_pair<double>(const char *);
template int *FixMollifieldUncertainty::from_pair<int>(const char *);

void FixMollifieldUncertainty::init()
{
  find_model();
  force_std_flag = from_pair<int>("force_std_flag");
  n_members = *from_pair<int>("n_members");
  if (n_members < 2)
    error->all(FLERR, "Fix mollifield/uncertainty: the model is a single member; "
                      "a committee of 2 or more has a spread");
  if (utils::strmatch(update->integrate_style, "^respa"))
    error->all(FLERR, "Fix mollifield/uncertainty does not work with run_style respa");
  type_symbols = from_pair<const char *>("type_symbols");
  check_elements();
  energy_unit = *from_pair<double>("energy_unit");
  const double *const length = from_pair<double>("length_unit");
  length_unit = length ? *length : 1.0;
  force_unit = energy_unit / length_unit;
  read_calibration();
  if (settings.quantity == UncertaintySettings::LATENT && !*from_pair<int>("has_latent_references"))
    error->all(FLERR, "Fix mollifield/uncertainty: keyword 'quantity latent' needs a model file with latent "
                      "references; export it again with the frames it was trained on (mollifield export)");
  if (settings.biased && update->whichflag == 2 && !thermo_energy && comm->me == 0)
    error->warning(FLERR, "Fix mollifield/uncertainty: minimize does not see the energy of the bias without "
                          "fix_modify {} energy yes", id);
  open_file();
}

// Two models have two committees, of which neither knows the other's atoms.
void FixMollifieldUncertainty::find_model()
{
  constexpr int EXACTLY = 1, FIRST = 1;
  model = force->pair_match("mollifield", EXACTLY);
  if (!model && force->pair_match("mollifield", EXACTLY, FIRST))
    error->all(FLERR, "Fix mollifield/uncertainty: pair_style {} has more than one sub-style mollifield; allowed: one, "
                      "whose model describes all atoms that are to be judged", force->pair_style);
  if (!model) error->all(FLERR, "Fix mollifield/uncertainty needs pair_style mollifield");
  if (!force->pair->compute_flag || !model->compute_flag)
    error->all(FLERR, "Fix mollifield/uncertainty needs the forces of pair_style mollifield, which 'pair_modify compute "
                      "no' leaves out; give 'pair_modify compute yes', or unfix {}", id);
}

void FixMollifieldUncertainty::check_elements()
{
  for (std::size_t k = 0; k < settings.elements.size(); k++)
    if (strcmp(type_symbols[k + 1], "X") != 0 && settings.elements[k] != type_symbols[k + 1])
      error->all(FLERR, "Fix mollifield/uncertainty: keyword 'elements' has {} for type {}, pair_coeff has {}",
                 settings.elements[k], k + 1, type_symbols[k + 1]);
}

// Of a type, as the frames name it; "X" where nobody said.
const char *FixMollifieldUncertainty::symbol(int type) const
{
  return settings.elements.empty() ? type_symbols[type] : settings.elements[type - 1].c_str();
}

void FixMollifieldUncertainty::read_calibration()
{
  calibration = from_pair<const mollifield::Calibration>("calibration");
  if (told_calibration || comm->me != 0) return;
  told_calibration = true;
  if (settings.calibrated && !calibration->states_std)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: the model file has no calibration, std is as it comes\n");
  if (!calibration->states_force_noise)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: the model file states no force_noise_std, aleatoric std is 0\n");
}

// LAMMPS tells nobody of `reset_timestep`: a run that does not start where the last one ended shows it.
void FixMollifieldUncertainty::follow_reset_timestep()
{
  if (run_ended == NEVER) return;
  const bigint shift = update->ntimestep - run_ended;
  for (bigint *const step : {&last_written, &ramp_start})
    if (*step != NEVER) *step += shift;
  if (is_rerun()) last_written = NEVER;    // another trajectory
  run_ended = NEVER;
}

// `rerun` sets up frame after frame and runs none.
bool FixMollifieldUncertainty::is_rerun() const
{
  return input->command && strcmp(input->command, "rerun") == 0;
}

bool FixMollifieldUncertainty::is_due() const
{
  return update->ntimestep % nevery == 0 || is_rerun();
}

bool FixMollifieldUncertainty::is_modelled(int i) const
{
  return strcmp(type_symbols[atom->type[i]], "X") != 0;
}

// A run starts with values whatever its first step, so that thermo output never shows those of another run.
void FixMollifieldUncertainty::setup_pre_force(int /*vflag*/)
{
  *force_std_flag = 1;
}

void FixMollifieldUncertainty::setup(int vflag)
{
  follow_reset_timestep();
  if (ramp_start == NEVER) ramp_start = update->ntimestep;
  evaluate(vflag, true);
  decide();
}

void FixMollifieldUncertainty::min_setup(int vflag)
{
  setup(vflag);
}

void FixMollifieldUncertainty::pre_force(int /*vflag*/)
{
  if (is_due() || settings.biased) *force_std_flag = 1;
}

void FixMollifieldUncertainty::post_force(int vflag)
{
  if (is_due() || settings.biased) evaluate(vflag, is_due());
}

// Monte Carlo fixes compute trial configurations through pre_force and post_force, before the forces of the step's
// own configuration; older ones call end_of_step too. Only a step's own one is integrated.
void FixMollifieldUncertainty::final_integrate()
{
  decide();
}

void FixMollifieldUncertainty::min_pre_force(int vflag)
{
  pre_force(vflag);
}

void FixMollifieldUncertainty::min_post_force(int vflag)
{
  post_force(vflag);
  decide();
}

void FixMollifieldUncertainty::evaluate(int vflag, bool with_statistics)
{
  *force_std_flag = 0;
  const Energies energy = total_energies();
  if (with_statistics) update_statistics(energy);
  if (settings.biased) apply_bias(vflag, energy);
}

void FixMollifieldUncertainty::decide()
{
  // A run may start between the steps that are looked at; those alone decide, so that a run that was interrupted
  // anywhere keeps the same frames.
  if (!is_due()) return;
  if (is_selected()) write_frame();
  stop_if_above();
}

void FixMollifieldUncertainty::stop_if_above()
{
  if (!settings.stops || stopped || !(statistics.value > settings.stop)) return;
  stopped = true;
  const std::string what = fmt::format("step {}: {} {:.6g} of atom {} is above {}", update->ntimestep,
                                       settings.quantity_name(), statistics.value, statistics.trigger, settings.stop);
  if (settings.stop_kind == UncertaintySettings::HARD)
    error->all(FLERR, "Fix mollifield/uncertainty: run ended at {}", what);
  // Nothing stops a rerun but an error.
  const bool goes_on = is_rerun();
  if (!goes_on) timer->force_timeout();
  if (comm->me == 0)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: {} {}\n", goes_on ? "rerun goes on after" : "run stopped at", what);
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
  return settings.biased && thermo_energy ? bias_energy : statistics.value;
}

double FixMollifieldUncertainty::compute_vector(int i)
{
  const auto &s = statistics;
  const double n_modelled = static_cast<double>(s.n_modelled);
  const bigint since = last_written == NEVER ? -1 : update->ntimestep - last_written;
  const double values[8] = {s.max,
                            s.mean,
                            s.q99,
                            s.n_modelled > 0 ? energy_unit * s.energy.spread.std / n_modelled : 0.0,
                            static_cast<double>(n_written),
                            static_cast<double>(since),
                            s.aleatoric,
                            s.epistemic};
  return values[i];
}

double FixMollifieldUncertainty::memory_usage()
{
  std::size_t doubles = static_cast<std::size_t>(max_atoms) * N_COLUMNS;
  for (const auto &environment : written_environments) doubles += environment.latent.capacity();
  return static_cast<double>(doubles * sizeof(double));
}
