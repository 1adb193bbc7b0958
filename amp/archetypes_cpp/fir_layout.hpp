// Where a FIR kernel keeps what, made anew from its sizes at each call, and what both directions do with it.
#pragma once

#include "fft.hpp"
#include "fused_windows.hpp"

namespace amp {

constexpr Index kGrowth = 8;    // from one size of partitions to the next
constexpr Index kLast = 28;     // so many of one size, at most, cost less than a further size
constexpr Index kPiece = 256;   // most frames at a time without partitions
constexpr int kMostLevels = 16;

// Partitions of one size: number `first` begins `first * size` taps into the response.
struct Level {
  Index size, first, count;
  Index bins;         // doubles of the real, or of the imaginary, parts of a spectrum
  Index inputs_at;    // state: spectra of inputs, (c_in, count, 2, bins)
  Index pending_at;   // state: what the next frames will hear, (c_out, size)
  Index taps_at;      // prepared: spectra of taps, (rows, count, 2, bins)

  Index spectrum() const { return 2 * bins; }
};

struct Layout {
  Index rows, outs, ins, taps, head, block;
  bool matrix;
  int levels = 0;
  Level level[kMostLevels];
  Index quantum;        // frames that never lie in two pieces
  Index ring, ring_at;  // state: the last inputs, (c_in, ring), a power of two
  Index state;
  Index turned_at;      // prepared: of a matrix, the head by (c_in, tap descending, c_out)
  Index prepared;
  Index window;         // doubles of a row of a piece's window
  Index largest = 0;    // partition

  // For calls of at most so many firings.
  Layout(const int64_t* sizes, Index firings)
      : rows(sizes[0]), outs(sizes[1]), ins(sizes[2]), taps(sizes[3]), head(std::min(sizes[4], taps)),
        block(sizes[5]) {
    matrix = rows == outs * ins && !(rows == outs && outs == ins);
    Index covered = head, size = block > 1 ? block : head, first = block > 1 ? 0 : 1;
    ring_at = 1;
    Index history = std::max<Index>(head - 1, 1);
    Index at = 0;
    turned_at = at;
    if (matrix) at += rows * head;
    while (covered < taps) {
      Level& now = level[levels++];
      const Index needed = (taps - first * size + size - 1) / size;
      const bool last = needed <= kLast || levels == kMostLevels;
      now.size = size;
      now.first = first;
      now.count = last ? needed : kGrowth - first;
      now.bins = (size + 1 + 7) / 8 * 8;
      now.taps_at = at;
      at += rows * now.count * now.spectrum();
      covered = (first + now.count) * size;
      history = 2 * size;
      largest = size;
      size *= kGrowth;
      first = 1;
    }
    prepared = at;
    quantum = levels ? level[0].size : kPiece;
    ring = 1;
    while (ring < history) ring *= 2;
    at = ring_at + ins * ring;
    for (int l = 0; l < levels; ++l) {
      level[l].inputs_at = at;
      at += ins * level[l].count * level[l].spectrum();
      level[l].pending_at = at;
      at += outs * level[l].size;
    }
    state = at;
    window = (2 * head + std::min(quantum, firings * block) + kBeyond + 7) / 8 * 8;
  }

  // The inputs that output `o` hears are first .. first + count - 1.
  Index first_input(Index o) const { return matrix ? 0 : o; }
  Index end_input(Index o) const { return matrix ? ins : o + 1; }
  Index row(Index o, Index i) const { return matrix ? o * ins + i : rows == 1 ? 0 : o; }

  Index scratch() const {
    const Index spectra = levels ? (outs + 2) * (2 * largest + 16) + 2 * largest + fft::real(2 * largest).scratch() : 0;
    return 2 * std::max(ins, outs) * window + spectra;
  }
};

}  // namespace amp
