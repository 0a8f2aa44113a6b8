// Lengths and harmonics: conventions in operators/harmonics.cpp. Derivatives come from the one formula by dual numbers.

#include <ATen/Parallel.h>

#include <cmath>

#include "implementation.hpp"
#include "operators/reference/implementation.hpp"

namespace mollifield::operators::cpu {
namespace {

using at::Tensor;

// Beyond this degree the reference is asked, on the CPU too.
constexpr int kLargestL = 3;
constexpr int kMostComponents = (kLargestL + 1) * (kLargestL + 1);

// A value and its derivatives in K directions; S may be a Dual again.
template <class S, int K> struct Dual {
  S v{};
  S d[K]{};
};

template <class S, int K> inline Dual<S, K> operator+(const Dual<S, K> &a, const Dual<S, K> &b)
{
  Dual<S, K> r{a.v + b.v};
  for (int k = 0; k < K; ++k) r.d[k] = a.d[k] + b.d[k];
  return r;
}
template <class S, int K> inline Dual<S, K> operator-(const Dual<S, K> &a, const Dual<S, K> &b)
{
  Dual<S, K> r{a.v - b.v};
  for (int k = 0; k < K; ++k) r.d[k] = a.d[k] - b.d[k];
  return r;
}
template <class S, int K> inline Dual<S, K> operator*(const Dual<S, K> &a, const Dual<S, K> &b)
{
  Dual<S, K> r{a.v * b.v};
  for (int k = 0; k < K; ++k) r.d[k] = a.d[k] * b.v + a.v * b.d[k];
  return r;
}
inline float scale(double c, float a) { return static_cast<float>(c) * a; }
inline double scale(double c, double a) { return c * a; }
template <class S, int K> inline Dual<S, K> scale(double c, const Dual<S, K> &a)
{
  Dual<S, K> r{scale(c, a.v)};
  for (int k = 0; k < K; ++k) r.d[k] = scale(c, a.d[k]);
  return r;
}

inline float inverse_root(float a) { return 1.0f / std::sqrt(a); }
inline double inverse_root(double a) { return 1.0 / std::sqrt(a); }
template <class S, int K> inline Dual<S, K> inverse_root(const Dual<S, K> &a)
{
  const S v = inverse_root(a.v);
  const S slope = scale(-0.5, v * v * v);
  Dual<S, K> r{v};
  for (int k = 0; k < K; ++k) r.d[k] = slope * a.d[k];
  return r;
}

template <class S> inline void constant(S &out, double value)
{
  if constexpr (std::is_floating_point_v<S>)
    out = static_cast<S>(value);
  else {
    out = S{};
    constant(out.v, value);
  }
}

template <class S> inline void evaluate(const S *vector, int l_max, S *out, S &length)
{
  const S square = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2];
  const S inverse = inverse_root(square);
  length = square * inverse;
  const S x = vector[0] * inverse, y = vector[1] * inverse, z = vector[2] * inverse;
  constant(out[0], 1.0);
  if (l_max < 1) return;
  const double s3 = std::sqrt(3.0), s5 = std::sqrt(5.0), s7 = std::sqrt(7.0), s15 = std::sqrt(15.0);
  out[1] = scale(s3, x);
  out[2] = scale(s3, y);
  out[3] = scale(s3, z);
  if (l_max < 2) return;
  const S y2 = y * y, xz2 = x * x + z * z;
  const S xz = scale(s15, x * z), zz = scale(0.5 * s15, z * z - x * x);
  out[4] = xz;
  out[5] = scale(s15, x * y);
  out[6] = scale(s5, y2 - scale(0.5, xz2));
  out[7] = scale(s15, y * z);
  out[8] = zz;
  if (l_max < 3) return;
  const double a = std::sqrt(42.0) / 6.0, b = std::sqrt(168.0) / 8.0;
  const S polar = scale(4.0, y2) - xz2;
  out[9] = scale(a, xz * z + zz * x);
  out[10] = scale(s7, xz * y);
  out[11] = scale(b, polar * x);
  out[12] = scale(0.5 * s7, y * (scale(2.0, y2) - scale(3.0, xz2)));
  out[13] = scale(b, polar * z);
  out[14] = scale(s7, zz * y);
  out[15] = scale(a, zz * z - xz * x);
}

template <class Body> void for_each_edge(const Tensor &vectors, Body body)
{
  at::parallel_for(0, vectors.size(0) * vectors.size(1), 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t e = begin; e < end; ++e) body(e);
  });
}

