// The file that frames are appended to, whole or not at all, by one writer. What goes wrong is said in words that
// follow "file 'name'"; nothing said means that it went well.
#ifndef LMP_MOLLIFIELD_FRAMES_FILE_H
#define LMP_MOLLIFIELD_FRAMES_FILE_H

#include "frames_reader.h"

#include <cstdint>
#include <string>

namespace LAMMPS_NS {

class FramesFile {
 public:
  FramesFile() = default;
  ~FramesFile();
  FramesFile(const FramesFile &) = delete;
  FramesFile &operator=(const FramesFile &) = delete;

  // A device or a pipe: it has no length, and names that are made from its own are no devices.
  static bool is_special(const std::string &path);

  // Opens the file, made if missing, and locks it for as long as this process, or this object, lives. What it holds is
  // left alone.
  std::string claim(const std::string &path);
  bool is_regular() const { return regular; }
  // Why the file system locks nothing, where that is so.
  const std::string &lock_problem() const { return not_locked; }
  // Whether this path, or the claimed one, leads to the file.
  bool is_at(const std::string &path) const;
  bool is_in_place() const { return is_at(claimed); }
  std::int64_t size() const;
  FramesReader reader() const { return FramesReader(descriptor); }

  // Go on behind the first `end` bytes; what follows them goes.
  std::string go_on(std::int64_t end);
  int append(const std::string &text);  // 0 or an errno

  std::int64_t end() const { return written; }

 private:
  int descriptor = -1;
  bool regular = false;
  std::string claimed, not_locked;
  std::int64_t written = 0;

  std::string lock();
};

}  // namespace LAMMPS_NS

#endif
