// Linear maps of the features of some atoms, which are `x_atom` numbers apart: blocks as in operators/linear.hpp, with
// the weights of one member.
#pragma once

#include "kernels.hpp"
#include "operators/linear.hpp"

namespace mollifield::operators::cpu {

// out = x times the matrices, or that added to `out`, whose atoms follow each other.
template <class T>
void map_atoms(const LinearBlocks &blocks, const T *weight, const T *x, std::int64_t x_atom, T *out,
               std::int64_t n_atoms, bool accumulate = false)
{
  for (const LinearBlock &b : blocks.all)
    for (std::int64_t m = 0; m < b.n_components; ++m)
      kernels<T>().matrix_product({x + b.row + m * b.fan_in, weight + b.weight, out + b.out + m * b.width, x_atom, 1,
                                   b.width, blocks.n_outputs, n_atoms, b.width, b.fan_in, static_cast<T>(b.scale),
                                   accumulate});
}

// x = out times the matrices transposed, as `transpose` lays them out, or that added to x.
template <class T>
void map_atoms_back(const LinearBlocks &blocks, const T *transposed, const T *out, T *x, std::int64_t x_atom,
                    std::int64_t n_atoms, bool accumulate = false)
{
  for (const LinearBlock &b : blocks.all)
    for (std::int64_t m = 0; m < b.n_components; ++m)
      kernels<T>().matrix_product({out + b.out + m * b.width, transposed + b.weight, x + b.row + m * b.fan_in,
                                   blocks.n_outputs, 1, b.fan_in, x_atom, n_atoms, b.fan_in, b.width,
                                   static_cast<T>(b.scale), accumulate});
}

// [width, fan_in] for each block, in the place of [fan_in, width].
template <class T> void transpose(const LinearBlocks &blocks, const T *weight, T *to)
{
  for (const LinearBlock &b : blocks.all)
    for (std::int64_t j = 0; j < b.width; ++j)
      for (std::int64_t i = 0; i < b.fan_in; ++i) to[b.weight + j * b.fan_in + i] = weight[b.weight + i * b.width + j];
}

}  // namespace mollifield::operators::cpu