std::pair<Tensor, Tensor> forward(const Tensor &vectors, std::int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().forward(vectors, l_max);
  const Tensor d = vectors.contiguous();
  const std::int64_t n = (l_max + 1) * (l_max + 1);
  Tensor harmonics = at::empty({d.size(0), d.size(1), n}, d.options());
  Tensor lengths = at::empty({d.size(0), d.size(1)}, d.options());
  AT_DISPATCH_FLOATING_TYPES(d.scalar_type(), "mollifield::edge_geometry", [&] {
    const scalar_t *pd = d.const_data_ptr<scalar_t>();
    scalar_t *py = harmonics.mutable_data_ptr<scalar_t>(), *pr = lengths.mutable_data_ptr<scalar_t>();
    for_each_edge(d, [&](std::int64_t e) { evaluate(pd + 3 * e, static_cast<int>(l_max), py + n * e, pr[e]); });
  });
  return {harmonics, lengths};
}

Tensor backward(const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r, std::int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().backward(vectors, grad_y, grad_r, l_max);
  const Tensor d = vectors.contiguous(), gy = grad_y.contiguous(), gr = grad_r.contiguous();
  Tensor out = at::empty_like(d);
  AT_DISPATCH_FLOATING_TYPES(d.scalar_type(), "mollifield::edge_geometry_backward", [&] {
    using First = Dual<scalar_t, 3>;
    const scalar_t *pd = d.const_data_ptr<scalar_t>(), *py = gy.const_data_ptr<scalar_t>();
    const scalar_t *pr = gr.const_data_ptr<scalar_t>();
    scalar_t *po = out.mutable_data_ptr<scalar_t>();
    const std::int64_t n = gy.size(2);
    for_each_edge(d, [&](std::int64_t e) {
      First v[3], y[kMostComponents], r;
      for (int a = 0; a < 3; ++a) {
        v[a].v = pd[3 * e + a];
        v[a].d[a] = 1;
      }
      evaluate(v, static_cast<int>(l_max), y, r);
      for (int a = 0; a < 3; ++a) {
        scalar_t sum = pr[e] * r.d[a];
        for (std::int64_t k = 0; k < n; ++k) sum += py[n * e + k] * y[k].d[a];
        po[3 * e + a] = sum;
      }
    });
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> double_backward(const Tensor &vectors, const Tensor &grad_y, const Tensor &grad_r,
                                                   const Tensor &tangent, std::int64_t l_max)
{
  if (l_max > kLargestL) return reference::edge_geometry().double_backward(vectors, grad_y, grad_r, tangent, l_max);
  const Tensor d = vectors.contiguous(), gy = grad_y.contiguous(), gr = grad_r.contiguous(), w = tangent.contiguous();
  Tensor out_d = at::empty_like(d), out_y = at::empty_like(gy), out_r = at::empty_like(gr);
  AT_DISPATCH_FLOATING_TYPES(d.scalar_type(), "mollifield::edge_geometry_double_backward", [&] {
    using Along = Dual<scalar_t, 1>;  // derivative along the cotangent
    using Second = Dual<Along, 3>;
    const scalar_t *pd = d.const_data_ptr<scalar_t>(), *py = gy.const_data_ptr<scalar_t>();
    const scalar_t *pr = gr.const_data_ptr<scalar_t>(), *pw = w.const_data_ptr<scalar_t>();
    scalar_t *od = out_d.mutable_data_ptr<scalar_t>(), *oy = out_y.mutable_data_ptr<scalar_t>();
    scalar_t *o_r = out_r.mutable_data_ptr<scalar_t>();
    const std::int64_t n = gy.size(2);
    for_each_edge(d, [&](std::int64_t e) {
      Second v[3], y[kMostComponents], r;
      for (int a = 0; a < 3; ++a) {
        v[a].v.v = pd[3 * e + a];
        v[a].v.d[0] = pw[3 * e + a];
        v[a].d[a].v = 1;
      }
      evaluate(v, static_cast<int>(l_max), y, r);
      o_r[e] = r.v.d[0];
      for (std::int64_t k = 0; k < n; ++k) oy[n * e + k] = y[k].v.d[0];
      for (int a = 0; a < 3; ++a) {
        scalar_t sum = pr[e] * r.d[a].d[0];
        for (std::int64_t k = 0; k < n; ++k) sum += py[n * e + k] * y[k].d[a].d[0];
        od[3 * e + a] = sum;
      }
    });
  });
  return {out_d, out_y, out_r};
}

}  // namespace

EdgeGeometryForms edge_geometry() { return {forward, backward, double_backward}; }

}  // namespace mollifield::operators::cpu
