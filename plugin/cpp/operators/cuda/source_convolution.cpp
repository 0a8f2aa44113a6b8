#include "source_convolution.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "source.hpp"

namespace mollifield::operators::cuda {
namespace {

// One list for all of them, in the order of Call::launch in convolution.cpp.
constexpr const char *kParameters =
    "i64 n_members, i64 n_geometries, i64 n_atoms, i64 n_centres, i64 n_edges, const int *first, const int *order, "
    "const i64 *centre, const i64 *source, const T *x0, const T *x1, const T *y0, const T *y1, const T *w0, "
    "const T *w1, const T *g, const T *lengths, const T *knots, i64 n_knots, double inverse_spacing, T *out, "
    "T *grad_x, T *grad_y, T *grad_w, T *grad_lengths";

// Pairs of two arguments of which `order` are tangents.
std::vector<std::pair<int, int>> pairs_of(int order)
{
  if (order == 0) return {{0, 0}};
  return {{1, 0}, {0, 1}};
}

// A[q] from Y or its tangent.
std::string coupled(const CouplingTable &table, int q, int tangent)
{
  std::string text;
  for (int t = table.pair_begin[q]; t < table.pair_begin[q + 1]; ++t)
    text += c10::str(text.empty() ? "" : " + ", number(table.coefficient[t]), " * y", tangent, "_", table.term_edge[t]);
  return "(" + text + ")";
}

// Sum over the pairs of a row of A[q] x[q], with so many tangents in them.
std::string sum_of_row(const CouplingTable &table, int row, int order)
{
  std::string text;
  for (int q = table.row_begin[row]; q < table.row_begin[row + 1]; ++q)
    for (const auto &[x, y] : pairs_of(order))
      text += c10::str(text.empty() ? "" : " + ", coupled(table, q, y), " * x", x, "_", table.pair_in[q]);
  return text;
}

// Rows of each path.
std::vector<std::vector<int>> rows_by_path(const CouplingTable &table)
{
  std::vector<std::vector<int>> rows(table.n_paths);
  for (int row = 0; row < table.n_rows; ++row) rows[table.row_path[row]].push_back(row);
  return rows;
}

// Paths of each kernel: their rows' sums take at most 384 of the 1020 bytes of a thread's registers, and less where
// tangents take room too.
std::vector<std::vector<int>> parts(const CouplingTable &table, const ConvolutionShape &shape)
{
  const int most = (384 - 128 * shape.order) / static_cast<int>(c10::elementSize(shape.dtype));
  const auto rows = rows_by_path(table);
  std::vector<std::vector<int>> all(1);
  int n_rows = 0;
  for (int path = 0; path < table.n_paths; ++path) {
    const int more = static_cast<int>(rows[path].size());
    if (n_rows > 0 && n_rows + more > most) {
      all.emplace_back();
      n_rows = 0;
    }
    all.back().push_back(path);
    n_rows += more;
  }
  return all;
}

// Components of x and Y that these paths read.
struct Components {
  std::set<int> in, edge;
  Components(const CouplingTable &table, const std::vector<int> &paths)
  {
    const auto rows = rows_by_path(table);
    for (const int path : paths)
      for (const int row : rows[path])
        for (int q = table.row_begin[row]; q < table.row_begin[row + 1]; ++q) {
          in.insert(table.pair_in[q]);
          edge.insert(table.term_edge.begin() + table.pair_begin[q], table.term_edge.begin() + table.pair_begin[q + 1]);
        }
  }
};

std::vector<int> all_paths(const CouplingTable &table)
{
  std::vector<int> paths(table.n_paths);
  std::iota(paths.begin(), paths.end(), 0);
  return paths;
}

// Writes one kernel's text. A kernel has before it: m, e, and `geometry`, the edge's row of Y and lengths.
class Writer {
 public:
  Writer(const CouplingTable &table, const ConvolutionShape &shape) :
      table_(table), shape_(shape), rows_(rows_by_path(table))
  {}

  template <class... A> void add(const A &...parts) { text += c10::str(parts...); }

  void harmonics(const std::set<int> &components)
  {
    for (int v = 0; v <= shape_.order; ++v)
      for (const int k : components)
        add("const T y", v, "_", k, " = __ldg(y", v, " + geometry * ", table_.n_edge, " + ", k, ");\n");
  }

