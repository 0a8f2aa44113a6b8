#include "frames.h"

#include "comm.h"
#include "error.h"
#include "universe.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

using namespace LAMMPS_NS;

Frames::Frames(LAMMPS *lmp, const UncertaintySettings &settings) :
    Pointers(lmp), path(settings.file), appends(settings.append), max_frames(settings.max_frames),
    min_gap(settings.min_gap)
{
  if (!path.empty() && universe->nworlds > 1) number();
}

// Several partitions read one input: each has its own file, numbered as their log files are.
void Frames::number()
{
  int keeps_name = 0;
  if (comm->me == 0) keeps_name = FramesFile::is_special(path);
  MPI_Bcast(&keeps_name, 1, MPI_INT, 0, world);
  if (keeps_name) return;
  std::filesystem::path name = path;
  name.replace_filename(fmt::format("{}.{}{}", name.stem().string(), universe->iworld, name.extension().string()));
  path = name.string();
}

void Frames::claim(std::string refusal)
{
  if (path.empty()) return;
  if (comm->me == 0) {
    if (refusal.empty()) refusal = file.claim(path);
    if (!file.lock_problem().empty())
      error->warning(FLERR,
                     "Fix mollifield/uncertainty: file '{}' cannot be locked ({}): another run that writes it "
                     "will not be noticed",
                     path, file.lock_problem());
  }
  check(refusal);
}

void Frames::open()
{
  if (path.empty() || is_open) return;
  check(comm->me == 0 && file.is_regular() ? find_end() : "");
  is_open = true;
}

// What rank 0 found to be wrong with the file, if anything, ends all ranks.
void Frames::check(std::string refusal)
{
  int size = static_cast<int>(refusal.size());
  MPI_Bcast(&size, 1, MPI_INT, 0, world);
  if (size == 0) return;
  refusal.resize(size);
  MPI_Bcast(refusal.data(), size, MPI_CHAR, 0, world);
  error->all(FLERR, "Fix mollifield/uncertainty: file '{}' {}", path, refusal);
}

// On rank 0. Two things may be cut off: a torn last frame, and frames behind the end that a restart file recorded,
// which the run is about to write again.
std::string Frames::find_end()
{
  const bool resumes = resumed_end >= 0 && file.is_at(resumed_file);
  const bigint size = file.size();
  if (!file.is_in_place()) return "was moved or removed after the fix was defined";
  if (!resumes && !appends && size > 0)
    return fmt::format("holds {} bytes already: 'append yes' keeps its frames and goes on behind them; otherwise "
                       "remove it, or name another file",
                       size);
  if (resumes && size < resumed_end)
    return fmt::format("has {} bytes, but had {} when the restart file was written; put the frames back, or name "
                       "another file",
                       size, resumed_end);
  bigint end = 0;
  FramesReader reader = file.reader();
  while (reader.next()) {
    if (!resumes || reader.end() <= resumed_end)
      end = reader.end();
    else if (end != resumed_end)
      break;
    else if (reader.step() <= last_written)
      return fmt::format("has frame {} of step {} behind those that the restart file knows of, the last of which is of "
                         "step {}: it is of another run and would be lost; put it elsewhere, or name another file",
                         reader.n_frames(), reader.step(), last_written);
  }
  if (reader.is_foreign())
    return fmt::format("is not of this fix alone: after {} frames, {} is no part of one; put that elsewhere, or name "
                       "another file",
                       reader.n_frames(), reader.where());
  if (resumes && end != resumed_end)
    return fmt::format("has other frames than when the restart file was written: none ends after {} bytes; put them "
                       "back, or name another file",
                       resumed_end);
  if (resumes)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: goes on after frame {} of '{}'{}\n", n, path,
                   size > end ? ", what was written after the restart file is dropped" : "");
  else if (size > end)
    utils::logmesg(lmp, "Fix mollifield/uncertainty: the last frame of '{}' is torn, its {} bytes are dropped\n", path,
                   size - end);
  return file.go_on(end);
}

bool Frames::may_follow(bigint step) const
{
  if (max_frames >= 0 && n >= max_frames) return false;
  // Once a step at most (minimize looks more often).
  const bigint gap = last_written == NEVER ? -1 : step - last_written;
  return gap < 0 || gap >= std::max<bigint>(min_gap, 1);
}

void Frames::append(const std::string &text, bigint step)
{
  last_written = step;
  n++;
  int code = 0;
  if (comm->me == 0) code = file.append(text);
  MPI_Bcast(&code, 1, MPI_INT, 0, world);
  if (code)
    error->all(FLERR,
               "Fix mollifield/uncertainty: frame {} of step {} cannot be written to '{}': {}; "
               "the frames before it are whole",
               n, last_written, path, strerror(code));
}

void Frames::resume(bigint n_written, bigint last_step, bigint end, const std::string &name)
{
  n = n_written;
  last_written = last_step;
  resumed_end = end;
  resumed_file = name;
}
