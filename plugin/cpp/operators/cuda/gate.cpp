// Gates: shapes in operators/gate.cpp. A thread owns a channel of an atom, whose gates it reads once.

#include "implementation_parts.hpp"
#include "operators/activation.hpp"
#include "programs.hpp"
#include "source.hpp"

namespace mollifield::operators::cuda {
namespace {

using at::Tensor;
using std::int64_t;

constexpr const char *kForward = R"(
const T *const s = sigmoids + row * N_GATES + c, *const u = inputs + row * N_IN + c;
T *const to = out + row * N_OUT + c;
to[0] = SILU * __ldg(u) * __ldg(s);
#pragma unroll
for (int l = 1; l <= L_MAX; ++l) {
const T gate = SIGMOID * __ldg(s + l * C);
#pragma unroll
for (int k = l * l; k < (l + 1) * (l + 1); ++k) to[k * C] = gate * __ldg(u + (k + L_MAX) * C);
}
)";

constexpr const char *kBackward = R"(
const T *const s = sigmoids + row * N_GATES + c, *const u = inputs + row * N_IN + c;
const T *const g = grad_out + row * N_OUT + c;
T *const to = grad_inputs + row * N_IN + c;
const T s0 = __ldg(s);
to[0] = SILU * __ldg(g) * s0 * (1 + __ldg(u) * (1 - s0));
#pragma unroll
for (int l = 1; l <= L_MAX; ++l) {
const T sl = __ldg(s + l * C);
T gate = 0;
#pragma unroll
for (int k = l * l; k < (l + 1) * (l + 1); ++k) {
const T scaled = SIGMOID * __ldg(g + k * C) * sl;
to[(k + L_MAX) * C] = scaled;
gate += scaled * (1 - sl) * __ldg(u + (k + L_MAX) * C);
}
to[l * C] = gate;
}
)";

constexpr const char *kDoubleBackward = R"(
const T *const s = sigmoids + row * N_GATES + c, *const u = inputs + row * N_IN + c;
const T *const g = grad_out + row * N_OUT + c, *const v = tangent + row * N_IN + c;
T *const du = second_inputs + row * N_IN + c, *const dg = second_grad_out + row * N_OUT + c;
const T s0 = __ldg(s), u0 = __ldg(u), scaled = SILU * __ldg(v) * s0;
dg[0] = scaled * (1 + u0 * (1 - s0));
du[0] = scaled * __ldg(g) * (1 - s0) * (2 + u0 * (1 - 2 * s0));
#pragma unroll
for (int l = 1; l <= L_MAX; ++l) {
const T sl = __ldg(s + l * C), first = SIGMOID * sl * (1 - sl), along = __ldg(v + l * C) * first;
T gate = 0;
#pragma unroll
for (int k = l * l; k < (l + 1) * (l + 1); ++k) {
const T uk = __ldg(u + (k + L_MAX) * C), vk = __ldg(v + (k + L_MAX) * C), gk = __ldg(g + k * C);
dg[k * C] = along * uk + SIGMOID * sl * vk;
du[(k + L_MAX) * C] = along * gk;
gate += gk * (along * (1 - 2 * sl) * uk + first * vk);
}
du[l * C] = gate;
}
)";

// One of the three for tensors of this dtype; all have these arguments, those that they don't use being null.
struct Arguments {
  Tensor inputs, sigmoids, grad_out, tangent, out, grad_inputs, second_inputs, second_grad_out;
};

void run(const char *kernel, const char *body, int64_t l_max, const Arguments &a)
{
  const Tensor &inputs = a.inputs;
  const int64_t n_channels = a.sigmoids.size(2) / (l_max + 1), n_rows = inputs.size(0) * inputs.size(1);
  const auto kernels = program(inputs, c10::str(kernel, ' ', l_max, ' ', n_channels), [&] {
    return c10::str(beginning(inputs.scalar_type(), n_channels), "constexpr int L_MAX = ", l_max,
                    ", N_GATES = (L_MAX + 1) * C, N_OUT = (L_MAX + 1) * N_GATES, N_IN = N_OUT + L_MAX * C;\n",
                    "constexpr T SILU = ", number(kSiluScale), ", SIGMOID = ", number(kSigmoidScale), ";\n",
                    head(kernel, kThreads,
                         "i64 n_rows, const T *inputs, const T *sigmoids, const T *grad_out, const T *tangent, "
                         "T *out, T *grad_inputs, T *second_inputs, T *second_grad_out"),
                    kEachRowAndChannel, body, kEnd);
  });
  launch(*kernels, kernel, grid_for(n_rows * n_channels, kThreads), n_rows, input(inputs), input(a.sigmoids),
         input(a.grad_out), input(a.tangent), output(a.out), output(a.grad_inputs), output(a.second_inputs),
         output(a.second_grad_out));
}

Tensor forward(const Tensor &inputs, const Tensor &sigmoids, int64_t l_max)
{
  const int64_t n_channels = sigmoids.size(2) / (l_max + 1);
  Arguments a{inputs, sigmoids, {}, {}, {}, {}, {}, {}};
  a.out = at::empty({inputs.size(0), inputs.size(1), (l_max + 1) * (l_max + 1), n_channels}, inputs.options());
  run("gate", kForward, l_max, a);
  return a.out;
}

Tensor backward(const Tensor &inputs, const Tensor &sigmoids, const Tensor &grad_out, int64_t l_max)
{
  const Arguments a{inputs, sigmoids, grad_out.contiguous(), {}, {}, at::empty_like(inputs), {}, {}};
  run("gate_backward", kBackward, l_max, a);
  return a.grad_inputs;
}

std::pair<Tensor, Tensor> double_backward(const Tensor &inputs, const Tensor &sigmoids, const Tensor &grad_out,
                                          const Tensor &tangent, int64_t l_max)
{
  const Tensor gradient = grad_out.contiguous();
  const Arguments a{
      inputs, sigmoids, gradient, tangent.contiguous(), {}, {}, at::empty_like(inputs), at::empty_like(gradient)};
  run("gate_double_backward", kDoubleBackward, l_max, a);
  return {a.second_inputs, a.second_grad_out};
}

}  // namespace

GateForms gate() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cuda
