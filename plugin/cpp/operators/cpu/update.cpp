// From messages to the inputs of a gate: shapes in operators/update.cpp. A tile of atoms goes through all maps and
// products before the next one does.

#include "operators/update.hpp"

#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <memory>
#include <numeric>

#include "implementation.hpp"
#include "layout.hpp"
#include "maps.hpp"
#include "operators/remembered.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;
using std::int64_t;
using Tensors = std::vector<Tensor>;

// Atoms of a tile: with 32 channels what lies between takes 4 KiB an atom forward, 10 KiB backward; a multiple of the
// rows that `matrix_product` takes at a time.
constexpr int64_t kTile = 24;

// A tile's place: its first atom counts through all members.
struct Tile {
  int64_t member, first, count;
};

// Calls body(tile, scratch), with `n_scratch` numbers for each atom of a tile.
template <class T, class Body> void for_each_tile(const Tensor &of_atoms, int64_t n_scratch, Body body)
{
  const int64_t n_atoms = of_atoms.size(1), n_tiles = (n_atoms + kTile - 1) / kTile;
  at::parallel_for(0, of_atoms.size(0) * n_tiles, 1, [&](int64_t begin, int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<T[]>(kTile * n_scratch);
    for (int64_t k = begin; k < end; ++k) {
      const int64_t member = k / n_tiles, first = k % n_tiles * kTile;
      body(Tile{member, member * n_atoms + first, std::min(kTile, n_atoms - first)}, scratch.get());
    }
  });
}

// The sizes of an atom's rows, and tables of products as kernels read them.
template <class T> struct Layout {
  explicit Layout(const UpdatePlan &of) :
      plan(of), square_layout(*of.square), cube_layout(of.triples ? *of.triples->cube : *of.square),
      square(square_layout.view()), cube(cube_layout.view()), n_channels(of.n_channels),
      n_messages(of.mix.n_rows * n_channels), n_features(of.n_features() * n_channels),
      n_square(square.n_rows * n_channels), n_cube(of.triples ? cube.n_rows * n_channels : 0), n_out(of.n_outputs())
  {}

  const UpdatePlan &plan;
  CouplingLayout<T> square_layout, cube_layout;
  Coupling<T> square, cube;
  int64_t n_channels, n_messages, n_features, n_square, n_cube, n_out;
};

template <class T> void multiply(const Coupling<T> &by, int64_t n_channels, const T *a, const T *b, T *out, int64_t n)
{
  kernels<T>().product_forward(by, {n_channels, a, b, nullptr, out, nullptr, nullptr}, 0, n);
}

template <class T>
void multiply_back(const Coupling<T> &by, int64_t n_channels, const T *a, const T *b, const T *gradient, T *grad_a,
                   T *grad_b, int64_t n)
{
  kernels<T>().product_backward(by, {n_channels, a, b, gradient, nullptr, grad_a, grad_b}, 0, n);
}

