// The products of matrix mixing in arrays of exactly their size, beside plain loops of std::fma in the
// order of the contract: for a sanitizer to watch. It ends with 0 if every bit is the same.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "matrix_mix.hpp"

namespace {

using Rows = std::vector<std::vector<double>>;

std::mt19937 draw(1);

Rows noise(int64_t rows, int64_t columns) {
  std::normal_distribution<double> normal;
  Rows made(rows, std::vector<double>(columns));
  for (auto& row : made) {
    for (double& x : row) x = normal(draw);
  }
  return made;
}

// The rows one after another, `stride` apart, and not a number more.
std::vector<double> packed(const Rows& rows, int64_t stride) {
  std::vector<double> flat((rows.size() - 1) * stride + rows[0].size());
  for (size_t r = 0; r < rows.size(); ++r) std::copy(rows[r].begin(), rows[r].end(), &flat[r * stride]);
  return flat;
}

bool equal(const std::vector<double>& flat, const Rows& rows, int64_t stride) {
  for (size_t r = 0; r < rows.size(); ++r)
    if (!std::equal(rows[r].begin(), rows[r].end(), &flat[r * stride])) return false;
  return true;
}

bool agrees(int64_t ins, int64_t outs, int64_t frames, bool wants_dw, bool wants_dx) {
  const std::vector<double> w = noise(1, ins * outs)[0];
  const Rows x = noise(ins, frames), dy = noise(outs, frames);
  Rows y = noise(outs, frames), dx = noise(ins, frames), plain_y = y, plain_dx = dx;
  std::vector<double> dw = noise(1, ins * outs)[0], plain_dw = dw;
  const int64_t sizes[] = {ins, outs}, stride = frames + 3;
  const std::vector<double> flat_x = packed(x, stride), flat_dy = packed(dy, stride);
  std::vector<double> flat_y = packed(y, stride), flat_dx = packed(dx, stride);
  const double *in[] = {flat_x.data()}, *dout[] = {flat_dy.data()};
  double *out[] = {flat_y.data()}, *din[] = {wants_dx ? flat_dx.data() : nullptr};
  amp_matrix_mix_forward(w.data(), sizes, in, &stride, out, &stride, nullptr, nullptr, frames);
  amp_matrix_mix_adjoint(w.data(), sizes, in, &stride, dout, &stride, din, &stride,
                         wants_dw ? dw.data() : nullptr, nullptr, nullptr, nullptr, frames);
  for (int64_t f = 0; f < frames; ++f) {
    for (int64_t o = 0; o < outs; ++o) {
      plain_y[o][f] = 0;
      for (int64_t i = 0; i < ins; ++i) plain_y[o][f] = std::fma(w[o * ins + i], x[i][f], plain_y[o][f]);
    }
    for (int64_t i = 0; wants_dx && i < ins; ++i) {
      plain_dx[i][f] = 0;
      for (int64_t o = 0; o < outs; ++o) plain_dx[i][f] = std::fma(w[o * ins + i], dy[o][f], plain_dx[i][f]);
    }
  }
  for (int64_t at = 0; wants_dw && at < ins * outs; ++at) {
    const std::vector<double>&a = dy[at / ins], &b = x[at % ins];
    for (int64_t f = frames; f-- > 0;) plain_dw[at] = std::fma(a[f], b[f], plain_dw[at]);
  }
  return equal(flat_y, plain_y, stride) && equal(flat_dx, plain_dx, stride) && dw == plain_dw;
}

}  // namespace

int main() {
  int cases = 0;
  for (int64_t ins : {1, 3, 4, 33, 65}) {
    for (int64_t outs : {1, 2, 5, 32, 67}) {
      for (int64_t frames : {1, 2, 7, 16, 31, 64, 129}) {
        for (int wants = 0; wants < 4; ++wants, ++cases) {
          if (agrees(ins, outs, frames, wants & 1, wants & 2)) continue;
          std::printf("%d -> %d, %d frames: other bits\n", int(ins), int(outs), int(frames));
          return 1;
        }
      }
    }
  }
  std::printf("%d products agree\n", cases);
  return 0;
}
