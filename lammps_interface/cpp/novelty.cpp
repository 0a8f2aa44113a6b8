#include "novelty.h"

#include "atom.h"
#include "comm.h"
#include "restart_bytes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

using namespace LAMMPS_NS;

bool Novelty::admits(tagint tag, const Committee &committee)
{
  if (distance == 0.0) return true;
  Environment environment = environment_of(tag, committee);
  if (!is_new(environment, committee)) return false;
  remembered.push_back(std::move(environment));
  return true;
}

// On all ranks.
Novelty::Environment Novelty::environment_of(tagint tag, const Committee &committee) const
{
  int local = -1;
  for (int i = 0; i < atom->nlocal; i++)
    if (atom->tag[i] == tag) local = i;
  const int mine = local >= 0 ? comm->me : -1;
  int owner, shape[2] = {0, 0};
  MPI_Allreduce(&mine, &owner, 1, MPI_INT, MPI_MAX, world);
  if (comm->me == owner) {
    shape[0] = atom->type[local];
    shape[1] = *committee.read<int>("n_latent");
  }
  MPI_Bcast(shape, 2, MPI_INT, owner, world);
  Environment found;
  found.type = shape[0];
  found.latent.resize(shape[1]);
  if (comm->me == owner) {
    *committee.read<int>("latent_atom") = local;
    std::copy_n(committee.read<double>("latent"), shape[1], found.latent.begin());
  }
  MPI_Bcast(found.latent.data(), shape[1], MPI_DOUBLE, owner, world);
  return found;
}

bool Novelty::is_new(const Environment &found, const Committee &committee) const
{
  for (const auto &known : remembered) {
    // Two types may be one element; another model's features, from a restart file, say nothing here.
    if (strcmp(committee.symbol(known.type), committee.symbol(found.type)) != 0) continue;
    if (known.latent.size() != found.latent.size()) continue;
    double squares = 0.0;
    for (std::size_t k = 0; k < known.latent.size(); k++) {
      const double difference = known.latent[k] - found.latent[k];
      squares += difference * difference;
    }
    if (std::sqrt(squares) < distance) return false;
  }
  return true;
}

void Novelty::write(std::string &bytes) const
{
  for (const auto &environment : remembered) {
    put(bytes, environment.type);
    put(bytes, static_cast<int>(environment.latent.size()));
    for (const double feature : environment.latent) put(bytes, feature);
  }
}

void Novelty::read(const char *from, bigint size)
{
  remembered.resize(size);
  for (auto &environment : remembered) {
    environment.type = take<int>(from);
    environment.latent.resize(take<int>(from));
    for (double &feature : environment.latent) feature = take<double>(from);
  }
}

std::size_t Novelty::n_doubles() const
{
  std::size_t n = 0;
  for (const auto &environment : remembered) n += environment.latent.capacity();
  return n;
}
