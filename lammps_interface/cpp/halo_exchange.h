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

  // A world of its own for the messages of one pair style, so that another's never pass for them. Collective.
  struct World {
    MPI_Comm comm;
    int n_exchanges = 0;  // that there were, the same number on all ranks
    explicit World(MPI_Comm world) { MPI_Comm_dup(world, &comm); }
    ~World() { MPI_Comm_free(&comm); }
    World(const World &) = delete;
    World &operator=(const World &) = delete;
  };

  explicit HaloExchange(World &its_world) : world(its_world.comm), turn(its_world.n_exchanges++) {}

  // Tells the ranks that are asked what is asked of them. Collective. `ghosts`: the home of each ghost of the graph, in
  // order, ranks ascending. `node`: the node of a local atom.
  void connect(const std::vector<Home> &ghosts, const std::function<int(int)> &node);

  const std::vector<std::int64_t> &asked() const override { return asked_nodes; }
  void forward(const void *, void *, std::size_t) override;
  void reverse(const void *, void *, std::size_t) override;

 private:
  struct Partner {
    int rank, n_rows;
  };
  MPI_Comm world;
  int turn;
  std::vector<Partner> givers, takers;  // of ghosts' rows to this rank; of this rank's rows
  std::vector<std::int64_t> asked_nodes;

  void find_takers();
  void move(const void *, const std::vector<Partner> &, void *, const std::vector<Partner> &, std::size_t);
};

}  // namespace LAMMPS_NS

#endif
