// A matrix for each degree l and member, applied to the 2l+1 components alike, as a torch operator.
//
//   x [M, N, K, C]: rows offset(l) + m * n_paths[l] + path     weight [M, W]: [n_paths[l] * C, width(l)] for each l
//   -> [M, N, D]: width(0) = n_scalars, then (2l+1) times width(l) = n_out for each l
//
// Entries are scaled by scale / sqrt(n_paths[l] * C). Bilinear in x and weight; see bilinear.hpp. Components of x
// are strided matrices, so nothing is copied.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <cmath>

#include "bilinear.hpp"
#include "kernels.hpp"

namespace mollifield::operators {
namespace {

using at::Tensor;
using std::int64_t;

struct Block {
  int64_t n_components, fan_in, width;
  int64_t row, weight, out;  // where it begins: in the channels of an atom, in the weights, in the output
  double scale;
};

struct Blocks {
  std::vector<Block> all;
  int64_t n_rows = 0, n_weights = 0, n_outputs = 0;

  Blocks(const c10::IValue &parameters, int64_t n_channels)
  {
    const auto &p = parameters.toTupleRef().elements();
    const std::vector<int64_t> n_paths = p[0].toIntVector();
    for (std::size_t l = 0; l < n_paths.size(); ++l) {
      const int64_t fan_in = n_paths[l] * n_channels, width = l == 0 ? p[2].toInt() : p[1].toInt();
      const int64_t n_components = 2 * static_cast<int64_t>(l) + 1;
      const double scale = p[3].toDouble() / std::sqrt(static_cast<double>(fan_in));
      all.push_back({n_components, fan_in, width, n_rows * n_channels, n_weights, n_outputs, scale});
      n_rows += n_components * n_paths[l];
      n_weights += fan_in * width;
      n_outputs += n_components * width;
    }
  }
};

void check(const Tensor &x, const Tensor &weight, const Blocks &blocks)
{
  TORCH_CHECK_VALUE(x.dim() == 4 && x.size(2) == blocks.n_rows, "x: found ", x.sizes(), "; allowed is [M, N, ",
                    blocks.n_rows, ", C]");
  TORCH_CHECK_VALUE(weight.dim() == 2 && weight.size(0) == x.size(0) && weight.size(1) == blocks.n_weights,
                    "weight: found ", weight.sizes(), "; allowed is [", x.size(0), ", ", blocks.n_weights, "]");
  TORCH_CHECK_TYPE(x.scalar_type() == weight.scalar_type(), "x and weight must share one dtype; found ",
                   x.scalar_type(), ", ", weight.scalar_type());
  TORCH_CHECK_VALUE(x.is_cpu() && weight.is_cpu(), "mollifield::linear runs on the CPU; found ", x.device());
}

// The components of one atom in one piece; atoms may lie apart, as in a part of wider features.
Tensor with_whole_atoms(const Tensor &x) { return x.stride(3) == 1 && x.stride(2) == x.size(3) ? x : x.contiguous(); }

template <class Body> void for_each_component(const Blocks &blocks, int64_t n_members, Body body)
{
  for (int64_t member = 0; member < n_members; ++member)
    for (const Block &block : blocks.all)
      for (int64_t m = 0; m < block.n_components; ++m) body(member, block, m);
}

template <class T> Tensor forward(const Tensor &input, const Tensor &weights, const Blocks &blocks)
{
  const Tensor x = with_whole_atoms(input), weight = weights.contiguous();
  Tensor out = at::empty({x.size(0), x.size(1), blocks.n_outputs}, x.options());
  at::parallel_for(0, x.size(1), 64, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, x.size(0), [&](int64_t member, const Block &b, int64_t m) {
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
template <class T> std::vector<T> transposed(const Tensor &weight, const Blocks &blocks)
{
  std::vector<T> all(weight.numel());
  for (int64_t member = 0; member < weight.size(0); ++member)
    for (const Block &b : blocks.all) {
      const int64_t at = member * blocks.n_weights + b.weight;
      const T *from = weight.const_data_ptr<T>() + at;
      T *to = all.data() + at;
      for (int64_t j = 0; j < b.width; ++j)
        for (int64_t i = 0; i < b.fan_in; ++i) to[j * b.fan_in + i] = from[i * b.width + j];
    }
  return all;
}

template <class T>
Tensor input_gradient(const Tensor &x, const Tensor &weights, const Tensor &gradient, const Blocks &blocks)
{
  const std::vector<T> weight = transposed<T>(weights.contiguous(), blocks);
  const int64_t n_inputs = x.size(2) * x.size(3);
  Tensor out = at::empty(x.sizes(), x.options());
  at::parallel_for(0, x.size(1), 64, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, x.size(0), [&](int64_t member, const Block &b, int64_t m) {
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
Tensor weight_gradient(const Tensor &input, const Tensor &weight, const Tensor &gradient, const Blocks &blocks)
{
  const Tensor x = with_whole_atoms(input);
  Tensor out = at::empty(weight.sizes(), weight.options());
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for_each_component(blocks, end - begin, [&](int64_t number, const Block &b, int64_t m) {
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

struct Linear {
  static Tensor forward(const Tensor &x, const Tensor &weight, const c10::IValue &parameters)
  {
    const Blocks blocks(parameters, x.size(-1));
    check(x, weight, blocks);
    return AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "mollifield::linear",
                                      [&] { return operators::forward<scalar_t>(x, weight, blocks); });
  }
  static void backward(const Tensor &x, const Tensor &weight, const Tensor &grad_out, const c10::IValue &parameters,
                       Tensor *grad_x, Tensor *grad_weight)
  {
    const Blocks blocks(parameters, x.size(-1));
    const Tensor gradient = grad_out.contiguous();
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "mollifield::linear_backward", [&] {
      if (grad_x) *grad_x = input_gradient<scalar_t>(x, weight, gradient, blocks);
      if (grad_weight) *grad_weight = weight_gradient<scalar_t>(x, weight, gradient, blocks);
    });
  }
};

Tensor linear(const Tensor &x, const Tensor &weight, std::vector<int64_t> n_paths, int64_t n_out, int64_t n_scalars,
              double scale)
{
  return bilinear<Linear>(x, weight, c10::ivalue::Tuple::create({c10::IValue(n_paths), n_out, n_scalars, scale}));
}

}  // namespace
}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("linear(Tensor x, Tensor weight, int[] n_paths, int n_out, int n_scalars, float scale) -> Tensor",
              mollifield::operators::linear);
}
