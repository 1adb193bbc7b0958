// Finite impulse responses of any length: y[o][t] = sum over i and k of h[o][i][k] x[i][t - k].
//
//   sizes   rows, c_out, c_in, taps, head, block
//   params  h, row-major (rows, taps). rows = c_out c_in: a response for each path, o before i; rows = c_out
//           = c_in: one for each channel, and no path between channels; rows = 1: one for all channels
//   in, out one port each, of c_in and c_out planes; `block` tokens a firing
//
// The first `head` taps are one chain of fused multiply-adds for each output and frame, i ascending, then k:
//   y[o][t]   acc = what the partitions give;  acc = fma(h[o][i][k], x[i][t-k], acc)
// What is behind them is cut into partitions, some of a size P and then some of a size 8 P, transformed once
// (overlap-save with an input of 2 P; Gardner, "Efficient convolution without input-output delay", JAES 43(3),
// 1995; Wefers, "Partitioned convolution algorithms for real-time auralization", 2015). A partition of size P
// begins P taps or more into the response, so that what it needs is there when the first frame that hears it
// comes: there is no latency. Inputs are transformed once for all outputs, and outputs transformed back once for
// all inputs. Partitions are cut at the kernel's own count of frames, the first number of the state.
//
// With `block` above 1 the head is 0, and the first partitions have the size of a block and begin at tap 0.
//
// The adjoint is the transposed algorithm, from the last frame back: it has the state's own layout, and its
// sums are chains over frames, or partitions, from the last to the first.
#pragma once

#include "archetype.hpp"

AMP_PREPARED_ARCHETYPE(fir)
