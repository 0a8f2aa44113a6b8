#include "halo_exchange.h"

#include <algorithm>

using namespace LAMMPS_NS;

namespace {

constexpr int kRows = 0;           // tag of rows; counts have those after it
constexpr int kCounts[] = {1, 2};  // in turn: a rank may be one connection ahead of another, and no more

}  // namespace

void HaloExchange::connect(const std::vector<Home> &ghosts, const std::function<int(int)> &node)
{
  std::vector<int> indices;
  givers.clear();
  for (const Home &home : ghosts) {
    if (givers.empty() || givers.back().rank != home.rank) givers.push_back({home.rank, 0});
    givers.back().n_rows++;
    indices.push_back(home.index);
  }
  find_takers();
  std::size_t n_asked = 0;
  for (const Partner &taker : takers) n_asked += taker.n_rows;
  std::vector<int> asked_atoms(n_asked);
  reverse(indices.data(), asked_atoms.data(), sizeof(int));
  asked_nodes.clear();
  for (const int atom : asked_atoms) asked_nodes.push_back(node(atom));
}

// Sparse consensus (Hoefler, Siebert, Lumsdaine, PPoPP 2010, doi:10.1145/1693453.1693476): a synchronous send ends when
// it is received, so once all ranks have reached the barrier nothing is on the way, and nobody counted all ranks.
void HaloExchange::find_takers()
{
  const int tag = kCounts[turn % 2];
  std::vector<MPI_Request> asking(givers.size(), MPI_REQUEST_NULL);
  for (std::size_t k = 0; k < givers.size(); k++)
    MPI_Issend(&givers[k].n_rows, 1, MPI_INT, givers[k].rank, tag, world, &asking[k]);
  takers.clear();
  MPI_Request barrier = MPI_REQUEST_NULL;
  for (int in_barrier = 0, done = 0; !done;) {
    int found;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, tag, world, &found, &status);
    if (found) {
      Partner &taker = takers.emplace_back(Partner{status.MPI_SOURCE, 0});
      MPI_Recv(&taker.n_rows, 1, MPI_INT, taker.rank, tag, world, MPI_STATUS_IGNORE);
    }
    if (in_barrier) {
      MPI_Test(&barrier, &done, MPI_STATUS_IGNORE);
    } else {
      MPI_Testall(static_cast<int>(asking.size()), asking.data(), &in_barrier, MPI_STATUSES_IGNORE);
      if (in_barrier) MPI_Ibarrier(world, &barrier);
    }
  }
  // As they came is as chance would have it; sums of gradients go by this order.
  std::sort(takers.begin(), takers.end(), [](const Partner &a, const Partner &b) { return a.rank < b.rank; });
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
    MPI_Irecv(in_bytes + first * row_bytes, partner.n_rows, row, partner.rank, kRows, world, &requests.emplace_back());
    first += partner.n_rows;
  }
  const auto *const out_bytes = static_cast<const char *>(out);
  first = 0;
  for (const Partner &partner : to) {
    MPI_Isend(out_bytes + first * row_bytes, partner.n_rows, row, partner.rank, kRows, world, &requests.emplace_back());
    first += partner.n_rows;
  }
  MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  MPI_Type_free(&row);
}
