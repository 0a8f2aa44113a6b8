#include "implementation.hpp"

namespace mollifield::operators::reference {

at::Tensor dense_coupling(const CouplingTable &table, const at::Tensor &like)
{
  at::Tensor dense = at::zeros({table.n_rows, table.n_in, table.n_edge}, at::kDouble);
  auto entries = dense.accessor<double, 3>();
  for (int r = 0; r < table.n_rows; ++r)
    for (int q = table.row_begin[r]; q < table.row_begin[r + 1]; ++q)
      for (int t = table.pair_begin[q]; t < table.pair_begin[q + 1]; ++t)
        entries[r][table.pair_in[q]][table.term_edge[t]] += table.coefficient[t];
  return dense.to(like.options());
}

const Implementation &implementation()
{
  static const Implementation all = {convolution(),   channel_product(), linear(), gate(),
                                     edge_geometry(), interpolation(),   {}};
  return all;
}

}  // namespace mollifield::operators::reference
