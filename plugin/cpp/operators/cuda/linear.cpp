// Linear maps: shapes in operators/linear.cpp. One launch for all degrees: a thread owns a column of a component's
// matrix and several atoms, so that it reads an entry of the matrix once for all of them (it lies in L1 or L2: 40 kB
// for 32 channels); an atom's features are read by a warp as one broadcast word.

#include <algorithm>
#include <cmath>

#include "implementation_parts.hpp"
#include "programs.hpp"
#include "source.hpp"

namespace mollifield::operators::cuda {
namespace {

using at::Tensor;
using std::int64_t;

constexpr int kRows = 8;  // atoms, or rows of a gradient by weights, of a thread

// One degree of a map: [depth, columns] in the weights, from `in` on in the channels of an atom to `out` on.
struct Map {
  int64_t n_components, depth, columns, in, weight, out;
  double scale;
};

std::vector<Map> forward_maps(const LinearBlocks &blocks)
{
  std::vector<Map> maps;
  for (const LinearBlock &b : blocks.all)
    maps.push_back({b.n_components, b.fan_in, b.width, b.row, b.weight, b.out, b.scale});
  return maps;
}

// With transposed matrices, in the same places.
std::vector<Map> backward_maps(const LinearBlocks &blocks)
{
  std::vector<Map> maps;
  for (const LinearBlock &b : blocks.all)
    maps.push_back({b.n_components, b.width, b.fan_in, b.out, b.weight, b.row, b.scale});
  return maps;
}

// `work` for each map in turn, which owns the next `count` of a range of `id`, from which `n` begins anew.
template <class Count, class Work> std::string for_each_map(const std::vector<Map> &maps, Count count, Work work)
{
  std::string text;
  int64_t begin = 0;
  for (const Map &map : maps) {
    const int64_t end = begin + count(map);
    text +=
        c10::str(begin ? "else " : "", "if (id < ", end, ") {\nconst int n = id - ", begin, ";\n", work(map), "}\n");
    begin = end;
  }
  return text;
}

template <class Count> int64_t total(const std::vector<Map> &maps, Count count)
{
  int64_t sum = 0;
  for (const Map &map : maps) sum += count(map);
  return sum;
}

int64_t n_outputs(const Map &map) { return map.n_components * map.columns; }
int64_t n_weights(const Map &map) { return map.depth * map.columns; }
int64_t n_tiles(const Map &map) { return (map.depth + kRows - 1) / kRows * map.columns; }

std::string sizes(const Map &map)
{
  return c10::str("constexpr int depth = ", map.depth, ", columns = ", map.columns, ";\n");
}

// `out` = x times the matrices; atoms of x may lie apart, as in a part of wider features.
std::string map_source(const std::vector<Map> &maps, at::ScalarType dtype)
{
  const int64_t all = total(maps, n_outputs);
  const int unrolled = dtype == at::kFloat ? 4 : 2;  // with more, loads under way spill sums
  const auto work = [unrolled](const Map &map) {
    return c10::str(sizes(map), "const int component = n / columns, j = n % columns;\nconst T *const from = x_ + ",
                    map.in, " + component * depth;\nconst T *const matrix = weight_ + ", map.weight,
                    " + j;\n#pragma unroll ", unrolled, R"(
for (int k = 0; k < depth; ++k) {
const T value = __ldg(matrix + k * columns);
#pragma unroll
for (int r = 0; r < ROWS; ++r) sum[r] += __ldg(from + last[r] + k) * value;
}
scale = )",
                    number(map.scale), ";\nplace = ", map.out, " + n;\n");
  };
  return c10::str(beginning(dtype, 1), "constexpr int ROWS = ", kRows, ", ALL = ", all, ";\n",
                  head("linear", kThreads,
                       "i64 n_atoms, i64 member_stride, i64 atom_stride, i64 n_weights, const T *x, const T *weight, "
                       "T *out"),
                  R"(THREADS {
const i64 number = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x, m = blockIdx.y;
const int id = static_cast<int>(number % ALL);
const i64 atom = number / ALL * ROWS;
if (atom < n_atoms) {
const T *const x_ = x + m * member_stride + atom * atom_stride, *const weight_ = weight + m * n_weights;
int last[ROWS];  // rows that are not there are the first one again
T sum[ROWS] = {}, scale = 0;
int place = 0;
#pragma unroll
for (int r = 0; r < ROWS; ++r) last[r] = atom + r < n_atoms ? static_cast<int>(r * atom_stride) : 0;
)",
                  for_each_map(maps, n_outputs, work), R"(
T *const to = out + (m * n_atoms + atom) * ALL + place;
#pragma unroll
for (int r = 0; r < ROWS; ++r)
if (atom + r < n_atoms) to[r * ALL] = scale * sum[r];
)",
                  kEnd);
}

std::string transpose_source(const std::vector<Map> &maps, at::ScalarType dtype)
{
  const auto work = [](const Map &map) {
    return c10::str(sizes(map), "const int i = n / columns, j = n % columns;\nout[m * n_weights + ", map.weight,
                    " + j * depth + i] = __ldg(weight + m * n_weights + ", map.weight, " + n);\n");
  };
  return c10::str(beginning(dtype, 1), head("transpose", kThreads, "i64 n_weights, const T *weight, T *out"),
                  "THREADS {\nconst int id = blockIdx.x * blockDim.x + threadIdx.x;\nconst i64 m = blockIdx.y;\n{\n",
                  for_each_map(maps, n_weights, work), kEnd);
}