  void features(const std::set<int> &components)
  {
    add("const i64 at_x = (m * n_atoms + __ldg(source + e)) * (", table_.n_in, " * C) + c;\n");
    for (int v = 0; v <= shape_.order; ++v)
      for (const int k : components) add("const T x", v, "_", k, " = __ldg(x", v, " + at_x + ", k, " * C);\n");
  }

  void gradients() { add("const T *const at_g = g + (m * n_centres + i) * (", table_.n_rows, " * C) + c;\n"); }

  // What `weight` reads: where an edge's weights are, or where it lies in the table of a spline: weights are f0 ... f3
  // times value and derivative at a knot and at the next one (cpu/kernels_edges.inc); their derivative by the length is
  // s0 times the difference of the two values and s1, s2 times the derivatives.
  void radial(bool slopes)
  {
    if (!shape_.spline) return add("const i64 at_w = (m * n_edges + e) * (", table_.n_paths, " * C) + c;\n");
    add(R"(const T position = __ldg(lengths + geometry) * static_cast<T>(inverse_spacing);
const bool inside = position < static_cast<T>(n_knots - 1);
const int knot = inside ? static_cast<int>(position) : 0;
const T t = inside ? position - knot : T(0), u = 1 - t;
const T f0 = inside ? (1 + 2 * t) * u * u : T(0), f1 = inside ? t * u * u : T(0);
const T f2 = t * t * (3 - 2 * t), f3 = -t * t * u;
)");
    add("const T *const at_w = knots + (m * n_knots + knot) * (", 2 * table_.n_paths, " * C) + c;\n");
    if (slopes)
      add(R"(const T h = inside ? static_cast<T>(inverse_spacing) : T(0);
const T s0 = 6 * t * u * h, s1 = u * (1 - 3 * t) * h, s2 = t * (3 * t - 2) * h;
)");
  }

  // Weights of a path, and their derivatives by the length.
  void weight(int path, bool slope = false)
  {
    if (!shape_.spline) {
      for (int v = 0; v <= shape_.order; ++v) add("const T weight", v, " = __ldg(w", v, " + at_w + ", path, " * C);\n");
      return;
    }
    for (int k = 0; k < 4; ++k) add("const T v", k, " = __ldg(at_w + ", k * table_.n_paths + path, " * C);\n");
    add("const T weight0 = f0 * v0 + f1 * v1 + f2 * v2 + f3 * v3;\n");
    if (slope) add("const T slope = s0 * (v2 - v0) + s1 * v1 + s2 * v3;\n");
  }

  const std::vector<int> &rows(int path) const { return rows_[path]; }

  std::string text;

