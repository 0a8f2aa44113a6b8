// The frames that a fix keeps: its file, where that goes on, and when the next frame may come.
#ifndef LMP_MOLLIFIELD_FRAMES_H
#define LMP_MOLLIFIELD_FRAMES_H

#include "fix_mollifield_settings.h"
#include "frames_file.h"
#include "pointers.h"
#include "steps.h"

#include <string>

namespace LAMMPS_NS {

class Frames : protected Pointers {
 public:
  Frames(LAMMPS *, const UncertaintySettings &);

  const std::string &name() const { return path; }  // empty: nothing is kept
  bool writes_to(const std::string &other) const { return file.is_regular() && file.is_at(other); }

  // When the fix is defined; `refusal`, on rank 0: why it is not to be, if so.
  void claim(std::string refusal);
  // When its first run starts: a restart file may have asked by then for what the file holds.
  void open();

  bool may_follow(bigint step) const;                 // `max_frames` and `min_gap`
  void append(const std::string &text, bigint step);  // on rank 0 the text, whole

  bigint n_written() const { return n; }
  bigint last_step() const { return last_written; }
  bigint end() const { return is_open ? file.end() : resumed_end; }
  void resume(bigint n_written, bigint last_step, bigint end, const std::string &name);
  void shift(bigint by) { shift_step(last_written, by); }
  void forget_last_step() { last_written = NEVER; }

 private:
  std::string path;
  const bool appends;
  const bigint max_frames, min_gap;

  FramesFile file;  // rank 0
  bool is_open = false;
  std::string resumed_file;
  bigint resumed_end = -1;
  bigint n = 0, last_written = NEVER;

  void number();
  void check(std::string refusal);
  std::string find_end();
};

}  // namespace LAMMPS_NS

#endif
