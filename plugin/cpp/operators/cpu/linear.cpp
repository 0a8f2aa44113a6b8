// Linear maps: shapes in operators/linear.cpp. Components of x are strided matrices, so nothing is copied.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "kernels.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;
using std::int64_t;

// The components of one atom in one piece; atoms may lie apart, as in a part of wider features.
Tensor with_whole_atoms(const Tensor &x) { return x.stride(3) == 1 && x.stride(2) == x.size(3) ? x : x.contiguous(); }

template <class Body> void for_each_component(const LinearBlocks &blocks, int64_t n_members, Body body)
{
  for (int64_t member = 0; member < n_members; ++member)
    for (const LinearBlock &block : blocks.all)
      for (int64_t m = 0; m < block.n_components; ++m) body(member, block, m);
}

template <class T> Tensor output(const Tensor &input, const Tensor &weights, const LinearBlocks &blocks)
{
  const Tensor x = with_whole_atoms(input), weight = weights.contiguous();
  Tensor out = at::empty({x.size(0), x.size(1), blocks.n_outputs}, x.options());
  at::parallel_for(0, x.size(1), 64, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, x.size(0), [&](int64_t member, const LinearBlock &b, int64_t m) {
      MatrixProduct<T> p{};
      p.a = x.const_data_ptr<T>() + member * x.stride(0) + begin * x.stride(1) + b.row + m * b.fan_in;
      p.b = weight.const_data_ptr<T>() + member * blocks.n_weights + b.weight;
      p.c = out.mutable_data_ptr<T>() + (member * x.size(1) + begin) * blocks.n_outputs + b.out + m * b.width;
      p.a_row = x.stride(1);
      p.a_depth = 1;
      p.b_row = b.width;
      p.c_row = blocks.n_outputs;
      p.rows = end - begin;
      p.columns = b.width;
      p.depth = b.fan_in;
      p.alpha = static_cast<T>(b.scale);
      kernels<T>().matrix_product(p);
    });
  });
  return out;
}

// [width, fan_in] for each block, in the place of [fan_in, width].
template <class T> std::vector<T> transposed(const Tensor &weight, const LinearBlocks &blocks)
{
  std::vector<T> all(weight.numel());
  for (int64_t member = 0; member < weight.size(0); ++member)
    for (const LinearBlock &b : blocks.all) {
      const int64_t at = member * blocks.n_weights + b.weight;
      const T *from = weight.const_data_ptr<T>() + at;
      T *to = all.data() + at;
      for (int64_t j = 0; j < b.width; ++j)
        for (int64_t i = 0; i < b.fan_in; ++i) to[j * b.fan_in + i] = from[i * b.width + j];
    }
  return all;
}

template <class T>
Tensor input_gradient(const Tensor &x, const Tensor &weights, const Tensor &gradient, const LinearBlocks &blocks)
{
  const std::vector<T> weight = transposed<T>(weights.contiguous(), blocks);
  const int64_t n_inputs = x.size(2) * x.size(3);
  Tensor out = at::empty(x.sizes(), x.options());
  at::parallel_for(0, x.size(1), 64, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, x.size(0), [&](int64_t member, const LinearBlock &b, int64_t m) {
      const int64_t atom = member * x.size(1) + begin;
      MatrixProduct<T> p{};
      p.a = gradient.const_data_ptr<T>() + atom * blocks.n_outputs + b.out + m * b.width;
      p.b = weight.data() + member * blocks.n_weights + b.weight;
      p.c = out.mutable_data_ptr<T>() + atom * n_inputs + b.row + m * b.fan_in;
      p.a_row = blocks.n_outputs;
      p.a_depth = 1;
      p.b_row = b.fan_in;
      p.c_row = n_inputs;
      p.rows = end - begin;
      p.columns = b.fan_in;
      p.depth = b.width;
      p.alpha = static_cast<T>(b.scale);
      kernels<T>().matrix_product(p);
    });
  });
  return out;
}

template <class T>
Tensor weight_gradient(const Tensor &input, const Tensor &weight, const Tensor &gradient, const LinearBlocks &blocks)
{
  const Tensor x = with_whole_atoms(input);
  Tensor out = at::empty(weight.sizes(), weight.options());
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, end - begin, [&](int64_t number, const LinearBlock &b, int64_t m) {
      const int64_t member = begin + number;
      MatrixProduct<T> p{};
      p.a = x.const_data_ptr<T>() + member * x.stride(0) + b.row + m * b.fan_in;
      p.b = gradient.const_data_ptr<T>() + member * x.size(1) * blocks.n_outputs + b.out + m * b.width;
      p.c = out.mutable_data_ptr<T>() + member * blocks.n_weights + b.weight;
      p.a_row = 1;
      p.a_depth = x.stride(1);
      p.b_row = blocks.n_outputs;
      p.c_row = b.width;
      p.rows = b.fan_in;
      p.columns = b.width;
      p.depth = x.size(1);
      p.alpha = static_cast<T>(b.scale);
      p.accumulate = m > 0;
      kernels<T>().matrix_product(p);
    });
  });
  return out;
}

Tensor forward(const Tensor &x, const Tensor &weight, const LinearBlocks &blocks)
{
  return AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "mollifield::linear",
                                    [&] { return output<scalar_t>(x, weight, blocks); });
}

void backward(const Tensor &x, const Tensor &weight, const Tensor &grad_out, const LinearBlocks &blocks, Tensor *grad_x,
              Tensor *grad_weight)
{
  const Tensor gradient = grad_out.contiguous();
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "mollifield::linear_backward", [&] {
    if (grad_x) *grad_x = input_gradient<scalar_t>(x, weight, gradient, blocks);
    if (grad_weight) *grad_weight = weight_gradient<scalar_t>(x, weight, gradient, blocks);
  });
}

}  // namespace

LinearForms linear() { return {forward, backward}; }

}  // namespace mollifield::operators::cpu
