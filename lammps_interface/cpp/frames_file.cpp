#include "frames_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace LAMMPS_NS;

namespace {

std::string not_writable(int code) { return std::string("cannot be written: ") + strerror(code); }

}  // namespace

FramesFile::~FramesFile()
{
  if (descriptor >= 0) close(descriptor);
}

bool FramesFile::is_special(const std::string &path)
{
  struct stat status;
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}

std::string FramesFile::claim(const std::string &path)
{
  std::error_code ignored;
  claimed = std::filesystem::absolute(path, ignored).string();  // the input may change the directory later
  // Without O_NONBLOCK the opening of a pipe would wait for a reader.
  const int how = is_special(path) ? O_WRONLY | O_NONBLOCK | O_NOCTTY : O_RDWR | O_CREAT;
  descriptor = open(path.c_str(), how | O_CLOEXEC, 0666);
  if (descriptor < 0) return errno == ENXIO ? "cannot be written: nobody reads from it" : not_writable(errno);
  struct stat status;
  if (fstat(descriptor, &status) != 0) return not_writable(errno);
  regular = S_ISREG(status.st_mode);
  if (how & O_NONBLOCK) fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK);
  return S_ISCHR(status.st_mode) ? "" : lock();
}

// flock() excludes: its lock lasts as long as the descriptor, also against this very process. The other kind of lock,
// of the process, is only there to tell who it is.
std::string FramesFile::lock()
{
  struct flock name = {};
  name.l_type = F_WRLCK;
  name.l_whence = SEEK_SET;
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
    fcntl(descriptor, F_SETLK, &name);
    return {};
  }
  if (errno != EWOULDBLOCK) {
    not_locked = strerror(errno);
    return {};
  }
  const bool is_told = fcntl(descriptor, F_GETLK, &name) == 0 && name.l_type != F_UNLCK && name.l_pid > 0;
  return "is being written by " +
         (is_told ? "process " + std::to_string(name.l_pid) : "another run, in this process or on another machine") +
         "; two writers of one file lose frames: wait for the other, end it, or name another file";
}

bool FramesFile::is_at(const std::string &path) const
{
  struct stat there, here;
  return stat(path.c_str(), &there) == 0 && fstat(descriptor, &here) == 0 && there.st_dev == here.st_dev &&
         there.st_ino == here.st_ino;
}

std::int64_t FramesFile::size() const
{
  struct stat status;
  return fstat(descriptor, &status) == 0 ? status.st_size : 0;
}

std::string FramesFile::go_on(std::int64_t end)
{
  written = end;
  if (ftruncate(descriptor, end) != 0 || lseek(descriptor, end, SEEK_SET) < 0) return not_writable(errno);
  return {};
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
