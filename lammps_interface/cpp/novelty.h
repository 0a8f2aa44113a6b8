// The filter that leaves out frames whose worst atom is known already: its memory, and what it compares.
#ifndef LMP_MOLLIFIELD_NOVELTY_H
#define LMP_MOLLIFIELD_NOVELTY_H

#include "committee.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {

class Novelty : protected Pointers {
 public:
  // `distance` in latent space; 0 lets everything pass, and remembers nothing.
  Novelty(LAMMPS *lmp, double distance) : Pointers(lmp), distance(distance) {}

  // Whether the environment of this atom is new; then it is remembered.
  bool admits(tagint, const Committee &);

  // In a restart file: bytes of all that is remembered.
  bigint size() const { return static_cast<bigint>(remembered.size()); }
  void write(std::string &bytes) const;
  void read(const char *from, bigint size);

  std::size_t n_doubles() const;

 private:
  struct Environment {
    int type = 0;
    std::vector<double> latent;
  };

  const double distance;
  std::vector<Environment> remembered;

  Environment environment_of(tagint, const Committee &) const;
  bool is_new(const Environment &, const Committee &) const;
};

}  // namespace LAMMPS_NS

#endif
