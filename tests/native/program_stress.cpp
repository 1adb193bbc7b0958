// Native callers, users from Python and swaps on many threads: one at a time, and what one wrote the next
// one sees. The source is included, for its tables.
#include "../../amp/archetypes_cpp/program.cpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kThreads = 4, kCalls = 4000, kSwaps = 300, kFrames = 3;

void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// Not atomic: a race is seen by the thread sanitizer, or lost counts.
struct Shared {
  int64_t inside = 0;
  Entry in[2] = {}, out[2] = {};
};

// Gives what it reads, twice, from where the entries point at.
void work(void* steps, int64_t, int64_t, int64_t* clock, int64_t frames) {
  Shared& shared = *static_cast<Shared*>(steps);
  check(++shared.inside == 1, "two are inside");
  std::this_thread::yield();  // for others to come meanwhile
  for (int64_t row = 0; row < 2; ++row) {
    const Entry &from = shared.in[row], &to = shared.out[row];
    for (int64_t k = *clock; k < *clock + frames; ++k) {
      const auto* x = reinterpret_cast<const double*>(from.base + (k - from.tokens) * from.stride);
      if (k < 4) continue;  // a port that starts late is written from its first token on
      auto* y = reinterpret_cast<double*>(to.base + (k - 4 - to.tokens) * to.stride);
      *y = 2.0 * *x;
    }
  }
  *clock += frames;
  --shared.inside;
}

}  // namespace

extern "C" int64_t amp_kpn_run(void*, int64_t*, int64_t) { return AMP_KPN_DONE; }

int main() {
  Shared shared;
  Cell ins[2] = {{&shared.in[0], 0}, {&shared.in[1], 1}};
  Cell outs[2] = {{&shared.out[0], 0}, {&shared.out[1], 1}};
  Port input = {ins, 2, 2, 0}, output = {outs, 2, 2, 4};
  int64_t clock = 0;
  Program program{{0}, {0}, 1, &clock, nullptr, work, &shared, 0, 0, nullptr, &input, 1, &output, 1};
  double x[2 * kFrames], y[2 * kFrames];
  for (int i = 0; i < 2 * kFrames; ++i) x[i] = i, y[i] = -1.0;
  const double* read[] = {x};
  double* written[] = {y};
  check(amp_program_run(&program, read, written, kFrames) == AMP_PROGRAM_DONE, "not done");
  for (double value : y) check(value == 0.0, "silence before the first token");

  int64_t done = 0, swaps = 0;  // guarded by the program itself
  std::atomic<int> here{0};
  const auto begin = [&] {
    for (++here; here < kThreads + 1;) std::this_thread::yield();
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      double mine[2 * kFrames], made[2 * kFrames];
      for (double& value : mine) value = t;
      const double* from[] = {mine};
      double* to[] = {made};
      begin();
      for (int i = 0; i < kCalls; ++i) {
        if (i % 5 == t) {  // as Python does
          if (!amp_program_enter(&program)) continue;
          ++done;
          amp_program_leave(&program, 1);
        } else {
          const int64_t answer = amp_program_run(&program, from, to, kFrames);
          check(answer == AMP_PROGRAM_DONE || answer == AMP_PROGRAM_BUSY, "another answer");
        }
      }
    });
  }
  threads.emplace_back([&] {
    begin();
    for (int i = 0; i < kSwaps; ++i) {
      amp_program_wait(&program);
      check(++shared.inside == 1, "a swap is not alone");
      ++done, ++swaps;
      --shared.inside;
      amp_program_leave(&program, 1);
    }
  });
  for (std::thread& thread : threads) thread.join();
  check(swaps == kSwaps && done > kSwaps, "counts are lost");
  check(clock % kFrames == 0 && clock > kFrames, "the clock is torn");
  std::printf("all callers take turns\n");
}
