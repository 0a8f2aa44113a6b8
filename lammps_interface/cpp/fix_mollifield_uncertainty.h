// fix ID group mollifield/uncertainty N [file F] [select X] [stop Y] [append yes|no]
#ifndef LMP_FIX_MOLLIFIELD_UNCERTAINTY_H
#define LMP_FIX_MOLLIFIELD_UNCERTAINTY_H

#include "fix.h"

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
  void min_pre_force(int) override;
  void min_post_force(int) override;
  double compute_scalar() override;
  double compute_vector(int) override;
  double memory_usage() override;

 private:
  struct Settings {
    std::string file;
    double select = 0.0, stop = 0.0;
    bool stops = false, append = false;
  } settings;

  // Of the pair style, through Pair::extract().
  int *force_std_flag = nullptr;
  int n_members = 0;
  double energy_unit = 1.0, energy_std_factor = 1.0;
  const char **type_symbols = nullptr;

  FILE *fp = nullptr;
  int max_atoms = 0;
  bigint last_written = -1, n_written = 0, n_modelled = 0;
  double max_std = 0.0, mean_std = 0.0, energy_mean = 0.0, energy_std = 0.0;
  tagint trigger = 0;
  bool stopped = false;

  void parse(int, char **);
  double positive_number(const std::string &, const char *);
  bool is_due() const;
  template <typename T> T *from_pair(const char *);
  void update_statistics();
  void update_group_statistics(const double *);
  void update_energies(const double *);
  void write_frame();
  std::vector<double> gather_atoms(const double *, const double *);
  std::string frame_text(const std::vector<double> &);
  std::string frame_header(std::size_t);
};

}    // namespace LAMMPS_NS

#endif
