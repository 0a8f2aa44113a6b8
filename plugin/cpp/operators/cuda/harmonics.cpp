// Lengths and harmonics: conventions in operators/harmonics.cpp. A thread owns an edge. Its rows of 3 and (l_max+1)^2
// words lie side by side with those of its warp, so whole sectors are read and written, in as many pieces as a row has
// words, which meet in the L2 cache.

#include "harmonics_formula_text.hpp"
#include "implementation_parts.hpp"
#include "operators/reference/implementation.hpp"
#include "programs.hpp"
#include "source.hpp"

namespace mollifield::operators::cuda {
namespace {

using at::Tensor;
using std::int64_t;

// Beyond this degree the reference is asked, here as on the CPU.
constexpr int64_t kLargestL = 3;

// What the formula asks for.
constexpr const char *kNumbers = R"(
#define MOLLIFIELD_FUNCTION static __device__ __forceinline__
MOLLIFIELD_FUNCTION T scale(double c, const T &a) { return static_cast<T>(c) * a; }
MOLLIFIELD_FUNCTION float inverse_root(const float &a) { return 1 / sqrtf(a); }
MOLLIFIELD_FUNCTION double inverse_root(const double &a) { return 1 / sqrt(a); }
MOLLIFIELD_FUNCTION T constant(const T &, double value) { return static_cast<T>(value); }
)";

constexpr const char *kForward = R"(
T v[3], y[16], r;
for (int a = 0; a < 3; ++a) v[a] = __ldg(vectors + 3 * row + a);
evaluate(v, L_MAX, y, r);
#pragma unroll
for (int k = 0; k < N; ++k) harmonics[row * N + k] = y[k];
lengths[row] = r;
)";

constexpr const char *kBackward = R"(
Dual<T, 3> v[3], y[16], r;
for (int a = 0; a < 3; ++a) {
v[a].v = __ldg(vectors + 3 * row + a);
v[a].d[a] = 1;
}
evaluate(v, L_MAX, y, r);
const T by_length = __ldg(grad_lengths + row);
T sum[3] = {by_length * r.d[0], by_length * r.d[1], by_length * r.d[2]};
#pragma unroll
for (int k = 1; k < N; ++k) {
const T by_harmonic = __ldg(grad_harmonics + row * N + k);
for (int a = 0; a < 3; ++a) sum[a] += by_harmonic * y[k].d[a];
}
for (int a = 0; a < 3; ++a) grad_vectors[3 * row + a] = sum[a];
)";

constexpr const char *kDoubleBackward = R"(
Dual<Dual<T, 1>, 3> v[3], y[16], r;
for (int a = 0; a < 3; ++a) {
v[a].v.v = __ldg(vectors + 3 * row + a);
v[a].v.d[0] = __ldg(tangent + 3 * row + a);
v[a].d[a].v = 1;
}
evaluate(v, L_MAX, y, r);
const T by_length = __ldg(grad_lengths + row);
T sum[3] = {by_length * r.d[0].d[0], by_length * r.d[1].d[0], by_length * r.d[2].d[0]};
#pragma unroll
for (int k = 0; k < N; ++k) {
const T by_harmonic = __ldg(grad_harmonics + row * N + k);
for (int a = 0; a < 3; ++a) sum[a] += by_harmonic * y[k].d[a].d[0];
harmonics[row * N + k] = y[k].v.d[0];
}
lengths[row] = r.v.d[0];
for (int a = 0; a < 3; ++a) grad_vectors[3 * row + a] = sum[a];
)";

// One of the three; all have these arguments, those that they don't use being null. In the double backward `harmonics`
// and `lengths` are gradients by `grad_harmonics` and `grad_lengths`.
struct Arguments {
  Tensor vectors, grad_harmonics, grad_lengths, tangent, harmonics, lengths, grad_vectors;
};

void run(const char *kernel, const char *body, int64_t l_max, const Arguments &a)
{
  const int64_t n_edges = a.vectors.size(0) * a.vectors.size(1);
  const auto kernels = program(a.vectors, c10::str(kernel, ' ', l_max), [&] {
    return c10::str(beginning(a.vectors.scalar_type(), 1), "constexpr int L_MAX = ", l_max,
                    ", N = (L_MAX + 1) * (L_MAX + 1);\n", kNumbers, kHarmonicsFormula,
                    head(kernel, kThreads,
                         "i64 n_rows, const T *vectors, const T *grad_harmonics, const T *grad_lengths, "
                         "const T *tangent, T *harmonics, T *lengths, T *grad_vectors"),
                    kEachRowAndChannel, body, kEnd);
  });
  launch(*kernels, kernel, grid_for(n_edges, kThreads), n_edges, input(a.vectors), input(a.grad_harmonics),
         input(a.grad_lengths), input(a.tangent), output(a.harmonics), output(a.lengths), output(a.grad_vectors));
}

std::pair<Tensor, Tensor> forward(const Tensor &vectors, int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().forward(vectors, l_max);
  Arguments a{vectors.contiguous(), {}, {}, {}, {}, {}, {}};
  a.harmonics = at::empty({vectors.size(0), vectors.size(1), (l_max + 1) * (l_max + 1)}, vectors.options());
  a.lengths = at::empty({vectors.size(0), vectors.size(1)}, vectors.options());
  run("edge_geometry", kForward, l_max, a);
  return {a.harmonics, a.lengths};
}

Tensor backward(const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r, int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().backward(vectors, grad_y, grad_r, l_max);
  Arguments a{vectors.contiguous(), grad_y.contiguous(), grad_r.contiguous(), {}, {}, {}, {}};
  a.grad_vectors = at::empty_like(a.vectors);
  run("edge_geometry_backward", kBackward, l_max, a);
  return a.grad_vectors;
}

std::tuple<Tensor, Tensor, Tensor> double_backward(const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r,
                                                   const Tensor &tangent, int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().double_backward(vectors, grad_y, grad_r, tangent, l_max);
  Arguments a{vectors.contiguous(), grad_y.contiguous(), grad_r.contiguous(), tangent.contiguous(), {}, {}, {}};
  a.harmonics = at::empty_like(a.grad_harmonics);
  a.lengths = at::empty_like(a.grad_lengths);
  a.grad_vectors = at::empty_like(a.vectors);
  run("edge_geometry_double_backward", kDoubleBackward, l_max, a);
  return {a.grad_vectors, a.harmonics, a.lengths};
}

}  // namespace

EdgeGeometryForms edge_geometry() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cuda
