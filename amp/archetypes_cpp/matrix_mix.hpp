// Matrix mixing: every output channel is a weighted sum of every input channel.
//
// Plain C declarations over raw pointers and nothing else: Cling reads this file, and must never
// meet an Eigen type (its idea of alignment is not that of the compiler that built the kernel).
//
// Layout, for one batch:
//   w   row-major (c_out, c_in)
//   x   c_in pointers, each to `frames` contiguous values of one channel; y, dx and dy likewise
// Outputs must not overlap inputs. Pointers need the alignment of a double and no more.
//
// Order of operations, part of the contract (fma rounds once):
//   y[o][f]   acc = 0;         for i = 0 .. c_in-1:      acc = fma(w[o][i], x[i][f], acc)
//   dx[i][f]  acc = 0;         for o = 0 .. c_out-1:     acc = fma(w[o][i], dy[o][f], acc)
//   dw[o][i]  acc = dw[o][i];  for f = frames-1 .. 0:    acc = fma(dy[o][f], x[i][f], acc)
// dw runs from the last frame to the first because the adjoint walks blocks backwards in time: the
// gradient then has the same bits however the run was split.
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)  // the only names these libraries export
extern "C" {

void amp_matrix_mix_forward(const double* w, const double* const* x, double* const* y, int64_t c_in,
                            int64_t c_out, int64_t frames);

// dx is overwritten, dw is added to; either may be null when it is not wanted.
void amp_matrix_mix_adjoint(const double* w, const double* const* x, const double* const* dy,
                            double* dw, double* const* dx, int64_t c_in, int64_t c_out,
                            int64_t frames);
}
#pragma GCC visibility pop
