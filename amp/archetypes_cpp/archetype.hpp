// The C interface of every prebuilt kernel: AMP_ARCHETYPE(name) declares its functions.
//
// Plain C declarations over raw pointers and nothing else: Cling reads this file, and must never meet an
// Eigen type (its idea of alignment is not that of the compiler that built the kernel).
//
// One call is one lane: a batch of a node that sees all channels, or a channel of one that sees each. Plane
// p, token t of inlet i is in[i][p * in_stride[i] + t], and of outlet j out[j][p * out_stride[j] + t]; a port
// of rate r has `frames` times r tokens. An optional inlet that has no stream is null. Outputs overlap nothing.
// Pointers need the alignment of a double and no more, but for `scratch`, which begins a cache line.
//
//   params    the node's params, flat, each row-major; behind them what `prepare` wrote, if there is one
//   sizes     whole numbers that the node type gives
//   state     doubles of a lane that live from call to call; zeros at first
//   scratch   doubles of the call alone, of any value at its beginning
//   frames    firings in this call, at least 1. How a run is cut into calls must not be heard: same bits
//
// `state` and `scratch` say how many doubles those are; of scratch, for calls of at most `frames` firings, and
// of both functions.
//
// The adjoint gets the same, with the state in which the call began. It writes `din`, adds to `dparams`, and
// turns `dstate` from the cotangent of the state after the call into that of the state before it; calls
// come last one first. What is not wanted is null: din[i], dparams.
#pragma once

#include <stdint.h>

#define AMP_EXPORTED extern "C" __attribute__((visibility("default")))

#define AMP_ARCHETYPE(name)                                                                          \
  AMP_EXPORTED void amp_##name##_forward(                                                            \
      const double* params, const int64_t* sizes, const double* const* in,                           \
      const int64_t* in_stride, double* const* out, const int64_t* out_stride, double* state,        \
      double* scratch, int64_t frames);                                                              \
  AMP_EXPORTED void amp_##name##_adjoint(                                                            \
      const double* params, const int64_t* sizes, const double* const* in,                           \
      const int64_t* in_stride, const double* const* dout, const int64_t* dout_stride,               \
      double* const* din, const int64_t* din_stride, double* dparams, const double* state,           \
      double* dstate, double* scratch, int64_t frames);                                              \
  AMP_EXPORTED int64_t amp_##name##_state(const int64_t* sizes);                                     \
  AMP_EXPORTED int64_t amp_##name##_scratch(const int64_t* sizes, int64_t frames);

// For kernels that compute something of their params and sizes once, when the params are set: a table of
// twiddles, a spectrum. `prepared` says how many doubles, `prepare` writes them behind the params.
#define AMP_PREPARED_ARCHETYPE(name)                                \
  AMP_ARCHETYPE(name)                                               \
  AMP_EXPORTED int64_t amp_##name##_prepared(const int64_t* sizes); \
  AMP_EXPORTED void amp_##name##_prepare(double* params, const int64_t* sizes);
