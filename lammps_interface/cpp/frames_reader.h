// What a frames file holds: frames of fix mollifield/uncertainty, and where they end.
#ifndef LMP_MOLLIFIELD_FRAMES_READER_H
#define LMP_MOLLIFIELD_FRAMES_READER_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace LAMMPS_NS {

// Columns of a frame, in the words of its header: by these a frame is known to be one of the fix.
inline constexpr std::string_view FRAME_COLUMNS =
    "Properties=species:S:1:pos:R:3:tag:I:1:forces_mean:R:3:force_std:R:1:force_covariance_trace:R:1:"
    "latent_distance:R:1:aleatoric_std:R:1";
// Of frames that earlier releases wrote.
inline constexpr std::string_view EARLIER_FRAME_COLUMNS = FRAME_COLUMNS.substr(0, FRAME_COLUMNS.rfind(":aleatoric"));

// From the beginning of an open file, frame by frame. A file may be large, its lines are not.
class FramesReader {
 public:
  explicit FramesReader(int descriptor) : descriptor(descriptor), buffer(1 << 16) {}

  // Whether another whole frame follows. If not, the file ends there, or in a torn frame, or goes on with what no run
  // of the fix can have written.
  bool next();

  std::int64_t end() const { return whole; }       // of the last whole frame, in bytes
  std::int64_t step() const { return last_step; }  // of that frame
  std::int64_t n_frames() const { return n_whole; }
  bool is_torn() const { return torn; }
  bool is_foreign() const { return !foreign.empty(); }
  const std::string &where() const { return foreign; }  // "line 3 ('...')"

 private:
  const int descriptor;
  std::vector<char> buffer;
  std::size_t begin = 0, filled = 0;  // of what is buffered and not yet read
  std::int64_t offset = 0;            // in the file, of what is not yet buffered
  std::int64_t whole = 0, last_step = 0, n_whole = 0, line = 0;
  bool at_end = false, torn = false;
  std::string foreign;

  std::string_view next_line();
  bool refuse(std::string_view text);
};

}  // namespace LAMMPS_NS

#endif
