// What a resumed run has to know to go on as if it had never stopped.
#include "fix_mollifield_uncertainty.h"

#include "comm.h"
#include "error.h"
#include "update.h"

#include <cstring>

using namespace LAMMPS_NS;

namespace {

constexpr bigint VERSION = 2;

struct Header {
  bigint version, n_written, last_written, ramp_start, step, end, name_size, n_environments;
};

template <typename T> void put(std::string &bytes, const T &value)
{
  bytes.append(reinterpret_cast<const char *>(&value), sizeof(T));
}

template <typename T> T take(const char *&from)
{
  T value;
  memcpy(&value, from, sizeof(T));
  from += sizeof(T);
  return value;
}

}    // namespace

void FixMollifieldUncertainty::write_restart(FILE *file)
{
  if (comm->me != 0) return;
  std::string bytes;
  const bigint step = run_ended == NEVER ? update->ntimestep : run_ended;
  put(bytes, Header{VERSION, n_written, last_written, ramp_start, step, file_ready ? frames.end() : resumed_end,
                    static_cast<bigint>(settings.file.size()), static_cast<bigint>(written_environments.size())});
  bytes += settings.file;
  for (const auto &environment : written_environments) {
    put(bytes, environment.type);
    put(bytes, static_cast<int>(environment.latent.size()));
    for (const double feature : environment.latent) put(bytes, feature);
  }
  const int size = static_cast<int>(bytes.size());
  fwrite(&size, sizeof(int), 1, file);
  fwrite(bytes.data(), 1, bytes.size(), file);
}

void FixMollifieldUncertainty::restart(char *bytes)
{
  const char *from = bytes;
  // Another version's header may have another size.
  bigint version;
  memcpy(&version, bytes, sizeof(version));
  if (version != VERSION)
    error->all(FLERR, "Fix mollifield/uncertainty: its state in the restart file has version {}, this build reads {}; "
                      "with an ID other than {} it starts anew", version, VERSION, id);
  const auto header = take<Header>(from);
  n_written = header.n_written;
  last_written = header.last_written;
  ramp_start = header.ramp_start;
  run_ended = header.step;
  resumed_end = header.end;
  resumed_file.assign(from, header.name_size);
  from += header.name_size;
  written_environments.resize(header.n_environments);
  for (auto &environment : written_environments) {
    environment.type = take<int>(from);
    environment.latent.resize(take<int>(from));
    for (double &feature : environment.latent) feature = take<double>(from);
  }
}
