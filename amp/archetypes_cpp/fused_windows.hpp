// Sums over windows that slide along a stream: a fused product whose second factor need not be packed.
//
// out[m][n] = fma(a[m][p][q], b[p][q][n], out[m][n]), p and then q ascending, always; what both indices step
// over, and which way, is the caller's. Lanes run over n, so every level gives the same bits; see
// fused_product.hpp, whose chains these are.
#pragma once

#include "fused_product.hpp"

namespace amp {

// How far apart the entries of one factor lie.
struct Steps {
  Index outer, inner;
};

struct Depth {
  Index outer, inner;
};

constexpr int kLong = 8;               // packets of n a tile carries if it has one row
constexpr Index kBeyond = kLong * 8;   // doubles behind a window that a tile may read, at any level

template <int Rows, int Packets>
inline void slide(const double* const* a, Steps a_step, const double* b, Steps b_step, Depth depth,
                  double* const* out) {
  using namespace Eigen::internal;
  Lanes chain[Rows][Packets];
  for (int r = 0; r < Rows; ++r)
    for (int p = 0; p < Packets; ++p) chain[r][p] = ploadu<Lanes>(out[r] + p * kLanes);
  for (Index i = 0; i < depth.outer; ++i) {
    const double* from = b + i * b_step.outer;
    Index at = i * a_step.outer;
    for (Index j = 0; j < depth.inner; ++j, from += b_step.inner, at += a_step.inner) {
      Lanes column[Packets];
      for (int p = 0; p < Packets; ++p) column[p] = ploadu<Lanes>(from + p * kLanes);
      for (int r = 0; r < Rows; ++r) {
        const Lanes weight = pset1<Lanes>(a[r][at]);
        for (int p = 0; p < Packets; ++p) chain[r][p] = fused(weight, column[p], chain[r][p]);
      }
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int p = 0; p < Packets; ++p) pstoreu(out[r] + p * kLanes, chain[r][p]);
}

// Columns 0 .. columns-1 of Rows chains. A short last tile works in a copy; what lies beyond is dropped.
template <int Rows>
inline void slide_rows(const double* const* a, Steps a_step, const double* b, Steps b_step, Depth depth,
                       double* const* out, Index columns) {
  constexpr int kWide = Rows == 1 ? kLong : kPackets;
  double* at[Rows];
  Index n = 0;
  const auto here = [&] {
    for (int r = 0; r < Rows; ++r) at[r] = out[r] + n;
    return at;
  };
  for (; n + kWide * kLanes <= columns; n += kWide * kLanes)
    slide<Rows, kWide>(a, a_step, b + n, b_step, depth, here());
  for (; n < columns; n += kTile) {
    const Index live = std::min<Index>(kTile, columns - n);
    if (live == kTile) {
      slide<Rows, kPackets>(a, a_step, b + n, b_step, depth, here());
      continue;
    }
    double scratch[Rows][kTile] = {};
    here();
    for (int r = 0; r < Rows; ++r) std::copy_n(at[r], live, scratch[r]);
    double* copy[Rows];
    for (int r = 0; r < Rows; ++r) copy[r] = scratch[r];
    slide<Rows, kPackets>(a, a_step, b + n, b_step, depth, copy);
    for (int r = 0; r < Rows; ++r) std::copy_n(scratch[r], live, at[r]);
  }
}

// Continue the chains of `rows` rows. row(m) is the address of a[m][0][0], target(m) that of out[m][0], b that
// of b[0][0][0]; up to kBeyond doubles behind the last column are read and dropped.
template <class Row, class Target>
void fused_windows(Index rows, Index columns, Depth depth, Row row, Steps a_step, const double* b,
                   Steps b_step, Target target) {
  constexpr Index kCached = 512;  // entries of a row that stay in the first-level cache, times kRows
  const Index chunk = std::max<Index>(1, kCached / std::max<Index>(depth.inner, 1));
  for (Index i = 0; i < depth.outer; i += chunk) {
    const Depth part{std::min<Index>(chunk, depth.outer - i), depth.inner};
    const double* from = b + i * b_step.outer;
    for (Index m = 0; m < rows; m += kRows) {
      const double* a[kRows];
      double* out[kRows];
      const Index tall = std::min<Index>(kRows, rows - m);
      for (Index r = 0; r < tall; ++r) {
        a[r] = row(m + r) + i * a_step.outer;
        out[r] = target(m + r);
      }
      switch (tall) {
        case 4: slide_rows<4>(a, a_step, from, b_step, part, out, columns); break;
        case 3: slide_rows<3>(a, a_step, from, b_step, part, out, columns); break;
        case 2: slide_rows<2>(a, a_step, from, b_step, part, out, columns); break;
        default: slide_rows<1>(a, a_step, from, b_step, part, out, columns); break;
      }
    }
  }
}

}  // namespace amp
