// Products of node features: shapes in operators/product.cpp. A thread owns a channel of an atom: it reads that of both
// factors once, and writes every row once.

#include "implementation_parts.hpp"
#include "programs.hpp"
#include "source.hpp"

namespace mollifield::operators::cuda {
namespace {

using at::Tensor;

std::string rows_of(const char *name, const char *type, int n_components)
{
  std::string text = c10::str(type, "*const ", name, "_ = ", name, " + row * ", n_components, " * C + c;\n");
  return text;
}

std::string loads(const char *name, int n_components)
{
  std::string text = rows_of(name, "const T ", n_components);
  for (int k = 0; k < n_components; ++k)
    text += c10::str("const T ", name, k, " = __ldg(", name, "_ + ", k, " * C);\n");
  return text;
}

// Of pair q, the second factor's part: sum of coefficients times its components.
std::string inner(const CouplingTable &table, int q)
{
  std::string text;
  for (int t = table.pair_begin[q]; t < table.pair_begin[q + 1]; ++t)
    text += c10::str(text.empty() ? "" : " + ", number(table.coefficient[t]), " * b", table.term_edge[t]);
  return text;
}

std::string forward_source(const CouplingTable &table, at::ScalarType dtype, std::int64_t n_channels)
{
  std::string text = beginning(dtype, n_channels);
  text += head("channel_product", kThreads, "i64 n_rows, const T *a, const T *b, T *out") + kEachRowAndChannel;
  text += loads("a", table.n_in) + loads("b", table.n_edge) + rows_of("out", "T ", table.n_rows);
  for (int r = 0; r < table.n_rows; ++r) {
    text += c10::str("out_[", r, " * C] = ");
    for (int q = table.row_begin[r]; q < table.row_begin[r + 1]; ++q)
      text += c10::str(q == table.row_begin[r] ? "" : " + ", "a", table.pair_in[q], " * (", inner(table, q), ")");
    text += ";\n";
  }
  return text + kEnd;
}

std::string sums(const char *name, int n_components)
{
  std::string text;
  for (int k = 0; k < n_components; ++k) text += c10::str("T ", name, k, " = 0;\n");
  return text;
}

std::string stores(const char *name, int n_components)
{
  std::string text = rows_of(name, "T ", n_components);
  for (int k = 0; k < n_components; ++k) text += c10::str(name, "_[", k, " * C] = ", name, k, ";\n");
  return text;
}

std::string backward_source(const CouplingTable &table, at::ScalarType dtype, std::int64_t n_channels, bool by_a,
                            bool by_b)
{
  std::string text = beginning(dtype, n_channels);
  text += head("channel_product_backward", kThreads,
               "i64 n_rows, const T *a, const T *b, const T *grad_out, T *grad_a, T *grad_b");
  text += kEachRowAndChannel;
  if (by_b) text += loads("a", table.n_in);
  if (by_a) text += loads("b", table.n_edge);
  text += rows_of("grad_out", "const T ", table.n_rows);
  if (by_a) text += sums("grad_a", table.n_in);
  if (by_b) text += sums("grad_b", table.n_edge);
  for (int r = 0; r < table.n_rows; ++r) {
    text += c10::str("{\nconst T g = __ldg(grad_out_ + ", r, " * C);\n");
    for (int q = table.row_begin[r]; q < table.row_begin[r + 1]; ++q) {
      if (by_a) text += c10::str("grad_a", table.pair_in[q], " += g * (", inner(table, q), ");\n");
      if (!by_b) continue;
      text += c10::str("const T ga", q, " = g * a", table.pair_in[q], ";\n");
      for (int t = table.pair_begin[q]; t < table.pair_begin[q + 1]; ++t)
        text += c10::str("grad_b", table.term_edge[t], " += ", number(table.coefficient[t]), " * ga", q, ";\n");
    }
    text += "}\n";
  }
  if (by_a) text += stores("grad_a", table.n_in);
  if (by_b) text += stores("grad_b", table.n_edge);
  return text + kEnd;
}

Tensor forward(const Tensor &first, const Tensor &second, const CouplingTable &table)
{
  const Tensor a = first.contiguous(), b = second.contiguous();
  const std::int64_t n_rows = a.size(0) * a.size(1), n_channels = a.size(3);
  const Tensor out = at::empty({a.size(0), a.size(1), table.n_rows, n_channels}, a.options());
  const auto kernels = program(a, c10::str("channel_product ", n_channels, ' ', table.digest),
                               [&] { return forward_source(table, a.scalar_type(), n_channels); });
  launch(*kernels, "channel_product", grid_for(n_rows * n_channels, kThreads), n_rows, input(a), input(b), output(out));
  return out;
}

void backward(const Tensor &first, const Tensor &second, const Tensor &gradient, const CouplingTable &table,
              Tensor *grad_a, Tensor *grad_b)
{
  const Tensor a = first.contiguous(), b = second.contiguous(), g = gradient.contiguous();
  const std::int64_t n_rows = a.size(0) * a.size(1), n_channels = a.size(3);
  if (grad_a) *grad_a = at::empty_like(a);
  if (grad_b) *grad_b = at::empty_like(b);
  const auto kernels =
      program(a, c10::str("channel_product_backward ", !!grad_a, !!grad_b, ' ', n_channels, ' ', table.digest),
              [&] { return backward_source(table, a.scalar_type(), n_channels, grad_a, grad_b); });
  launch(*kernels, "channel_product_backward", grid_for(n_rows * n_channels, kThreads), n_rows, input(a), input(b),
         input(g), output(grad_a ? *grad_a : Tensor()), output(grad_b ? *grad_b : Tensor()));
}

}  // namespace

ChannelProductForms channel_product() { return {forward, backward}; }

}  // namespace mollifield::operators::cuda
