// Convolution in arrays of exactly their size, cut anywhere, beside a plain sum over taps; and its adjoint by
// the dot product: for a sanitizer to watch. It ends with 0 if all agree.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "fir.hpp"

namespace {

using Values = std::vector<double>;

std::mt19937 draw(1);

Values noise(int64_t count) {
  std::normal_distribution<double> normal;
  Values made(count);
  for (double& x : made) x = normal(draw);
  return made;
}

// What begins a cache line and ends where it should.
struct Scratch {
  explicit Scratch(int64_t count) : bytes(8 * count), memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {
    std::memset(memory, 0xff, bytes);  // not numbers
  }
  ~Scratch() { std::free(memory); }
  size_t bytes;
  void* memory;
};

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t n = 0; n < a.size(); ++n) sum += a[n] * b[n];
  return sum;
}

bool agrees(const int64_t* sizes, int64_t firings) {
  const int64_t rows = sizes[0], outs = sizes[1], ins = sizes[2], taps = sizes[3], block = sizes[5];
  const int64_t frames = firings * block, count = rows * taps;
  const bool matrix = rows == outs * ins && !(rows == outs && outs == ins);
  Values params = noise(count), x = noise(ins * frames), dy = noise(outs * frames), y(outs * frames), plain = y;
  params.resize(count + amp_fir_prepared(sizes));
  amp_fir_prepare(params.data(), sizes);
  for (int64_t o = 0; o < outs; ++o)
    for (int64_t i = matrix ? 0 : o; i < (matrix ? ins : o + 1); ++i) {
      const double* h = params.data() + taps * (matrix ? o * ins + i : o % rows);
      for (int64_t t = 0; t < frames; ++t)
        for (int64_t k = 0; k < std::min(taps, t + 1); ++k) plain[o * frames + t] += h[k] * x[i * frames + t - k];
    }
  Values state(amp_fir_state(sizes)), dstate(state.size()), dparams(count), dx(ins * frames);
  std::vector<std::pair<int64_t, Values>> calls;
  for (int64_t from = 0; from < firings;) {
    const int64_t size = std::min<int64_t>(firings - from, 1 + draw() % 90);
    calls.emplace_back(from, state);
    const Scratch scratch(amp_fir_scratch(sizes, size));
    const double* in = x.data() + from * block;
    double* out = y.data() + from * block;
    amp_fir_forward(params.data(), sizes, &in, &frames, &out, &frames, state.data(),
                    static_cast<double*>(scratch.memory), size);
    from += size;
  }
  int64_t end = firings;
  for (auto call = calls.rbegin(); call != calls.rend(); ++call) {
    const Scratch scratch(amp_fir_scratch(sizes, end - call->first));
    const double *in = x.data() + call->first * block, *dout = dy.data() + call->first * block;
    double* din = dx.data() + call->first * block;
    amp_fir_adjoint(params.data(), sizes, &in, &frames, &dout, &frames, &din, &frames, dparams.data(),
                    call->second.data(), dstate.data(), static_cast<double*>(scratch.memory), end - call->first);
    end = call->first;
  }
  double worst = 0;
  for (size_t n = 0; n < y.size(); ++n) worst = std::max(worst, std::abs(y[n] - plain[n]));
  params.resize(count);
  const double want = dot(dy, plain), size = std::sqrt(dot(dy, dy) * dot(plain, plain));
  return worst < 1e-10 && std::abs(dot(dx, x) - want) < 1e-12 * size &&
         std::abs(dot(dparams, params) - want) < 1e-12 * size;
}

}  // namespace

int main() {
  const int64_t cases[][7] = {
      {1, 1, 1, 1, 1, 1, 30},      {3, 3, 3, 100, 100, 1, 400}, {1, 2, 2, 300, 64, 1, 700},
      {12, 4, 3, 16, 16, 1, 300},  {6, 3, 2, 200, 64, 1, 500},  {5, 5, 1, 77, 8, 1, 300},
      {2, 2, 2, 1500, 16, 1, 900}, {2, 2, 2, 40, 0, 64, 12},    {4, 2, 2, 333, 0, 7, 120},
  };
  int agreed = 0;
  for (const auto& one : cases) {
    if (!agrees(one, one[6])) {
      std::printf("%d x %d, %d taps: another sum\n", int(one[1]), int(one[2]), int(one[3]));
      return 1;
    }
    ++agreed;
  }
  std::printf("%d convolutions agree\n", agreed);
  return 0;
}
