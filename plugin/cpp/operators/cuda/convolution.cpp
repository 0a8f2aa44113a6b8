// Convolutions: shapes in operators/convolution.cpp, kernels in source_convolution.hpp.

#include "grouping.hpp"
#include "implementation_parts.hpp"
#include "programs.hpp"
#include "source.hpp"
#include "source_convolution.hpp"

namespace mollifield::operators::cuda {
namespace {

using at::Tensor;

Tensor whole(const Tensor &tensor) { return tensor.defined() ? tensor.contiguous() : tensor; }

Tensor made(Tensor *wanted, const Tensor &like)
{
  if (!wanted) return {};
  return *wanted = at::empty_like(like);
}

// Everything that the kernels need, for one call.
class Call {
 public:
  Call(const ConvolutionOperands &o, const CouplingTable &table) :
      table_(table), x_(o.x.contiguous()), harmonics_(o.harmonics.contiguous()), weights_(whole(o.weights)),
      index_(o.edge_index.contiguous()), lengths_(whole(o.lengths)), knots_(whole(o.knots)), n_centres_(o.n_centres),
      inverse_spacing_(knots_.defined() ? static_cast<double>(knots_.size(1) - 1) / o.r_max : 0.0),
      shape_{x_.scalar_type(), x_.size(3), knots_.defined()}, groups_(groupings(o.edge_index, n_centres_, x_.size(1)))
  {}

  Tensor forward()
  {
    Tensor out = at::empty({x_.size(0), n_centres_, table_.n_rows, x_.size(3)}, x_.options());
    out_ = out;
    by_centre();
    return out;
  }

  void backward(const Tensor &grad_out, const ConvolutionGradients &wanted)
  {
    grad_out_ = grad_out.contiguous();
    grad_x_ = made(wanted.x, x_);
    if (wanted.x) by_source();
    by_edge(wanted);
  }

  void double_backward(const Tensor &grad_out, const std::vector<Tensor> &tangents, const ConvolutionGradients &wanted)
  {
    shape_.order = 1;
    x_tangent_ = tangents[0].contiguous();
    harmonics_tangent_ = tangents[1].contiguous();
    weights_tangent_ = tangents[2].contiguous();
    backward(grad_out, wanted);
    out_ = made(wanted.grad_out, grad_out_);
    by_centre();
  }

 private:
  std::string name(const char *kernel) const
  {
    return c10::str(kernel, ' ', shape_.spline, shape_.order, ' ', shape_.n_channels, ' ', table_.digest);
  }

  void by_centre()
  {
    const auto kernels = program(x_, name("by_centre"), [&] { return cuda::by_centre(table_, shape_); });
    const Grid grid = grid_for(n_centres_ * shape_.n_channels, kThreads, x_.size(0));
    for (int part = 0; part < n_by_centre(table_, shape_); ++part)
      launch(*kernels, c10::str("by_centre_", part), grid, groups_->centres);
  }

  void by_source()
  {
    const auto kernels = program(x_, name("by_source"), [&] { return cuda::by_source(table_, shape_); });
    launch(*kernels, "by_source", grid_for(x_.size(1) * shape_.n_channels, kThreads, x_.size(0)), groups_->sources);
  }

  void by_edge(const ConvolutionGradients &wanted)
  {
    const WantedOfEdges of_edges{!!wanted.harmonics, !!wanted.weights, !!wanted.lengths};
    if (!of_edges.harmonics && !of_edges.weights && !of_edges.lengths) return;
    grad_harmonics_ = made(wanted.harmonics, harmonics_);
    grad_weights_ = made(wanted.weights, weights_);
    grad_lengths_ = made(wanted.lengths, lengths_);
    const EdgeBlocks blocks = edge_blocks(table_, shape_, of_edges);
    const auto kernels = program(x_, c10::str(name("by_edge"), of_edges.harmonics, of_edges.weights, of_edges.lengths),
                                 [&] { return cuda::by_edge(table_, shape_, of_edges); });
    const unsigned threads = blocks.lanes * blocks.edges;
    const std::int64_t n_blocks = (harmonics_.size(1) + blocks.edges - 1) / blocks.edges;
    launch(*kernels, "by_edge", grid_for(n_blocks * threads, threads, harmonics_.size(0)), groups_->centres);
  }

  void launch(const Program &kernels, const std::string &kernel, const Grid &grid, const Grouping &groups) const
  {
    const auto *const ends = index_.const_data_ptr<std::int64_t>();
    const std::int64_t n_edges = index_.size(1), n_knots = knots_.defined() ? knots_.size(1) : 0;
    cuda::launch(kernels, kernel, grid, x_.size(0), harmonics_.size(0), x_.size(1), n_centres_, n_edges,
                 input(groups.first), input(groups.order), ends, ends + n_edges, input(x_), input(x_tangent_),
                 input(harmonics_), input(harmonics_tangent_), input(weights_), input(weights_tangent_),
                 input(grad_out_), input(lengths_), input(knots_), n_knots, inverse_spacing_, output(out_),
                 output(grad_x_), output(grad_harmonics_), output(grad_weights_), output(grad_lengths_));
  }

  const CouplingTable &table_;
  Tensor x_, harmonics_, weights_, index_, lengths_, knots_;
  std::int64_t n_centres_;
  double inverse_spacing_;
  ConvolutionShape shape_;
  std::shared_ptr<const Groupings> groups_;
  Tensor x_tangent_, harmonics_tangent_, weights_tangent_, grad_out_;
  Tensor out_, grad_x_, grad_harmonics_, grad_weights_, grad_lengths_;
};

Tensor forward(const ConvolutionOperands &o, const CouplingTable &table) { return Call(o, table).forward(); }

void backward(const ConvolutionOperands &o, const CouplingTable &table, const Tensor &grad_out,
              const ConvolutionGradients &wanted)
{
  Call(o, table).backward(grad_out, wanted);
}

void double_backward(const ConvolutionOperands &o, const CouplingTable &table, const Tensor &grad_out,
                     const std::vector<Tensor> &tangents, const ConvolutionGradients &wanted)
{
  Call(o, table).double_backward(grad_out, tangents, wanted);
}

}  // namespace

ConvolutionForms convolution() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cuda
