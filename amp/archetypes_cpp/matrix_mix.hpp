// Matrix mixing: every output channel is a weighted sum of every input channel.
//
//   sizes   c_in, c_out
//   params  w, row-major (c_out, c_in)
//   in, out one port each, of c_in and c_out planes
//
// Order of operations, part of the contract (fma rounds once):
//   y[o][f]   acc = 0;         for i = 0 .. c_in-1:      acc = fma(w[o][i], x[i][f], acc)
//   dx[i][f]  acc = 0;         for o = 0 .. c_out-1:     acc = fma(w[o][i], dy[o][f], acc)
//   dw[o][i]  acc = dw[o][i];  for f = frames-1 .. 0:    acc = fma(dy[o][f], x[i][f], acc)
// dw runs from the last frame to the first because the adjoint walks blocks backwards in time: the
// gradient then has the same bits however the run was split.
#pragma once

#include "archetype.hpp"

AMP_ARCHETYPE(matrix_mix)
