// fix ID group mollifield/uncertainty N
//   [quantity force|force_rel|epistemic|aleatoric|total|interval|energy|latent|outside] [reduce max|mean|q99]
//   [calibrated yes|no] [file F] [append yes|no] [elements El1 El2 ...] [select x] [max_frames n] [min_gap steps]
//   [novelty d] [stop y] [error hard|soft|continue] [bias tau [ramp n]]
#ifndef LMP_FIX_MOLLIFIELD_UNCERTAINTY_H
#define LMP_FIX_MOLLIFIELD_UNCERTAINTY_H

#include "bias.h"
#include "committee.h"
#include "fix.h"
#include "fix_mollifield_settings.h"
#include "frames.h"
#include "novelty.h"
#include "statistics.h"
#include "steps.h"

#include <string>

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
  static constexpr int N_COLUMNS = 4;  // of array_atom: epistemic, aleatoric std, latent, relative distance

  const UncertaintySettings settings;
  Committee committee;
  Statistics statistics;
  Frames frames;
  Novelty novelty;
  Bias bias;

  bigint run_ended = NEVER;  // while no run is under way
  int max_atoms = 0;         // rows of array_atom
  bool told_calibration = false, told_outside = false, told_composition = false, stopped = false;

  std::string other_writer() const;
  void check_elements() const;
  void check_quantity() const;
  void tell_calibration();
  void tell_outside();
  void follow_reset_timestep();
  bool is_rerun() const;
  bool is_due() const;
  bool is_judged(int) const;
  JudgedAtoms judge_atoms();
  void evaluate(int, bool);
  void decide();
  void stop_if_above();
};

}  // namespace LAMMPS_NS

#endif
