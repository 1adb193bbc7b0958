// Spectra in planes: band k of channel c has its real part in plane 2 (c bands + k) and its imaginary
// part in the plane behind, one token a firing. A transform wants the bands of one firing side by side,
// so several firings are turned at a time: eight tokens of a plane are one cache line.
#pragma once

#include <algorithm>

#include "fft.hpp"

namespace amp {

using fft::Index;
using fft::Quad;

constexpr Index kTurned = 8;  // firings that are turned at a time

// rows[g * row + p] = planes[p * step + g], g < firings, p < count.
inline void gather(const double* planes, Index step, Index count, Index firings, double* rows,
                   Index row) {
  Index p = 0;
  for (; p + 4 <= count; p += 4) {
    const double* from = planes + p * step;
    Index g = 0;
    for (; g + 4 <= firings; g += 4) {
      Quad tile[4];
      for (Index i = 0; i < 4; ++i) tile[i] = fft::load<Quad>(from + i * step + g);
      fft::transpose(tile);
      for (Index i = 0; i < 4; ++i) fft::store(rows + (g + i) * row + p, tile[i]);
    }
    for (; g < firings; ++g)
      for (Index i = 0; i < 4; ++i) rows[g * row + p + i] = from[i * step + g];
  }
  for (; p < count; ++p)
    for (Index g = 0; g < firings; ++g) rows[g * row + p] = planes[p * step + g];
}

// planes[p * step + g] = rows[g * row + p].
inline void scatter(const double* rows, Index row, Index count, Index firings, double* planes,
                    Index step) {
  Index p = 0;
  for (; p + 4 <= count; p += 4) {
    double* to = planes + p * step;
    Index g = 0;
    for (; g + 4 <= firings; g += 4) {
      Quad tile[4];
      for (Index i = 0; i < 4; ++i) tile[i] = fft::load<Quad>(rows + (g + i) * row + p);
      fft::transpose(tile);
      for (Index i = 0; i < 4; ++i) fft::store(to + i * step + g, tile[i]);
    }
    for (; g < firings; ++g)
      for (Index i = 0; i < 4; ++i) to[i * step + g] = rows[g * row + p + i];
  }
  for (; p < count; ++p)
    for (Index g = 0; g < firings; ++g) planes[p * step + g] = rows[g * row + p];
}

// Bands inside the spectrum stand for two of the full one, which the adjoints of both transforms need.
inline void scale_inner(double* bands, Index count, Index size, double factor) {
  const Index end = size % 2 == 0 ? count - 1 : count;
  for (Index k = 1; k < end; ++k) bands[k] *= factor;
}

}  // namespace amp
