#include "frames_reader.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace LAMMPS_NS;

namespace {

constexpr std::string_view DIGITS = "0123456789";
constexpr std::string_view NUMBER = "+-.0123456789aefin";  // with the letters of nan, inf and 1e-5
constexpr std::string_view LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view KEY = "abcdefghijklmnopqrstuvwxyz_";
constexpr std::size_t SHOWN = 40;  // characters of a foreign line in messages

// Goes along a line. What it has not begun to miss when the text ends is a beginning of what was looked for.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest(text) {}

  bool failed() const { return is_failed; }
  bool done() const { return is_failed || rest.empty(); }
  char ahead() const { return rest.empty() ? '\0' : rest.front(); }

  void literal(std::string_view expected)
  {
    if (is_failed) return;
    const std::size_t n = std::min(expected.size(), rest.size());
    is_failed = rest.substr(0, n) != expected.substr(0, n);
    rest.remove_prefix(n);
  }
  // One of these characters, or more.
  std::string_view word(std::string_view allowed)
  {
    return take(std::min(rest.find_first_not_of(allowed), rest.size()));
  }
  std::string_view word_without(std::string_view ends) { return take(std::min(rest.find_first_of(ends), rest.size())); }
  void words(int n, std::string_view allowed)
  {
    for (int k = 0; k < n; k++) {
      if (k > 0) literal(" ");
      word(allowed);
    }
  }

 private:
  std::string_view rest;
  bool is_failed = false;

  std::string_view take(std::size_t n)
  {
    if (done()) return {};
    is_failed = n == 0;
    const std::string_view taken = rest.substr(0, n);
    rest.remove_prefix(n);
    return taken;
  }
};

std::int64_t integer(std::string_view digits)
{
  return std::min<std::int64_t>(strtoll(std::string(digits).c_str(), nullptr, 10), INT64_MAX / 2);
}

struct Frame {
  std::int64_t n_atoms = 0, step = 0;
  int n_numbers = 10;  // of an atom
};

void match_header(Cursor &cursor, Frame &frame)
{
  cursor.literal("Lattice=\"");
  cursor.words(9, NUMBER);
  cursor.literal("\" Origin=\"");
  cursor.words(3, NUMBER);
  cursor.literal("\" pbc=\"");
  cursor.words(3, "TF");
  cursor.literal("\" ");
  cursor.literal(EARLIER_FRAME_COLUMNS);
  if (cursor.ahead() == ':') {
    cursor.literal(FRAME_COLUMNS.substr(EARLIER_FRAME_COLUMNS.size()));
    frame.n_numbers = 11;
  }
  cursor.literal(" step=");
  frame.step = integer(cursor.word("-0123456789"));  // those of a rerun may be negative
  // Other releases may say more or less of a frame.
  while (!cursor.done() && cursor.ahead() == ' ') {
    cursor.literal(" ");
    cursor.word(KEY);
    cursor.literal("=");
    cursor.word_without(" \n");
  }
}

// Line k of a frame.
void match(Cursor &cursor, std::int64_t k, Frame &frame)
{
  if (k == 0) {
    frame.n_atoms = integer(cursor.word(DIGITS));
  } else if (k == 1) {
    match_header(cursor, frame);
  } else {
    cursor.word(LETTERS);
    cursor.literal(" ");
    cursor.words(frame.n_numbers, NUMBER);
  }
  cursor.literal("\n");
}

}  // namespace

// With its end. Without one it is the beginning of a line: where the file ends, cannot be read, or has a line that is
// longer than any of ours.
std::string_view FramesReader::next_line()
{
  for (;;) {
    const char *const from = buffer.data() + begin;
    if (const void *const found = memchr(from, '\n', filled - begin)) {
      const std::size_t size = static_cast<const char *>(found) - from + 1;
      begin += size;
      return {from, size};
    }
    memmove(buffer.data(), from, filled - begin);
    filled -= begin;
    begin = 0;
    const std::size_t space = buffer.size() - filled;
    const ssize_t count = pread(descriptor, buffer.data() + filled, space, offset);
    if (count <= 0) {
      at_end = space > 0 && count == 0;
      begin = filled;
      return {buffer.data(), filled};
    }
    filled += count;
    offset += count;
  }
}

bool FramesReader::refuse(std::string_view text)
{
  std::string shown(text.substr(0, SHOWN));
  if (!shown.empty() && shown.back() == '\n') shown.pop_back();
  for (char &c : shown)
    if (!isprint(static_cast<unsigned char>(c))) c = '?';
  foreign = "line " + std::to_string(line) + " ('" + shown + (text.size() > SHOWN ? "...')" : "')");
  return false;
}

bool FramesReader::next()
{
  Frame frame;
  std::int64_t size = 0;
  for (std::int64_t k = 0; k < frame.n_atoms + 2; k++) {
    const std::string_view text = next_line();
    if (k == 0 && text.empty() && at_end) return false;
    line++;
    Cursor cursor(text);
    match(cursor, k, frame);
    if (cursor.failed()) return refuse(text);
    if (text.empty() || text.back() != '\n') {
      // A number that stands alone in a file may be anybody's. A torn frame follows a whole one, or says its columns.
      torn = at_end && (n_whole > 0 || k > 1);
      return torn ? false : refuse(text);
    }
    size += static_cast<std::int64_t>(text.size());
  }
  whole += size;
  last_step = frame.step;
  n_whole++;
  return true;
}
