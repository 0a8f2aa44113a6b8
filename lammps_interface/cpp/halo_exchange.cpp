#include "halo_exchange.h"

using namespace LAMMPS_NS;

void HaloExchange::connect(const std::vector<Home> &ghosts, const std::function<int(int)> &node)
{
  int n_ranks;
  MPI_Comm_size(world, &n_ranks);
  std::vector<int> n_given(n_ranks, 0), n_taken(n_ranks, 0), indices;
  for (const Home &home : ghosts) {
    n_given[home.rank]++;
    indices.push_back(home.index);
  }
  MPI_Alltoall(n_given.data(), 1, MPI_INT, n_taken.data(), 1, MPI_INT, world);
  givers.clear();
  takers.clear();
  std::size_t n_asked = 0;
  for (int rank = 0; rank < n_ranks; rank++) {
    if (n_given[rank] > 0) givers.push_back({rank, n_given[rank]});
    if (n_taken[rank] > 0) takers.push_back({rank, n_taken[rank]});
    n_asked += n_taken[rank];
  }
  std::vector<int> asked_atoms(n_asked);
  reverse(indices.data(), asked_atoms.data(), sizeof(int));
  asked_nodes.clear();
  for (const int atom : asked_atoms) asked_nodes.push_back(node(atom));
}

void HaloExchange::forward(const void *asked_rows, void *ghost_rows, std::size_t row_bytes)
{
  move(asked_rows, takers, ghost_rows, givers, row_bytes);
}

void HaloExchange::reverse(const void *ghost_rows, void *asked_rows, std::size_t row_bytes)
{
  move(ghost_rows, givers, asked_rows, takers, row_bytes);
}

void HaloExchange::move(const void *out, const std::vector<Partner> &to, void *in, const std::vector<Partner> &from,
                        std::size_t row_bytes)
{
  // A row as the unit, because counts are int and all rows together may have more bytes than that.
  MPI_Datatype row;
  MPI_Type_contiguous(static_cast<int>(row_bytes), MPI_BYTE, &row);
  MPI_Type_commit(&row);
  std::vector<MPI_Request> requests;
  auto *const in_bytes = static_cast<char *>(in);
  std::size_t first = 0;
  for (const Partner &partner : from) {
    MPI_Irecv(in_bytes + first * row_bytes, partner.n_rows, row, partner.rank, 0, world, &requests.emplace_back());
    first += partner.n_rows;
  }
  const auto *const out_bytes = static_cast<const char *>(out);
  first = 0;
  for (const Partner &partner : to) {
    MPI_Isend(out_bytes + first * row_bytes, partner.n_rows, row, partner.rank, 0, world, &requests.emplace_back());
    first += partner.n_rows;
  }
  MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  MPI_Type_free(&row);
}
