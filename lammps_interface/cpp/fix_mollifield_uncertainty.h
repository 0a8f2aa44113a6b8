// fix ID group mollifield/uncertainty N [quantity force|force_rel|energy|latent] [reduce max|mean|q99]
//   [calibrated yes|no] [file F] [append yes|no] [elements El1 El2 ...] [select x] [max_frames n] [min_gap steps]
//   [novelty d] [stop y] [error hard|soft|continue] [bias tau [ramp n]]
#ifndef LMP_FIX_MOLLIFIELD_UNCERTAINTY_H
#define LMP_FIX_MOLLIFIELD_UNCERTAINTY_H

#include "fix.h"
#include "fix_mollifield_frames_file.h"
#include "fix_mollifield_settings.h"
#include "uncertainty.hpp"

#include <limits>
#include <vector>

namespace LAMMPS_NS {

class FixMollifieldUncertainty : public Fix {
 public:
  FixMollifieldUncertainty(class LAMMPS *, int, char **);
  ~FixMollifieldUncertainty() override;

  int setmask() override;
  void init() override;
  void setup_pre_force(int) override;
  void setup(int) override;
  void min_setup(int) override;
  void pre_force(int) override;
  void post_force(int) override;
  void final_integrate() override;
  void min_pre_force(int) override;
  void min_post_force(int) override;
  void post_run() override;
  void write_restart(FILE *) override;
  void restart(char *) override;
  void grow_arrays(int) override;
  void copy_arrays(int, int, int) override;
  void set_arrays(int) override;
  int pack_exchange(int, double *) override;
  int unpack_exchange(int, double *) override;
  double compute_scalar() override;
  double compute_vector(int) override;
  double memory_usage() override;

 private:
  static constexpr int N_COLUMNS = 3;    // of array_atom: epistemic std, aleatoric std, latent distance

  // Total energies of the members, eV.
  struct Energies {
    std::vector<double> members;
    mollifield::EnergySpread spread;
  };
  // Over the group's atoms that the model describes; force in the run's units.
  struct Statistics {
    double value = 0.0;    // what `select` and `stop` look at
    double max = 0.0, mean = 0.0, q99 = 0.0;
    double max_force_std = 0.0, aleatoric = 0.0, epistemic = 0.0;
    Energies energy;
    bigint n_modelled = 0;        // in the whole system
    tagint trigger = 0;           // the atom with the largest value
    double trigger_value = 0.0;
  };
  struct Environment {
    int type = 0;
    std::vector<double> latent;
  };
  struct Extreme {
    double value;
    tagint tag;
  };

  UncertaintySettings settings;

  class Pair *model = nullptr;    // the pair style, or the one of a hybrid style; known by its extract() alone
  int *force_std_flag = nullptr;
  int n_members = 0;
  double energy_unit = 1.0, length_unit = 1.0, force_unit = 1.0;
  const mollifield::Calibration *calibration = nullptr;
  const char **type_symbols = nullptr;
  bool told_calibration = false;

  FramesFile frames;    // rank 0
  bool file_ready = false;
  std::string resumed_file;
  bigint resumed_end = -1;
  std::vector<Environment> written_environments;    // of the trigger atoms, for `novelty`
  bigint n_written = 0;

  // Steps; they move along with `reset_timestep`.
  static constexpr bigint NEVER = std::numeric_limits<bigint>::min();
  bigint last_written = NEVER, ramp_start = NEVER;
  bigint run_ended = NEVER;    // while no run is under way

  int max_atoms = 0;    // rows of array_atom
  Statistics statistics;
  bool stopped = false;
  double bias_energy = 0.0;

  template <typename T> T *from_pair(const char *);
  void find_model();
  void read_calibration();
  void check_elements();
  const char *symbol(int) const;
  void follow_reset_timestep();
  bool is_rerun() const;
  bool is_due() const;
  bool is_modelled(int) const;
  void evaluate(int, bool);
  void decide();

  void update_statistics(const Energies &);
  Energies total_energies();
  std::vector<double> atomic_quantity();
  const double *atomic_std();
  void fill_columns();
  Extreme largest(const std::vector<double> &);
  double quantile(const std::vector<double> &, double);
  void stop_if_above();

  void apply_bias(int, const Energies &);
  double bias_strength() const;

  void claim_file();
  void number_file();
  void open_file();
  std::string find_end();
  void check_file(std::string);
  bool is_selected();
  Environment trigger_environment();
  bool is_novel(const Environment &) const;
  void write_frame();
  std::vector<double> gather_atoms();
  std::string frame_text(const std::vector<double> &);
  std::string frame_header(std::size_t);
};

}    // namespace LAMMPS_NS

#endif
