// An archetype for tests, of all that the interface has: a leaky sum of several tokens, with a gain.
//
//   sizes   c channels, r tokens that a firing takes of each
//   params  decay (c); behind it, the sum of all decays
//   in      input (c planes, rate r), gain (1 plane, or null for 1)
//   out     out (c planes), twice (c planes, rate 2)
//
//   s[p] = decay[p] s[p] + gain sum_k in[p][k]     out = s     twice = s, (sum of decays) s
#include "archetype.hpp"

AMP_PREPARED_ARCHETYPE(leaky)

extern "C" {

int64_t amp_leaky_state(const int64_t* sizes) { return sizes[0]; }
int64_t amp_leaky_scratch(const int64_t* sizes, int64_t frames) { return sizes[0] * (frames + 1); }
int64_t amp_leaky_prepared(const int64_t*) { return 1; }

void amp_leaky_prepare(double* params, const int64_t* sizes) {
  double sum = 0;
  for (int64_t p = 0; p < sizes[0]; ++p) sum += params[p];
  params[sizes[0]] = sum;
}

static double taken(const double* in, int64_t r) {
  double sum = 0;
  for (int64_t k = 0; k < r; ++k) sum += in[k];
  return sum;
}

void amp_leaky_forward(const double* decay, const int64_t* sizes, const double* const* in,
                       const int64_t* in_stride, double* const* out, const int64_t* out_stride,
                       double* state, double*, int64_t frames) {
  const int64_t c = sizes[0], r = sizes[1];
  for (int64_t p = 0; p < c; ++p)
    for (int64_t t = 0; t < frames; ++t) {
      const double gain = in[1] ? in[1][t] : 1.0;
      state[p] = decay[p] * state[p] + gain * taken(in[0] + p * in_stride[0] + t * r, r);
      out[0][p * out_stride[0] + t] = state[p];
      out[1][p * out_stride[1] + 2 * t] = state[p];
      out[1][p * out_stride[1] + 2 * t + 1] = decay[c] * state[p];
    }
}

void amp_leaky_adjoint(const double* decay, const int64_t* sizes, const double* const* in,
                       const int64_t* in_stride, const double* const* dout, const int64_t* dout_stride,
                       double* const* din, const int64_t* din_stride, double* ddecay,
                       const double* state, double* dstate, double* scratch, int64_t frames) {
  const int64_t c = sizes[0], r = sizes[1];
  for (int64_t p = 0; p < c; ++p) {
    double* s = scratch + p * (frames + 1);
    s[0] = state[p];
    for (int64_t t = 0; t < frames; ++t)
      s[t + 1] = decay[p] * s[t] +
                 (in[1] ? in[1][t] : 1.0) * taken(in[0] + p * in_stride[0] + t * r, r);
  }
  for (int64_t t = frames; t-- > 0;) {
    if (din[1]) din[1][t] = 0;
    for (int64_t p = 0; p < c; ++p) {
      const double* s = scratch + p * (frames + 1);
      const double second = dout[1][p * dout_stride[1] + 2 * t + 1];
      const double ds = dstate[p] + dout[0][p * dout_stride[0] + t] +
                        dout[1][p * dout_stride[1] + 2 * t] + decay[c] * second;
      const double gain = in[1] ? in[1][t] : 1.0;
      if (din[0])
        for (int64_t k = 0; k < r; ++k) din[0][p * din_stride[0] + t * r + k] = gain * ds;
      if (din[1]) din[1][t] += ds * taken(in[0] + p * in_stride[0] + t * r, r);
      if (ddecay) {
        ddecay[p] += ds * s[t];
        for (int64_t q = 0; q < c; ++q) ddecay[q] += second * s[t + 1];  // of the prepared sum
      }
      dstate[p] = decay[p] * ds;
    }
  }
}
}
