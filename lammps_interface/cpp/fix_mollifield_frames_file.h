// The file that frames are appended to, whole or not at all. Functions return 0 or an errno.
#ifndef LMP_FIX_MOLLIFIELD_FRAMES_FILE_H
#define LMP_FIX_MOLLIFIELD_FRAMES_FILE_H

#include <cstdint>
#include <string>

namespace LAMMPS_NS {

class FramesFile {
 public:
  FramesFile() = default;
  ~FramesFile();
  FramesFile(const FramesFile &) = delete;
  FramesFile &operator=(const FramesFile &) = delete;

  // Whether `path` can be written; it exists afterwards, what it holds is left alone.
  static int probe(const std::string &path);
  // Bytes of it that are whole frames; a killed run may leave a part of one behind them.
  static std::int64_t whole_frames(const std::string &path);
  static std::int64_t size(const std::string &path);

  // Go on behind the first `keep` bytes; what follows them goes.
  int open(const std::string &path, std::int64_t keep);
  int append(const std::string &text);

  bool is_open() const { return descriptor >= 0; }
  std::int64_t end() const { return written; }

 private:
  int descriptor = -1;
  std::int64_t written = 0;
};

}    // namespace LAMMPS_NS

#endif
