#include "coupling.hpp"

#include <c10/util/hash.h>

#include <algorithm>

#include "remembered.hpp"

namespace mollifield::operators {

CouplingTable::CouplingTable(const at::Tensor &terms, const at::Tensor &coefficients)
{
  TORCH_CHECK_VALUE(terms.dim() == 2 && terms.size(1) == 4 && terms.scalar_type() == at::kLong, "terms: found ",
                    terms.sizes(), " ", terms.scalar_type(), "; allowed is [T, 4] int64");
  TORCH_CHECK_VALUE(coefficients.dim() == 1 && coefficients.size(0) == terms.size(0), "coefficients: found ",
                    coefficients.sizes(), "; allowed is [", terms.size(0), "]");
  const at::Tensor host = terms.cpu().contiguous();
  const at::Tensor values = coefficients.to(at::kCPU, at::kDouble).contiguous();
  const std::int64_t *term = host.data_ptr<std::int64_t>();
  const double *value = values.data_ptr<double>();
  for (std::int64_t t = 0; t < host.size(0); ++t, term += 4) {
    const int row = term[0], path = term[1], in = term[2], edge = term[3];
    const bool new_row = row == n_rows, same_row = row == n_rows - 1;
    TORCH_CHECK_VALUE(new_row || (same_row && in >= pair_in.back() && path == row_path.back()),
                      "terms must be sorted by row and feature component; term ", t, " is out of order");
    TORCH_CHECK_VALUE(path >= 0 && in >= 0 && edge >= 0, "terms: negative entry in term ", t);
    if (new_row) {
      row_path.push_back(path);
      row_begin.push_back(static_cast<int>(pair_in.size()));
      ++n_rows;
    }
    if (new_row || in != pair_in.back()) {
      pair_in.push_back(in);
      pair_begin.push_back(static_cast<int>(term_edge.size()));
    }
    term_edge.push_back(edge);
    coefficient.push_back(value[t]);
    n_paths = std::max(n_paths, path + 1);
    n_in = std::max(n_in, in + 1);
    n_edge = std::max(n_edge, edge + 1);
  }
  row_begin.push_back(static_cast<int>(pair_in.size()));
  pair_begin.push_back(static_cast<int>(term_edge.size()));
  const auto bytes = [](const at::Tensor &of) {
    return std::string(static_cast<const char *>(of.const_data_ptr()), of.nbytes());
  };
  digest = c10::sha1(bytes(host) + bytes(values)).str();
}

std::shared_ptr<const CouplingTable> coupling_table(const at::Tensor &terms, const at::Tensor &coefficients)
{
  static Remembered<CouplingTable> tables(64);
  return tables.get({terms, coefficients}, 0, [&] { return CouplingTable(terms, coefficients); });
}

}  // namespace mollifield::operators
