#include "fix_mollifield_frames_file.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace LAMMPS_NS;

namespace {

int open_for_writing(const std::string &path)
{
  return open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
}

}    // namespace

FramesFile::~FramesFile()
{
  if (descriptor >= 0) close(descriptor);
}

int FramesFile::probe(const std::string &path)
{
  const int found = open_for_writing(path);
  if (found < 0) return errno;
  close(found);
  return 0;
}

std::int64_t FramesFile::size(const std::string &path)
{
  struct stat status;
  return stat(path.c_str(), &status) == 0 ? status.st_size : 0;
}

std::int64_t FramesFile::whole_frames(const std::string &path)
{
  std::ifstream file(path, std::ios::binary);
  std::string line;
  std::int64_t whole = 0;
  while (std::getline(file, line) && !file.eof()) {
    char *rest = nullptr;
    const long n_atoms = strtol(line.c_str(), &rest, 10);
    if (rest == line.c_str() || n_atoms < 0) break;
    // A line counts with its end only: getline() meets the end of the file in an unfinished one.
    for (long k = 0; k <= n_atoms && file && !file.eof(); k++) std::getline(file, line);
    if (!file || file.eof()) break;
    whole = file.tellg();
  }
  return whole;
}

int FramesFile::open(const std::string &path, std::int64_t keep)
{
  descriptor = open_for_writing(path);
  if (descriptor < 0) return errno;
  struct stat status;
  if (fstat(descriptor, &status) != 0) return errno;
  written = keep;
  // A device or a pipe has no length and no position.
  if (!S_ISREG(status.st_mode)) return 0;
  if (ftruncate(descriptor, keep) != 0 || lseek(descriptor, keep, SEEK_SET) < 0) return errno;
  return 0;
}

int FramesFile::append(const std::string &text)
{
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = write(descriptor, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int code = count < 0 ? errno : EIO;
      // Readers of what was saved so far should not stumble over the rest of this frame.
      if (ftruncate(descriptor, written) == 0) lseek(descriptor, written, SEEK_SET);
      return code;
    }
    done += static_cast<std::size_t>(count);
  }
  written += static_cast<std::int64_t>(text.size());
  return 0;
}
