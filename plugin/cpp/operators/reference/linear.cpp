// Linear maps: shapes in operators/linear.cpp.

#include "implementation.hpp"

namespace mollifield::operators::reference {
namespace {

using at::Tensor;

// What belongs to one degree, as a batch of matrices, a member each: rows are atoms and components.
Tensor rows_of(const Tensor &flat, const LinearBlock &block, std::int64_t start, std::int64_t width)
{
  return flat.narrow(2, start, block.n_components * width)
      .reshape({flat.size(0), flat.size(1) * block.n_components, width});
}
Tensor inputs_of(const Tensor &x, const LinearBlock &b) { return rows_of(x.flatten(2), b, b.row, b.fan_in); }
Tensor outputs_of(const Tensor &out, const LinearBlock &b) { return rows_of(out, b, b.out, b.width); }
Tensor matrix_of(const Tensor &weight, const LinearBlock &b)
{
  return b.scale * weight.narrow(1, b.weight, b.fan_in * b.width).reshape({weight.size(0), b.fan_in, b.width});
}

Tensor forward(const Tensor &x, const Tensor &weight, const LinearBlocks &blocks)
{
  std::vector<Tensor> parts;
  for (const LinearBlock &b : blocks.all)
    parts.push_back(
        at::bmm(inputs_of(x, b), matrix_of(weight, b)).view({x.size(0), x.size(1), b.n_components * b.width}));
  return at::cat(parts, 2);
}

Tensor input_gradient(const Tensor &x, const Tensor &weight, const Tensor &grad_out, const LinearBlocks &blocks)
{
  std::vector<Tensor> parts;
  for (const LinearBlock &b : blocks.all)
    parts.push_back(at::bmm(outputs_of(grad_out, b), matrix_of(weight, b).transpose(1, 2))
                        .view({x.size(0), x.size(1), b.n_components * b.fan_in}));
  return at::cat(parts, 2).view(x.sizes());
}

Tensor weight_gradient(const Tensor &x, const Tensor &grad_out, const LinearBlocks &blocks)
{
  std::vector<Tensor> parts;
  for (const LinearBlock &b : blocks.all)
    parts.push_back(b.scale * at::bmm(inputs_of(x, b).transpose(1, 2), outputs_of(grad_out, b)).flatten(1));
  return at::cat(parts, 1);
}

void backward(const Tensor &x, const Tensor &weight, const Tensor &grad_out, const LinearBlocks &blocks, Tensor *grad_x,
              Tensor *grad_weight)
{
  if (grad_x) *grad_x = input_gradient(x, weight, grad_out, blocks);
  if (grad_weight) *grad_weight = weight_gradient(x, grad_out, blocks);
}

}  // namespace

LinearForms linear() { return {forward, backward}; }

}  // namespace mollifield::operators::reference
