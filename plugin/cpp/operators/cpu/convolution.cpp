// Convolutions: shapes in operators/convolution.cpp.

#include <ATen/Parallel.h>

#include "implementation.hpp"
#include "layout.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;

// Everything that both kernels need, for one call.
template <class T> class Call {
 public:
  Call(const ConvolutionOperands &o, const CouplingTable &table) :
      layout_(table), coupling_(layout_.view()), x_(o.x.contiguous()), harmonics_(o.harmonics.contiguous()),
      weights_(o.weights.defined() ? o.weights.contiguous() : o.weights), index_(o.edge_index.contiguous()),
      lengths_(o.lengths.defined() ? o.lengths.contiguous() : o.lengths),
      knots_(o.knots.defined() ? o.knots.contiguous() : o.knots)
  {
    const std::int64_t *ends = index_.const_data_ptr<std::int64_t>();
    args.n_members = x_.size(0);
    args.n_geometries = harmonics_.size(0);
    args.n_atoms = x_.size(1);
    args.n_centres = o.n_centres;
    args.n_edges = harmonics_.size(1);
    args.n_channels = x_.size(3);
    args.centre = ends;
    args.source = ends + args.n_edges;
    args.x = x_.template const_data_ptr<T>();
    args.harmonics = harmonics_.template const_data_ptr<T>();
    if (weights_.defined()) args.weights = weights_.template const_data_ptr<T>();
    if (knots_.defined()) {
      args.spline.values = knots_.template const_data_ptr<T>();
      args.spline.lengths = lengths_.template const_data_ptr<T>();
      args.spline.n_knots = knots_.size(1);
      args.spline.inverse_spacing = static_cast<T>((knots_.size(1) - 1) / o.r_max);
    }
  }

  Tensor forward()
  {
    const Grouping centres(args.centre, args.n_edges, args.n_centres);
    check_sources();
    Tensor out = at::empty({args.n_members, args.n_centres, coupling_.n_rows, args.n_channels}, x_.options());
    args.out = out.template data_ptr<T>();
    run(centres, args.n_centres, kernels<T>().forward);
    return out;
  }

  void backward(const Tensor &grad_out, const ConvolutionGradients &wanted)
  {
    const Tensor gradient = grad_out.contiguous();
    args.grad_out = gradient.template const_data_ptr<T>();
    if (wanted.x) *wanted.x = at::zeros_like(x_);
    if (wanted.harmonics) *wanted.harmonics = at::empty_like(harmonics_);
    if (wanted.weights) *wanted.weights = at::empty_like(weights_);
    if (wanted.lengths) *wanted.lengths = at::empty_like(lengths_);
    accumulate(kernels<T>().backward, wanted);
  }

  void double_backward(const Tensor &grad_out, const std::vector<Tensor> &tangents, const ConvolutionGradients &wanted)
  {
    const Tensor gradient = grad_out.contiguous(), vx = tangents[0].contiguous(), vy = tangents[1].contiguous(),
                 vw = tangents[2].contiguous();
    args.grad_out = gradient.template const_data_ptr<T>();
    args.x_tangent = vx.template const_data_ptr<T>();
    args.harmonics_tangent = vy.template const_data_ptr<T>();
    args.weights_tangent = vw.template const_data_ptr<T>();
    *wanted.x = at::zeros_like(x_);
    *wanted.harmonics = at::empty_like(harmonics_);
    *wanted.weights = at::empty_like(weights_);
    *wanted.grad_out = at::empty_like(gradient);
    args.grad_grad_out = wanted.grad_out->template data_ptr<T>();
    accumulate(kernels<T>().double_backward, wanted);
  }

 private:
  template <class Kernel> void run(const Grouping &groups, std::int64_t n_groups, Kernel kernel)
  {
    args.first = groups.first();
    args.order = groups.order();
    const std::int64_t size = workspace_size(coupling_, args.n_channels);
    at::parallel_for(0, n_groups, 16, [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> workspace(size);
      kernel(coupling_, args, begin, end, workspace.data());
    });
  }

  template <class Kernel> void accumulate(Kernel kernel, const ConvolutionGradients &wanted)
  {
    const Grouping centres(args.centre, args.n_edges, args.n_centres);
    check_sources();
    const auto data = [](const Tensor *tensor) { return tensor ? tensor->template data_ptr<T>() : nullptr; };
    T *const x = data(wanted.x);
    // Sums by source run into each other when centres are shared out to threads, so these get a
    // pass of their own; the order of every sum is the same.
    const bool one_pass = at::get_num_threads() == 1 || at::in_parallel_region();
    args.grad_x = one_pass ? x : nullptr;
    args.grad_harmonics = data(wanted.harmonics);
    args.grad_weights = data(wanted.weights);
    args.spline.grad_lengths = data(wanted.lengths);
    if (one_pass || wanted.harmonics || wanted.weights || wanted.lengths) run(centres, args.n_centres, kernel);
    if (one_pass || !x) return;
    args.grad_x = x;
    args.grad_harmonics = args.grad_weights = args.grad_grad_out = args.spline.grad_lengths = nullptr;
    run(Grouping(args.source, args.n_edges, args.n_atoms, centres.order()), args.n_atoms, kernel);
  }

  void check_sources() const
  {
    for (std::int64_t e = 0; e < args.n_edges; ++e)
      TORCH_CHECK_INDEX(args.source[e] >= 0 && args.source[e] < args.n_atoms, "edge_index: edge ", e, " names atom ",
                        args.source[e], " of ", args.n_atoms);
  }

  CouplingLayout<T> layout_;
  Coupling<T> coupling_;
  Tensor x_, harmonics_, weights_, index_, lengths_, knots_;
  Convolution<T> args{};
};

Tensor forward(const ConvolutionOperands &o, const CouplingTable &table)
{
  return AT_DISPATCH_FLOATING_TYPES(o.x.scalar_type(), "mollifield::convolution",
                                    [&] { return Call<scalar_t>(o, table).forward(); });
}

void backward(const ConvolutionOperands &o, const CouplingTable &table, const Tensor &grad_out,
              const ConvolutionGradients &wanted)
{
  AT_DISPATCH_FLOATING_TYPES(o.x.scalar_type(), "mollifield::convolution_backward",
                             [&] { Call<scalar_t>(o, table).backward(grad_out, wanted); });
}

void double_backward(const ConvolutionOperands &o, const CouplingTable &table, const Tensor &grad_out,
                     const std::vector<Tensor> &tangents, const ConvolutionGradients &wanted)
{
  AT_DISPATCH_FLOATING_TYPES(o.x.scalar_type(), "mollifield::convolution_double_backward",
                             [&] { Call<scalar_t>(o, table).double_backward(grad_out, tangents, wanted); });
}

}  // namespace

ConvolutionForms convolution() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cpu