 private:
  const CouplingTable &table_;
  ConvolutionShape shape_;
  std::vector<std::vector<int>> rows_;
};

constexpr const char *kOneGroup = R"(
THREADS {
const i64 id = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, m = blockIdx.y;
const i64 group = id / C;
const int c = static_cast<int>(id % C);
if (group < n_groups) {
)";
constexpr const char *kItsEdges = R"(
for (int k = __ldg(first + group), end = __ldg(first + group + 1); k < end; ++k) {
const i64 e = __ldg(order + k);
const i64 geometry = n_geometries == 1 ? e : m * n_edges + e;
)";

void one_part(Writer &writer, const CouplingTable &table, const ConvolutionShape &shape, int part,
              const std::vector<int> &paths)
{
  const Components read(table, paths);
  writer.text += head(c10::str("by_centre_", part), kThreads, kParameters);
  writer.add("const i64 n_groups = n_centres;", kOneGroup);
  for (const int path : paths)
    for (const int row : writer.rows(path)) writer.add("T out_", row, " = 0;\n");
  writer.text += kItsEdges;
  writer.harmonics(read.edge);
  writer.features(read.in);
  writer.radial(false);
  for (const int path : paths) {
    writer.text += "{\n";
    writer.weight(path);
    for (const int row : writer.rows(path))
      for (int w = 0; w <= shape.order; ++w)
        writer.add("out_", row, " += weight", w, " * (", sum_of_row(table, row, shape.order - w), ");\n");
    writer.text += "}\n";
  }
  writer.add("}\nT *const to = out + (m * n_centres + group) * (", table.n_rows, " * C) + c;\n");
  for (const int path : paths)
    for (const int row : writer.rows(path)) writer.add("to[", row, " * C] = out_", row, ";\n");
  writer.text += kEnd;
}

std::vector<std::string> values(const CouplingTable &table, const WantedOfEdges &wanted)
{
  std::vector<std::string> names;
  if (wanted.harmonics)
    for (int k = 0; k < table.n_edge; ++k) names.push_back(c10::str("grad_y_", k));
  if (wanted.lengths) names.emplace_back("grad_r");
  return names;
}

// Sums of each value over an edge's lanes, in one order, and where they go.
std::string sums_over_lanes(const CouplingTable &table, const WantedOfEdges &wanted, const EdgeBlocks &b)
{
  const int n_harmonics = wanted.harmonics ? table.n_edge : 0;
  return c10::str("BARRIER\nTHREADS {\nfor (unsigned n = threadIdx.x; n < ", b.edges * b.n_values,
                  "; n += ", b.lanes * b.edges, ") {\nconst unsigned slot = n / ", b.n_values, ", value = n % ",
                  b.n_values, ";\nconst i64 e = static_cast<i64>(blockIdx.x) * ", b.edges,
                  " + slot;\nif (e < n_edges) {\nconst T *from = lane_values + value * ", b.stride, " + slot * ",
                  b.pitch, ";\nT sum = 0;\nfor (int k = 0; k < ", b.lanes,
                  "; ++k) sum += from[k];\nconst i64 geometry = blockIdx.y * n_edges + e;\nif (value < ", n_harmonics,
                  ") grad_y[geometry * ", table.n_edge,
                  " + value] = sum;\nelse grad_lengths[geometry] = sum;\n}\n}\n}\n");
}

void rows_of_edge(Writer &writer, const CouplingTable &table, const ConvolutionShape &shape,
                  const WantedOfEdges &wanted, int path)
{
  writer.text += "{\n";
  if (wanted.harmonics || wanted.lengths) writer.weight(path, wanted.lengths);
  if (wanted.weights || wanted.lengths) writer.text += "T grad = 0;\n";
  for (const int row : writer.rows(path)) {
    writer.add("{\nconst T gr = __ldg(at_g + ", row, " * C);\n");
    if (wanted.weights || wanted.lengths) writer.add("grad += gr * (", sum_of_row(table, row, shape.order), ");\n");
    if (wanted.harmonics) {
      for (int v = 0; v <= shape.order; ++v) writer.add("const T gw", v, " = gr * weight", v, ";\n");
      for (int q = table.row_begin[row]; q < table.row_begin[row + 1]; ++q) {
        std::string sum;
        for (const auto &[x, w] : pairs_of(shape.order))
          sum += c10::str(sum.empty() ? "" : " + ", "gw", w, " * x", x, "_", table.pair_in[q]);
        writer.add("const T by_", q, " = ", sum, ";\n");
        for (int t = table.pair_begin[q]; t < table.pair_begin[q + 1]; ++t)
          writer.add("grad_y_", table.term_edge[t], " += ", number(table.coefficient[t]), " * by_", q, ";\n");
      }
    }
    writer.text += "}\n";
  }
  if (wanted.weights) writer.add("grad_w[at_w + ", path, " * C] = grad;\n");
  if (wanted.lengths) writer.text += "grad_r += grad * slope;\n";
  writer.text += "}\n";
}

}  // namespace

int n_by_centre(const CouplingTable &table, const ConvolutionShape &shape)
{
  return static_cast<int>(parts(table, shape).size());
}

std::string by_centre(const CouplingTable &table, const ConvolutionShape &shape)
{
  Writer writer(table, shape);
  writer.text = beginning(shape.dtype, shape.n_channels);
  const auto all = parts(table, shape);
  for (std::size_t part = 0; part < all.size(); ++part)
    one_part(writer, table, shape, static_cast<int>(part), all[part]);
  return writer.text;
}

std::string by_source(const CouplingTable &table, const ConvolutionShape &shape)
{
  const Components read(table, all_paths(table));
  Writer writer(table, shape);
  writer.text = beginning(shape.dtype, shape.n_channels) + head("by_source", kThreads, kParameters);
  writer.add("const i64 n_groups = n_atoms;", kOneGroup);
  for (int k = 0; k < table.n_in; ++k) writer.add("T grad_", k, " = 0;\n");
  writer.text += kItsEdges;
  writer.text += "const i64 i = __ldg(centre + e);\n";
  writer.harmonics(read.edge);
  writer.gradients();
  writer.radial(false);
  for (int path = 0; path < table.n_paths; ++path) {
    writer.text += "{\n";
    writer.weight(path);
    for (const int row : writer.rows(path)) {
      writer.add("{\nconst T gr = __ldg(at_g + ", row, " * C);\n");
      for (int v = 0; v <= shape.order; ++v) writer.add("const T gw", v, " = gr * weight", v, ";\n");
      for (int q = table.row_begin[row]; q < table.row_begin[row + 1]; ++q)
        for (const auto &[y, w] : pairs_of(shape.order))
          writer.add("grad_", table.pair_in[q], " += ", coupled(table, q, y), " * gw", w, ";\n");
      writer.text += "}\n";
    }
    writer.text += "}\n";
  }
  writer.add("}\nT *const to = grad_x + (m * n_atoms + group) * (", table.n_in, " * C) + c;\n");
  for (int k = 0; k < table.n_in; ++k) writer.add("to[", k, " * C] = grad_", k, ";\n");
  writer.text += kEnd;
  return writer.text;
}

EdgeBlocks edge_blocks(const CouplingTable &table, const ConvolutionShape &shape, const WantedOfEdges &wanted)
{
  constexpr unsigned banks = 32, most_bytes = 32768;
  const auto n_values = static_cast<unsigned>(values(table, wanted).size());
  const unsigned lanes = static_cast<unsigned>(std::min<std::int64_t>(shape.n_channels, kThreads));
  const unsigned pitch = lanes % banks ? lanes : lanes + n_values % banks;
  const auto bytes = static_cast<unsigned>(c10::elementSize(shape.dtype));
  unsigned edges = kThreads / lanes;
  const auto stride_of = [&](unsigned n) { return n * pitch + (banks + 1 - n * pitch % banks) % banks; };
  while (edges > 1 && n_values * stride_of(edges) * bytes > most_bytes) --edges;
  return {lanes, edges, pitch, stride_of(edges), n_values};
}

std::string by_edge(const CouplingTable &table, const ConvolutionShape &shape, const WantedOfEdges &wanted)
{
  const Components read(table, all_paths(table));
  const EdgeBlocks b = edge_blocks(table, shape, wanted);
  const std::vector<std::string> summed = values(table, wanted);
  Writer writer(table, shape);
  writer.text = beginning(shape.dtype, shape.n_channels) + head("by_edge", b.lanes * b.edges, kParameters);
  if (b.n_values) writer.add("__shared__ T lane_values[", b.n_values * b.stride, "];\n");
  writer.add("THREADS {\nconst unsigned slot = threadIdx.x / ", b.lanes, ", lane = threadIdx.x % ", b.lanes,
             ";\nconst i64 e = static_cast<i64>(blockIdx.x) * ", b.edges, " + slot;\n");
  for (const std::string &name : summed) writer.add("T ", name, " = 0;\n");
  writer.text += "if (e < n_edges) {\nconst i64 i = __ldg(centre + e);\n";
  writer.add("for (i64 m = n_geometries == 1 ? 0 : blockIdx.y; m < (n_geometries == 1 ? n_members : blockIdx.y + 1); "
             "++m)\nfor (int c = lane; c < C; c += ",
             b.lanes, ") {\n");
  // Y is read again for each member: couplings that are kept from one to the next would not fit into registers.
  writer.text += "i64 geometry = blockIdx.y * n_edges + e;\nOPAQUE(geometry)\n";
  writer.harmonics(read.edge);
  writer.features(read.in);
  writer.gradients();
  writer.radial(wanted.lengths);
  for (int path = 0; path < table.n_paths; ++path) rows_of_edge(writer, table, shape, wanted, path);
  writer.text += "}\n}\n";
  for (std::size_t k = 0; k < summed.size(); ++k)
    writer.add("lane_values[", k * b.stride, " + slot * ", b.pitch, " + lane] = ", summed[k], ";\n");
  writer.text += "}\n";
  if (b.n_values) writer.text += sums_over_lanes(table, wanted, b);
  return writer.text + "}\n";
}

}  // namespace mollifield::operators::cuda
