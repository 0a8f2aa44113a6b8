// pair_style mollifield [device cpu|cuda|cuda:N|auto] [threads n] [driver mean | driver member k] [halo exchange|ghost]
//                       [chunk n] [edges auto|host|device]
// pair_coeff * * model.pt El1 El2 ... NULL
#ifndef LMP_PAIR_MOLLIFIELD_H
#define LMP_PAIR_MOLLIFIELD_H

#include "pair.h"

#include <memory>

namespace mollifield {
struct Edges;
struct Evaluation;
struct Request;
class Potential;
}  // namespace mollifield

namespace LAMMPS_NS {

class PairMollifield : public Pair {
 public:
  explicit PairMollifield(class LAMMPS *);
  ~PairMollifield() override;

  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;

  // The restart file names the model with its checksum, and read_restart sets the pair style up with it.
  void write_restart(FILE *) override;
  void read_restart(FILE *) override;
  void write_restart_settings(FILE *) override;
  void read_restart_settings(FILE *) override;

  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;

  // What fix mollifield/uncertainty reads; values are in the unit style of the run.
  //   n_members           int *
  //   force_std_flag      int *, set it before a force computation to have the members' forces computed in it
  //   energy_unit         double *, LAMMPS energy units of 1 eV
  //   length_unit         double *, LAMMPS length units of 1 Å
  //   calibration         const mollifield::Calibration *, of the file
  //   type_symbols        const char **, [ntypes + 1], "X" for a NULL type
  //   type_species        int *, [ntypes + 1], index into the model's species, -1 for a NULL type
  //   force_std           double *, [nlocal]: sqrt(trace of force_covariance)
  //   force_std_raw       double *, [nlocal], without the calibration
  //   force_interval      double *, [nlocal]: no force is wrong by more, in nine cases of ten
  //   (contract.INTERVAL_LEVEL);
  //                       0 where the file states no intervals
  //   force_covariance    double *, [nlocal, 6], xx yy zz xy xz yz: the members' sample covariance, calibrated, and a
  //                       third of what is added for the distance, squared, on its diagonal
  //   force_mean          double *, [nlocal, 3]
  //   aleatoric_std       double *, [nlocal]: sqrt(trace of aleatoric_covariance)
  //   aleatoric_covariance   double *, [nlocal, 6], force noise of the labels, which a noise head tells, or the file
  //                       states for the species
  //   energy_noise        double *, [nlocal], variances that sum to the total energy's; 0 without a head
  //   has_noise_head      int *
  //   member_forces       double *, [nlocal, n_members, 3]
  //   member_energies     double *, [n_members], sums over the atoms of this rank
  //   member_virials      double *, [n_members, 6], this rank's share, xx yy zz xy xz yz
  //   n_latent            int *, features of an atom, 0 where none was computed
  //   latent_atom         int *, set it to a local atom before
  //   latent              double *, [n_latent], scaled (contract.LATENT_SPACE_KEY), of that atom
  //   latent_distance     double *, [nlocal], to the nearest training atom of the species; 0 without references
  //   relative_distance   double *, [nlocal], above 1 where an atom is outside of the training data
  //                       (contract.LATENT_FARTHEST)
  //   outside_std         double *, [nlocal], 0 inside of the training data (contract.LATENT_REACH)
  //   has_latent_references   int *
  // All but the calibration is of the last computation with the flag set. extract_peratom() gives force_std,
  // force_interval, aleatoric_std, latent_distance and relative_distance (a column), force_mean (3), force_covariance
  // and aleatoric_covariance (6), or null at a step that did not compute them; each has a flag of its name for
  // `fix pair ... name 1`.
  void *extract(const char *, int &) override;
  void *extract_peratom(const char *, int &) override;
  double memory_usage() override;

 private:
  // Keeps the libtorch side, and what one force computation needs, out of this header.
  class Stream;
  struct State;
  std::unique_ptr<State> state;

  void parse_keyword(const std::string &, char *);
  void parse_driver(int, int, char **);
  void allocate();
  std::string load_model(const std::string &);
  std::string wrong_checksum(const std::string &) const;
  std::string read_text(FILE *);
  void report_model() const;
  void map_types(const std::vector<std::string> &);
  std::string device_of_rank() const;
  void choose_units();
  void choose_ghosts();
  void check_neighbours() const;
  void warn_of_exclusions() const;
  void warn_of_null_types() const;
  void warn_of_other_masses() const;
  void warn_of_unseen_stress();
  bigint count_modelled(int) const;
  void learn_list();
  void find_owners();
  std::vector<int> modelled_atoms() const;
  void begin_graph();
  void build_graph();
  void add_edges(int, int, mollifield::Edges &);
  int node_of(int);
  void connect_ghosts();
  void count_work();
  void evaluate(bool);
  mollifield::Evaluation run(const mollifield::Potential &, mollifield::Request, int);
  bool edges_are_resident() const;
  bool graph_holds();
  void make_resident();
  mollifield::Evaluation run_resident(const mollifield::Potential &, const mollifield::Request &);
  void take_nodes(int, const double *, const double *);
  void require_distances();
  [[noreturn]] void fail_on_this_rank(const std::string &) const;
  void follow_driver();
  void tally_energies();
  void take_edges(const mollifield::Edges &, int, const double *);
  void take_moments(const mollifield::Edges &, int, const double *);
  double weight_of(int) const;
  void tally_virial(int, int, const double *, const double *, double);
  void tally_centroid(int, const double *, const double *, double);
  void take_member(const mollifield::Edges &, int, const double *);
  void clear_members();
  void communicate_members();
  void reduce_members();
  void reduce_noise();
  void reduce_latent();
  void read_latent(std::size_t, std::vector<double> &) const;
  double *latent_row();
};

}  // namespace LAMMPS_NS

#endif
