// A matrix product in which every output is one chain of fused multiply-adds in a fixed order.
//
// out[m][n] = fma(a[m][K-1], b[K-1][n], ... fma(a[m][0], b[0][n], start)), k ascending, always.
// Lanes run over n, never over k, so the packet width changes how many chains advance together and
// not a single rounding: AVX2, AVX-512 and a scalar loop over std::fma give the same bits. Eigen's
// own product is free to split k and is therefore not used.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace amp {

using Index = std::int64_t;

#ifdef EIGEN_VECTORIZE_FMA
using Lanes = Eigen::internal::packet_traits<double>::type;
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return Eigen::internal::pmadd(a, b, c); }
#else
// Without the instruction a packet multiply-add would round twice; libm's fma rounds once.
using Lanes = double;
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return std::fma(a, b, c); }
#endif

constexpr int kLanes = Eigen::internal::unpacket_traits<Lanes>::size;
constexpr int kPackets = 2;               // packets of n a tile carries per row of a
constexpr int kRows = 4;                  // rows of a tile: 4 x 2 chains hide the latency of fma
constexpr int kTile = kLanes * kPackets;  // columns of a tile
constexpr int kWidth = 32;                // columns of a panel, whole tiles at every level
constexpr int kDepth = 64;                // its depth: 16 KiB, half of a first-level cache
static_assert(kWidth % kTile == 0, "a panel holds whole tiles");

// One packed piece of b: column k holds b[k][n .. n + kWidth). Packing puts side by side the
// channels that lie a power of two apart and would fight for one cache set.
using Panel = Eigen::Array<double, kWidth, kDepth>;

// Advance Rows x kTile chains, held in out, by `depth` steps; a[r][k] is at a[r] + k * step.
template <int Rows>
inline void advance(const double* const* a, Index step, const double* b, Index depth,
                    double* const* out) {
  using namespace Eigen::internal;
  Lanes chain[Rows][kPackets];
  for (int r = 0; r < Rows; ++r)
    for (int p = 0; p < kPackets; ++p) chain[r][p] = ploadu<Lanes>(out[r] + p * kLanes);
  for (Index k = 0; k < depth; ++k, b += kWidth) {
    Lanes column[kPackets];
    for (int p = 0; p < kPackets; ++p) column[p] = ploadu<Lanes>(b + p * kLanes);
    for (int r = 0; r < Rows; ++r) {
      const Lanes weight = pset1<Lanes>(a[r][k * step]);
      for (int p = 0; p < kPackets; ++p) chain[r][p] = fused(weight, column[p], chain[r][p]);
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int p = 0; p < kPackets; ++p) pstoreu(out[r] + p * kLanes, chain[r][p]);
}

// A short last tile works in a scratch copy: the chains beyond `live` are computed and dropped.
template <int Rows>
inline void advance_rows(const double* const* a, Index step, const Panel& panel, Index depth,
                         double* const* out, Index width) {
  for (Index n = 0; n < width; n += kTile) {
    const Index live = std::min<Index>(kTile, width - n);
    double* at[Rows];
    for (int r = 0; r < Rows; ++r) at[r] = out[r] + n;
    if (live == kTile) {
      advance<Rows>(a, step, panel.data() + n, depth, at);
      continue;
    }
    Eigen::Array<double, kTile, Rows> scratch;
    scratch.setZero();
    double* copy[Rows];
    for (int r = 0; r < Rows; ++r) {
      scratch.col(r).head(live) = Eigen::Map<const Eigen::ArrayXd>(at[r], live);
      copy[r] = scratch.col(r).data();
    }
    advance<Rows>(a, step, panel.data() + n, depth, copy);
    for (int r = 0; r < Rows; ++r)
      Eigen::Map<Eigen::ArrayXd>(at[r], live) = scratch.col(r).head(live);
  }
}

// Continue every chain out[m][n] by a[m][k] b[k][n], k = 0 .. depth-1, for m < rows, n < columns.
//   row(m)                              address of a[m][0]; a[m][k] lies k * step further
//   target(m)                           address of out[m][0], n contiguous
//   pack(panel, k, depth, n, width)     fills panel(j, i) = b[k + i][n + j]
template <class Row, class Target, class Pack>
void fused_product(Index rows, Index columns, Index depth, Index step, Row row, Target target,
                   Pack pack) {
  Panel panel;
  for (Index k = 0; k < depth; k += kDepth) {
    const Index deep = std::min<Index>(kDepth, depth - k);
    for (Index n = 0; n < columns; n += kWidth) {
      const Index width = std::min<Index>(kWidth, columns - n);
      // Columns beyond a short width are computed and dropped; zeros keep them cheap.
      if (width < kWidth) panel.leftCols(deep).setZero();
      pack(panel, k, deep, n, width);
      for (Index m = 0; m < rows; m += kRows) {
        const double* a[kRows];
        double* out[kRows];
        const Index tall = std::min<Index>(kRows, rows - m);
        for (Index r = 0; r < tall; ++r) {
          a[r] = row(m + r) + k * step;
          out[r] = target(m + r) + n;
        }
        switch (tall) {
          case 4: advance_rows<4>(a, step, panel, deep, out, width); break;
          case 3: advance_rows<3>(a, step, panel, deep, out, width); break;
          case 2: advance_rows<2>(a, step, panel, deep, out, width); break;
          default: advance_rows<1>(a, step, panel, deep, out, width); break;
        }
      }
    }
  }
}

}  // namespace amp
