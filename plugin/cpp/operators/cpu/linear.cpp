// Linear maps: shapes in operators/linear.cpp. Components of x are strided matrices, so nothing is copied.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "maps.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;
using std::int64_t;

// The components of one atom in one piece; atoms may lie apart, as in a part of wider features.
Tensor with_whole_atoms(const Tensor &x) { return x.stride(3) == 1 && x.stride(2) == x.size(3) ? x : x.contiguous(); }

template <class T> Tensor output(const Tensor &input, const Tensor &weights, const LinearBlocks &blocks)
{
  const Tensor x = with_whole_atoms(input), weight = weights.contiguous();
  Tensor out = at::empty({x.size(0), x.size(1), blocks.n_outputs}, x.options());
  at::parallel_for(0, x.size(1), 64, [&](int64_t begin, int64_t end) {
    for (int64_t member = 0; member < x.size(0); ++member)
      map_atoms(blocks, weight.const_data_ptr<T>() + member * blocks.n_weights,
                x.const_data_ptr<T>() + member * x.stride(0) + begin * x.stride(1), x.stride(1),
                out.mutable_data_ptr<T>() + (member * x.size(1) + begin) * blocks.n_outputs, end - begin);
  });
  return out;
}

template <class T>
Tensor input_gradient(const Tensor &x, const Tensor &weights, const Tensor &gradient, const LinearBlocks &blocks)
{
  const Tensor weight = weights.contiguous();
  std::vector<T> transposed(weight.numel());
  for (int64_t at = 0; at < weight.numel(); at += blocks.n_weights)
    transpose(blocks, weight.const_data_ptr<T>() + at, transposed.data() + at);
  const int64_t n_inputs = x.size(2) * x.size(3);
  Tensor out = at::empty(x.sizes(), x.options());
  at::parallel_for(0, x.size(1), 64, [&](int64_t begin, int64_t end) {
    for (int64_t member = 0; member < x.size(0); ++member) {
      const int64_t atom = member * x.size(1) + begin;
      map_atoms_back(blocks, transposed.data() + member * blocks.n_weights,
                     gradient.const_data_ptr<T>() + atom * blocks.n_outputs,
                     out.mutable_data_ptr<T>() + atom * n_inputs, n_inputs, end - begin);
    }
  });
  return out;
}

template <class Body> void for_each_component(const LinearBlocks &blocks, int64_t begin, int64_t end, Body body)
{
  for (int64_t member = begin; member < end; ++member)
    for (const LinearBlock &block : blocks.all)
      for (int64_t m = 0; m < block.n_components; ++m) body(member, block, m);
}

template <class T>
Tensor weight_gradient(const Tensor &input, const Tensor &weight, const Tensor &gradient, const LinearBlocks &blocks)
{
  const Tensor x = with_whole_atoms(input);
  Tensor out = at::empty(weight.sizes(), weight.options());
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, begin, end, [&](int64_t member, const LinearBlock &b, int64_t m) {
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
