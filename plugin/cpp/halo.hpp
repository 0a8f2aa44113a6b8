// How processes that share a system exchange features of their atoms between layers. Plain C++, no torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mollifield {

// Rows are opaque bytes of one size, one row an atom. The local atoms that others ask for are in `asked()`; the rows of
// ghosts come in the order of the ghosts in the graph. Every process makes the same sequence of calls; one that
// neither asks for rows nor is asked for any may leave them out.
class Halo {
 public:
  virtual ~Halo() = default;

  // Nodes below Graph::n_local, one for each row that another process asks for, in the order of the rows below.
  virtual const std::vector<std::int64_t> &asked() const = 0;

  // `asked_rows` [asked().size(), row_bytes] go out, `ghost_rows` [n_atoms - n_local, row_bytes] come in.
  virtual void forward(const void *asked_rows, void *ghost_rows, std::size_t row_bytes) = 0;

  // The way back: `ghost_rows` go to their owners, which receive them in `asked_rows` and add them up.
  virtual void reverse(const void *ghost_rows, void *asked_rows, std::size_t row_bytes) = 0;
};

}  // namespace mollifield
