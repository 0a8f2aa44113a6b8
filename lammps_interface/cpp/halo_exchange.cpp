#include "halo_exchange.h"

#include <algorithm>
#include <thread>

using namespace LAMMPS_NS;

namespace {

constexpr int kRows = 0, kAsked = 1;  // tags
constexpr int kMeetings[] = {2, 3};   // in turn: a rank may be one meeting ahead of another, and no more

}  // namespace

HaloExchange::HaloExchange(MPI_Comm all) { MPI_Comm_dup(all, &world); }

HaloExchange::~HaloExchange() { MPI_Comm_free(&world); }

// Sparse consensus (Hoefler, Siebert, Lumsdaine, PPoPP 2010, doi:10.1145/1693453.1693476): a synchronous send ends when
// it is received, so once all ranks have reached the barrier nothing is on the way, and nobody counted all ranks.
void HaloExchange::meet(const std::vector<int> &owners)
{
  const int tag = kMeetings[n_meetings++ % 2];
  givers.clear();
  takers.clear();
  for (const int rank : owners) givers.push_back({rank, 0});
  std::vector<MPI_Request> greetings(givers.size(), MPI_REQUEST_NULL);
  for (std::size_t k = 0; k < givers.size(); k++)
    MPI_Issend(nullptr, 0, MPI_INT, givers[k].rank, tag, world, &greetings[k]);
  traffic.messages += static_cast<double>(givers.size());
  traffic.collectives++;
  MPI_Request barrier = MPI_REQUEST_NULL;
  for (int in_barrier = 0, done = 0; !done;) {
    int found;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, tag, world, &found, &status);
    if (found) {
      takers.push_back({status.MPI_SOURCE, 0});
      MPI_Recv(nullptr, 0, MPI_INT, status.MPI_SOURCE, tag, world, MPI_STATUS_IGNORE);
    } else {
      std::this_thread::yield();  // ranks may share a core
    }
    if (in_barrier) {
      MPI_Test(&barrier, &done, MPI_STATUS_IGNORE);
    } else {
      MPI_Testall(static_cast<int>(greetings.size()), greetings.data(), &in_barrier, MPI_STATUSES_IGNORE);
      if (in_barrier) MPI_Ibarrier(world, &barrier);
    }
  }
  // As they came is as chance would have it; sums of gradients go by this order.
  std::sort(takers.begin(), takers.end(), [](const Partner &a, const Partner &b) { return a.rank < b.rank; });
}

bool HaloExchange::any(bool here)
{
  int mine = here, found;
  MPI_Allreduce(&mine, &found, 1, MPI_INT, MPI_MAX, world);
  traffic.collectives++;
  return found;
}

void HaloExchange::ask(const std::vector<Home> &ghosts, const std::function<int(int)> &node)
{
  std::vector<int> indices;
  for (const Home &home : ghosts) indices.push_back(home.index);
  std::vector<MPI_Request> requests(givers.size());
  std::size_t first = 0, end = 0;
  for (std::size_t k = 0; k < givers.size(); k++, first = end) {
    while (end < ghosts.size() && ghosts[end].rank == givers[k].rank) end++;
    givers[k].n_rows = static_cast<int>(end - first);
    send(indices.data() + first, givers[k].n_rows, MPI_INT, sizeof(int), givers[k].rank, kAsked, &requests[k]);
  }
  asked_nodes.clear();
  std::vector<int> atoms;
  for (Partner &taker : takers) {
    MPI_Status status;
    MPI_Probe(taker.rank, kAsked, world, &status);
    MPI_Get_count(&status, MPI_INT, &taker.n_rows);
    atoms.resize(taker.n_rows);
    MPI_Recv(atoms.data(), taker.n_rows, MPI_INT, taker.rank, kAsked, world, MPI_STATUS_IGNORE);
    for (const int atom : atoms) asked_nodes.push_back(node(atom));
  }
  MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
}

void HaloExchange::forward(const void *asked_rows, void *ghost_rows, std::size_t row_bytes)
{
  move(asked_rows, takers, ghost_rows, givers, row_bytes);
}

void HaloExchange::reverse(const void *ghost_rows, void *asked_rows, std::size_t row_bytes)
{
  move(ghost_rows, givers, asked_rows, takers, row_bytes);
}

void HaloExchange::send(const void *values, int count, MPI_Datatype type, std::size_t size, int rank, int tag,
                        MPI_Request *request)
{
  MPI_Isend(values, count, type, rank, tag, world, request);
  traffic.messages++;
  traffic.bytes += static_cast<double>(count) * static_cast<double>(size);
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
    if (partner.n_rows == 0) continue;
    MPI_Irecv(in_bytes + first * row_bytes, partner.n_rows, row, partner.rank, kRows, world, &requests.emplace_back());
    first += partner.n_rows;
  }
  const auto *const out_bytes = static_cast<const char *>(out);
  first = 0;
  for (const Partner &partner : to) {
    if (partner.n_rows == 0) continue;
    send(out_bytes + first * row_bytes, partner.n_rows, row, row_bytes, partner.rank, kRows, &requests.emplace_back());
    first += partner.n_rows;
  }
  MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  MPI_Type_free(&row);
}
