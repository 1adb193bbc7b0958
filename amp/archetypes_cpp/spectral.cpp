// The kernels of spectral.hpp. Planes are long and neighbours, so the loop over firings is inside; only
// the sums for params have it outside.
#include "spectral.hpp"

#include <algorithm>
#include <cmath>

namespace amp {
namespace {

using Index = int64_t;

struct Complex {
  double re, im;
};

inline Complex operator*(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

inline Complex conj(Complex a) { return {a.re, -a.im}; }

// Two planes of one band, or one plane of real numbers, or none at all: ones.
template <class Number>
struct Band {
  Number *re, *im;
  Complex operator[](Index t) const {
    return {re == nullptr ? 1.0 : re[t], im == nullptr ? 0.0 : im[t]};
  }
};

template <class Number>
Band<Number> band(Number* planes, Index stride, Index number, Index parts = 2) {
  if (parts == 0) return {nullptr, nullptr};
  Number* re = planes + number * parts * stride;
  return {re, parts == 2 ? re + stride : nullptr};
}

void put(Band<double> to, Index t, Complex value) {
  to.re[t] = value.re;
  to.im[t] = value.im;
}

void add(Band<double> to, Index t, Complex value) {
  to.re[t] += value.re;
  if (to.im != nullptr) to.im[t] += value.im;
}

struct Gain {
  Index bands, channels, own_parts, own_channels, parts, gains;
  explicit Gain(const int64_t* s)
      : bands(s[0]), channels(s[1]), own_parts(s[2]), own_channels(s[3]), parts(s[4]), gains(s[5]) {}

  // Number of the band (c, k) among those of something with so many channels.
  Index at(Index c, Index k, Index of) const { return (of == 1 ? 0 : c) * bands + k; }

  template <class Number>
  Band<Number> response(Number* planes, Index c, Index k) const {
    return band(planes, 1, at(c, k, own_channels), own_parts);
  }
};

struct Division {
  Index bands, channels, divisors, low, high;
  double regularisation;
  Complex turn;
  Division(const int64_t* s, const double* params)
      : bands(s[0]), channels(s[1]), divisors(s[2]), low(s[3]), high(s[4]), regularisation(params[0]) {
    const long double angle = 2 * 3.14159265358979323846264338327950288L * params[1];
    turn = {static_cast<double>(std::cos(angle)), static_cast<double>(std::sin(angle))};
  }
  bool inside(Index k) const { return low <= k && k < high; }
  Index divisor(Index c, Index k) const { return (divisors == 1 ? 0 : c) * bands + k; }
  double power(Complex d) const { return (d.re * d.re + d.im * d.im) + regularisation; }
  Complex quotient(Complex x, Complex d) const {
    const Complex y = (turn * x) * conj(d);
    const double s = power(d);
    return {y.re / s, y.im / s};
  }
};

}  // namespace
}  // namespace amp

using namespace amp;

void amp_spectral_gain_forward(const double* params, const int64_t* sizes, const double* const* in,
                               const int64_t* in_stride, double* const* out,
                               const int64_t* out_stride, double*, double*, int64_t frames) {
  const Gain s(sizes);
  for (Index c = 0; c < s.channels; ++c)
    for (Index k = 0; k < s.bands; ++k) {
      const Complex h = s.response(params, c, k)[0];
      const auto x = band(in[0], in_stride[0], c * s.bands + k);
      const auto g = band(in[1], in_stride[1], s.at(c, k, s.gains), s.parts);
      const auto y = band(out[0], out_stride[0], c * s.bands + k);
      if (s.own_parts == 1 && s.parts == 0) {
        for (Index t = 0; t < frames; ++t) y.re[t] = h.re * x.re[t];
        for (Index t = 0; t < frames; ++t) y.im[t] = h.re * x.im[t];
      } else {
        for (Index t = 0; t < frames; ++t) put(y, t, h * g[t] * x[t]);
      }
    }
}

void amp_spectral_gain_adjoint(const double* params, const int64_t* sizes, const double* const* in,
                               const int64_t* in_stride, const double* const* dout,
                               const int64_t* dout_stride, double* const* din,
                               const int64_t* din_stride, double* dparams, const double*, double*,
                               double*, int64_t frames) {
  const Gain s(sizes);
  for (Index k = 0; k < s.bands; ++k) {
    for (Index t = frames - 1; t >= 0; --t)
      for (Index c = 0; c < s.channels; ++c) {
        const Complex h = s.response(params, c, k)[0];
        const Complex x = band(in[0], in_stride[0], c * s.bands + k)[t];
        const Complex dy = band(dout[0], dout_stride[0], c * s.bands + k)[t];
        const Index number = s.at(c, k, s.gains);
        const Complex g = band(in[1], in_stride[1], number, s.parts)[t];
        if (din[0] != nullptr)
          put(band(din[0], din_stride[0], c * s.bands + k), t, conj(h * g) * dy);
        if (s.parts > 0 && din[1] != nullptr) {
          const auto dg = band(din[1], din_stride[1], number, s.parts);
          if (c == 0 || s.gains > 1) {
            dg.re[t] = 0.0;
            if (dg.im != nullptr) dg.im[t] = 0.0;
          }
          add(dg, t, conj(h * x) * dy);
        }
        if (dparams != nullptr) add(s.response(dparams, c, k), 0, conj(g * x) * dy);
      }
  }
}

int64_t amp_spectral_gain_state(const int64_t*) { return 0; }

int64_t amp_spectral_gain_scratch(const int64_t*, int64_t) { return 0; }

void amp_spectral_division_forward(const double* params, const int64_t* sizes,
                                   const double* const* in, const int64_t* in_stride,
                                   double* const* out, const int64_t* out_stride, double*, double*,
                                   int64_t frames) {
  const Division s(sizes, params);
  for (Index c = 0; c < s.channels; ++c)
    for (Index k = 0; k < s.bands; ++k) {
      const auto x = band(in[0], in_stride[0], c * s.bands + k);
      const auto d = band(in[1], in_stride[1], s.divisor(c, k));
      const auto y = band(out[0], out_stride[0], c * s.bands + k);
      for (Index t = 0; t < frames; ++t)
        put(y, t, s.inside(k) ? s.quotient(x[t], d[t]) : Complex{0.0, 0.0});
    }
}

void amp_spectral_division_adjoint(const double* params, const int64_t* sizes,
                                   const double* const* in, const int64_t* in_stride,
                                   const double* const* dout, const int64_t* dout_stride,
                                   double* const* din, const int64_t* din_stride, double* dparams,
                                   const double*, double*, double*, int64_t frames) {
  const Division s(sizes, params);
  const double turn = 6.283185307179586;
  for (Index t = frames - 1; t >= 0; --t)
    for (Index c = 0; c < s.channels; ++c)
      for (Index k = 0; k < s.bands; ++k) {
        const Index number = s.divisor(c, k);
        const Complex x = band(in[0], in_stride[0], c * s.bands + k)[t];
        const Complex d = band(in[1], in_stride[1], number)[t];
        const Complex given = band(dout[0], dout_stride[0], c * s.bands + k)[t];
        const Complex dy = s.inside(k) ? given : Complex{0.0, 0.0};
        const Complex w = s.turn * x, y = s.quotient(x, d);
        const double power = s.power(d), along = dy.re * y.re + dy.im * y.im;
        if (din[0] != nullptr) {
          const Complex dx = conj(s.turn) * (dy * d);
          put(band(din[0], din_stride[0], c * s.bands + k), t, {dx.re / power, dx.im / power});
        }
        if (din[1] != nullptr) {
          const auto dd = band(din[1], din_stride[1], number);
          if (c == 0 || s.divisors > 1) put(dd, t, {0.0, 0.0});
          const double re = (dy.re * w.re + dy.im * w.im) - 2.0 * d.re * along;
          const double im = (dy.re * w.im - dy.im * w.re) - 2.0 * d.im * along;
          add(dd, t, {re / power, im / power});
        }
        if (dparams != nullptr) {
          dparams[0] -= along / power;
          dparams[1] += turn * (dy.im * y.re - dy.re * y.im);
        }
      }
}

int64_t amp_spectral_division_state(const int64_t*) { return 0; }

int64_t amp_spectral_division_scratch(const int64_t*, int64_t) { return 0; }
