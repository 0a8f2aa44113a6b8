// Rows of features between the ranks of one LAMMPS world, for mollifield::Potential.
#ifndef LMP_HALO_EXCHANGE_H
#define LMP_HALO_EXCHANGE_H

#include "halo.hpp"

#include <mpi.h>

#include <functional>

namespace LAMMPS_NS {

// LAMMPS's own forward communication carries every ghost within the cutoff and the skin, and every image of it, to each
// rank. Features are hundreds of numbers an atom, so they go straight from the owner to those who have an edge to
// the atom, once.
class HaloExchange : public mollifield::Halo {
 public:
  // An atom, by the rank that owns it and its local index there.
  struct Home {
    int rank, index;
    bool operator<(const Home &other) const { return rank != other.rank ? rank < other.rank : index < other.index; }
    bool operator==(const Home &other) const { return rank == other.rank && index == other.index; }
  };

  // What this rank sent, and collectives it took part in.
  struct Traffic {
    double messages = 0.0, bytes = 0.0, collectives = 0.0;
  };

  // Messages of one pair style have a communicator of their own, so that another's never pass for them. Collective.
  explicit HaloExchange(MPI_Comm world);
  ~HaloExchange() override;
  HaloExchange(const HaloExchange &) = delete;
  HaloExchange &operator=(const HaloExchange &) = delete;

  // From here on this rank may ask `owners`, ascending, and those that named this one may ask it. Collective; until
  // atoms change hands, all that follows is between these.
  void meet(const std::vector<int> &owners);

  // Whether any rank says so. Collective.
  bool any(bool here);

  // Tells the owners what is asked of them. `ghosts`: the home of each ghost of the graph, in order, ranks ascending,
  // all of them met. `node`: the node of a local atom.
  void ask(const std::vector<Home> &ghosts, const std::function<int(int)> &node);

  Traffic traffic;

  const std::vector<std::int64_t> &asked() const override { return asked_nodes; }
  void forward(const void *, void *, std::size_t) override;
  void reverse(const void *, void *, std::size_t) override;

 private:
  struct Partner {
    int rank, n_rows;
  };
  MPI_Comm world;
  int n_meetings = 0;
  std::vector<Partner> givers, takers;  // of ghosts' rows to this rank; of this rank's rows
  std::vector<std::int64_t> asked_nodes;

  void send(const void *, int count, MPI_Datatype, std::size_t size, int rank, int tag, MPI_Request *);
  void move(const void *, const std::vector<Partner> &, void *, const std::vector<Partner> &, std::size_t);
};

}  // namespace LAMMPS_NS

#endif