// In lanes of their own, so that the compiler need not keep the order of a sum.
template <class T> T dot(const T *a, const T *b, int64_t size)
{
  constexpr int64_t kLanes = 16;
  std::array<T, kLanes> sums{};
  int64_t k = 0;
  for (; k + kLanes <= size; k += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[k + lane] * b[k + lane];
  for (; k < size; ++k) sums[0] += a[k] * b[k];
  return std::accumulate(sums.begin(), sums.end(), T(0));
}

// Features of `n` atoms, `size` numbers each, over their root mean square; `factors`: what that multiplied them with.
template <class T> void normalise(T *features, int64_t size, double epsilon, T *factors, int64_t n)
{
  for (int64_t i = 0; i < n; ++i) {
    T *const own = features + i * size;
    const T factor = factors[i] = T(1) / std::sqrt(dot(own, own, size) / T(size) + T(epsilon));
    for (int64_t k = 0; k < size; ++k) own[k] *= factor;
  }
}

// The gradient by features before `normalise` from that by those behind it: s (g - f mean(f g)) of each atom.
template <class T> void normalise_back(const T *features, int64_t size, const T *factors, T *gradients, int64_t n)
{
  for (int64_t i = 0; i < n; ++i) {
    const T *const own = features + i * size;
    T *const gradient = gradients + i * size;
    const T along = dot(own, gradient, size) / T(size);
    for (int64_t k = 0; k < size; ++k) gradient[k] = factors[i] * (gradient[k] - along * own[k]);
  }
}

template <class T>
Tensor run(const Tensor &from, const Tensor &kept, const Tensors &weights, const UpdatePlan &plan,
           UpdateBetween *between)
{
  const Layout<T> l(plan);
  const Tensor messages = from.contiguous();
  Tensors all;
  for (const Tensor &weight : weights) all.push_back(weight.contiguous());
  const auto weight = [&](int k, const Tile &tile) {
    return all[k].template const_data_ptr<T>() + tile.member * all[k].size(1);
  };
  const Tensor out = kept.clone(at::MemoryFormat::Contiguous);
  const auto empty = [&](at::IntArrayRef sizes) { return at::empty(sizes, messages.options()); };
  const Tensor features = empty({messages.size(0), messages.size(1), plan.n_features(), l.n_channels});
  *between = {features, plan.triples ? at::empty_like(features) : Tensor(),
              plan.rms_epsilon ? empty({messages.size(0), messages.size(1)}) : Tensor()};
  const T *x = messages.const_data_ptr<T>();
  T *const f = features.template mutable_data_ptr<T>(), *const to = out.mutable_data_ptr<T>();
  T *const p = plan.triples ? between->inner.template mutable_data_ptr<T>() : nullptr;
  T *const factors = plan.rms_epsilon ? between->factors.template mutable_data_ptr<T>() : nullptr;
  for_each_tile<T>(messages, l.n_square + l.n_cube, [&](const Tile &tile, T *scratch) {
    const int64_t n = tile.count;
    T *const own = f + tile.first * l.n_features, *const sums = to + tile.first * l.n_out;
    T *const squares = scratch, *const cubes = scratch + kTile * l.n_square;
    map_atoms(plan.mix, weight(0, tile), x + tile.first * l.n_messages, l.n_messages, own, n);
    if (factors) normalise(own, l.n_features, *plan.rms_epsilon, factors + tile.first, n);
    map_atoms(plan.linear, weight(1, tile), own, l.n_features, sums, n, true);
    multiply(l.square, l.n_channels, own, own, squares, n);
    map_atoms(plan.pairs, weight(2, tile), squares, l.n_square, sums, n, true);
    if (!plan.triples) return;
    T *const pairs = p + tile.first * l.n_features;
    map_atoms(plan.triples->inner, weight(3, tile), squares, l.n_square, pairs, n);
    multiply(l.cube, l.n_channels, pairs, own, cubes, n);
    map_atoms(plan.triples->outer, weight(4, tile), cubes, l.n_cube, sums, n, true);
  });
  return out;
}

// Transposed matrices of all members: a model's, so they are made once.
template <class T> std::shared_ptr<const std::vector<T>> transposed(const Tensor &weight, const LinearBlocks &blocks)
{
  static Remembered<std::vector<T>> remembered(64);
  int64_t shape = 0;  // of the matrices: another one would be another order
  for (const LinearBlock &b : blocks.all) shape = shape * 1000003 + b.fan_in * 8191 + b.width;
  return remembered.get({weight}, shape, [&] {
    const Tensor whole = weight.contiguous();
    std::vector<T> found(whole.numel());
    for (int64_t at = 0; at < whole.numel(); at += blocks.n_weights)
      transpose(blocks, whole.const_data_ptr<T>() + at, found.data() + at);
    return found;
  });
}

template <class T>
Tensor run_back(const UpdateBetween &between, const Tensors &weights, const UpdatePlan &plan, const Tensor &grad_out)
{
  const Tensor &features = between.features;
  const Layout<T> l(plan);
  const auto maps = plan.maps();
  std::vector<std::shared_ptr<const std::vector<T>>> matrices;
  for (std::size_t k = 0; k < maps.size(); ++k) matrices.push_back(transposed<T>(weights[k], *maps[k]));
  const Tensor gradient = grad_out.contiguous();
  const Tensor out = at::empty({features.size(0), features.size(1), plan.mix.n_rows, l.n_channels}, features.options());
  const T *const f = features.const_data_ptr<T>(), *const g = gradient.const_data_ptr<T>();
  const T *const p = plan.triples ? between.inner.const_data_ptr<T>() : nullptr;
  const T *const factors = plan.rms_epsilon ? between.factors.const_data_ptr<T>() : nullptr;
  T *const to = out.mutable_data_ptr<T>();
  for_each_tile<T>(features, 2 * l.n_features + l.n_square + l.n_cube, [&](const Tile &tile, T *scratch) {
    const int64_t n = tile.count, at = tile.first * l.n_features;
    const auto back = [&](int k, const T *gradients, T *x, int64_t x_atom, bool accumulate) {
      const T *const matrix = matrices[k]->data() + tile.member * maps[k]->n_weights;
      map_atoms_back(*maps[k], matrix, gradients, x, x_atom, n, accumulate);
    };
    const T *const own = f + at, *const from = g + tile.first * l.n_out;
    T *const by_features = scratch, *const by_inner = by_features + kTile * l.n_features;
    T *const by_square = by_inner + kTile * l.n_features, *const by_cube = by_square + kTile * l.n_square;
    std::fill_n(by_features, n * l.n_features, T(0));
    if (plan.triples) {
      std::fill_n(by_inner, n * l.n_features, T(0));
      back(4, from, by_cube, l.n_cube, false);
      multiply_back(l.cube, l.n_channels, p + at, own, by_cube, by_inner, by_features, n);
      back(3, by_inner, by_square, l.n_square, false);
    }
    back(2, from, by_square, l.n_square, plan.triples.has_value());
    multiply_back(l.square, l.n_channels, own, own, by_square, by_features, by_features, n);
    back(1, from, by_features, l.n_features, true);
    if (factors) normalise_back(own, l.n_features, factors + tile.first, by_features, n);
    back(0, by_features, to + tile.first * l.n_messages, l.n_messages, false);
  });
  return out;
}

Tensor forward(const Tensor &messages, const Tensor &kept, const Tensors &weights, const UpdatePlan &plan,
               UpdateBetween *between)
{
  return AT_DISPATCH_FLOATING_TYPES(messages.scalar_type(), "mollifield::products_update",
                                    [&] { return run<scalar_t>(messages, kept, weights, plan, between); });
}

Tensor backward(const UpdateBetween &between, const Tensors &weights, const UpdatePlan &plan, const Tensor &grad_out)
{
  return AT_DISPATCH_FLOATING_TYPES(between.features.scalar_type(), "mollifield::products_update_backward",
                                    [&] { return run_back<scalar_t>(between, weights, plan, grad_out); });
}

}  // namespace

ProductsUpdateForms products_update() { return {forward, backward}; }

}  // namespace mollifield::operators::cpu