// Sums over one stretch of atoms: [n_stretches, M, W]. A thread owns a column and several rows.
std::string weight_source(const std::vector<Map> &maps, at::ScalarType dtype)
{
  const auto work = [](const Map &map) {
    return c10::str(sizes(map), "constexpr int components = ", map.n_components, R"(;
const int i = n / columns * ROWS, j = n % columns;
#pragma unroll
for (int r = 0; r < ROWS; ++r) last[r] = i + r < depth ? r : 0;
for (i64 atom = begin; atom < end; ++atom) {
const T *const from = x + m * member_stride + atom * atom_stride + i + )",
                    map.in, ", *const g_ = g + (m * n_atoms + atom) * n_outputs + j + ", map.out, R"(;
for (int component = 0; component < components; ++component) {
const T gradient = __ldg(g_ + component * columns);
#pragma unroll
for (int r = 0; r < ROWS; ++r) sum[r] += __ldg(from + component * depth + last[r]) * gradient;
}
}
T *const to = out + (stretch * n_members + m) * n_weights + i * columns + j + )",
                    map.weight,
                    ";\n#pragma unroll\nfor (int r = 0; r < ROWS; ++r)\nif (i + r < depth) to[r * columns] = ",
                    number(map.scale), " * sum[r];\n");
  };
  return c10::str(
      beginning(dtype, 1), "constexpr int ROWS = ", kRows, ";\n",
      head("linear_weights", kThreads,
           "i64 n_members, i64 n_atoms, i64 n_stretches, i64 member_stride, i64 atom_stride, i64 n_weights, "
           "i64 n_outputs, const T *x, const T *g, T *out"),
      R"(THREADS {
const int id = blockIdx.x * blockDim.x + threadIdx.x;
const i64 m = blockIdx.y / n_stretches, stretch = blockIdx.y % n_stretches;
const i64 begin = n_atoms * stretch / n_stretches, end = n_atoms * (stretch + 1) / n_stretches;
{
T sum[ROWS] = {};
int last[ROWS];
)",
      for_each_map(maps, n_tiles, work), kEnd);
}

// What a source depends on.
std::string name(const char *kernel, const std::vector<Map> &maps)
{
  std::string text = kernel;
  for (const Map &map : maps) text += c10::str(' ', map.depth, 'x', map.columns, 'x', number(map.scale));
  return text;
}

// The components of one atom in one piece.
Tensor with_whole_atoms(const Tensor &x) { return x.stride(3) == 1 && x.stride(2) == x.size(3) ? x : x.contiguous(); }

// `to [M, N, ...]`, contiguous.
void apply(const std::vector<Map> &maps, const Tensor &x, int64_t member_stride, int64_t atom_stride,
           const Tensor &weight, const Tensor &to)
{
  const int64_t n_members = x.size(0), n_atoms = x.size(1), n_tiles = (n_atoms + kRows - 1) / kRows;
  const auto kernels = program(x, name("linear", maps), [&] { return map_source(maps, x.scalar_type()); });
  launch(*kernels, "linear", grid_for(n_tiles * total(maps, n_outputs), kThreads, n_members), n_atoms, member_stride,
         atom_stride, weight.size(1), input(x), input(weight), output(to));
}

Tensor forward(const Tensor &from, const Tensor &weight, const LinearBlocks &blocks)
{
  const Tensor x = with_whole_atoms(from);
  const Tensor out = at::empty({x.size(0), x.size(1), blocks.n_outputs}, x.options());
  apply(forward_maps(blocks), x, x.stride(0), x.stride(1), weight.contiguous(), out);
  return out;
}

Tensor transposed(const Tensor &weight, const LinearBlocks &blocks)
{
  const std::vector<Map> maps = forward_maps(blocks);
  const Tensor out = at::empty_like(weight);
  const auto kernels =
      program(weight, name("transpose", maps), [&] { return transpose_source(maps, weight.scalar_type()); });
  launch(*kernels, "transpose", grid_for(blocks.n_weights, kThreads, weight.size(0)), blocks.n_weights, input(weight),
         output(out));
  return out;
}

// In two steps, so that many threads share a long sum and its order is always the same.
Tensor weight_gradient(const Tensor &from, const Tensor &gradient, const LinearBlocks &blocks)
{
  const Tensor x = with_whole_atoms(from);
  const std::vector<Map> maps = forward_maps(blocks);
  const int64_t n_members = x.size(0), n_stretches = std::clamp<int64_t>(x.size(1) / 32, 1, 128);
  const Tensor parts = at::empty({n_stretches, n_members, blocks.n_weights}, x.options());
  const auto kernels = program(x, name("linear_weights", maps), [&] { return weight_source(maps, x.scalar_type()); });
  launch(*kernels, "linear_weights", grid_for(total(maps, n_tiles), kThreads, n_members * n_stretches), n_members,
         x.size(1), n_stretches, x.stride(0), x.stride(1), blocks.n_weights, blocks.n_outputs, input(x),
         input(gradient), output(parts));
  return n_stretches == 1 ? parts[0] : parts.sum(0);
}

void backward(const Tensor &x, const Tensor &weight, const Tensor &grad_out, const LinearBlocks &blocks, Tensor *grad_x,
              Tensor *grad_weight)
{
  const Tensor gradient = grad_out.contiguous();
  if (grad_x) {
    *grad_x = at::empty(x.sizes(), x.options());
    apply(backward_maps(blocks), gradient, gradient.stride(0), gradient.stride(1),
          transposed(weight.contiguous(), blocks), *grad_x);
  }
  if (grad_weight) *grad_weight = weight_gradient(x, gradient, blocks);
}

}  // namespace

LinearForms linear() { return {forward, backward}; }

}  // namespace mollifield::operators::cuda
