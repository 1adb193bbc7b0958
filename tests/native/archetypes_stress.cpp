// Every archetype of the manifest in memory of exactly its size, for a sanitizer to watch: a run in one call
// and in pieces, forward and back, by two threads at once that share the params. It ends with 0 if all of
// them give the same bits. `rows.inc` is made of the manifest, see test_sanitizers.py.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "rows_headers.inc"

namespace {

using Numbers = std::vector<double>;
using Forward = decltype(&amp_matrix_mix_forward);
using Adjoint = decltype(&amp_matrix_mix_adjoint);
using Count = int64_t (*)(const int64_t*);

struct Port {
  int64_t planes, rate;
};

struct Row {
  const char* name;
  Forward forward;
  Adjoint adjoint;
  Count state;
  int64_t (*scratch)(const int64_t*, int64_t);
  Count prepared;
  void (*prepare)(double*, const int64_t*);
  std::vector<int64_t> sizes;
  int64_t params;
  std::vector<Port> in, out;
};

const Row rows[] = {
#include "rows.inc"
};
constexpr int64_t kFrames = 37;

Numbers noise(size_t count, unsigned seed) {
  std::mt19937 draw(seed);
  std::normal_distribution<double> normal(0.0, 0.5);
  Numbers made(count);
  for (double& x : made) x = normal(draw);
  return made;
}

// Planes of all frames, each port's one after another.
std::vector<Numbers> streams(const std::vector<Port>& ports, unsigned seed) {
  std::vector<Numbers> made;
  for (const Port& port : ports) made.push_back(noise(port.planes * port.rate * kFrames, seed++));
  return made;
}

// The part of a run that one call has, in memory of its own.
struct Part {
  std::vector<Numbers> memory;
  std::vector<double*> at;
  std::vector<const double*> read;
  std::vector<int64_t> strides;

  Part(const std::vector<Port>& ports, const std::vector<Numbers>& all, int64_t begin, int64_t end) {
    for (size_t i = 0; i < ports.size(); ++i) {
      const int64_t rate = ports[i].rate, tokens = (end - begin) * rate;
      memory.emplace_back(ports[i].planes * tokens);
      for (int64_t p = 0; p < ports[i].planes; ++p)
        std::copy_n(&all[i][p * kFrames * rate + begin * rate], tokens, &memory[i][p * tokens]);
      strides.push_back(tokens);
    }
    for (Numbers& one : memory) at.push_back(one.data());
    read.assign(at.begin(), at.end());
  }

  void put_back(const std::vector<Port>& ports, std::vector<Numbers>& all, int64_t begin) const {
    for (size_t i = 0; i < ports.size(); ++i)
      for (int64_t p = 0; p < ports[i].planes; ++p)
        std::copy_n(&memory[i][p * strides[i]], strides[i],
                    &all[i][p * kFrames * ports[i].rate + begin * ports[i].rate]);
  }
};

// Memory for a call's scratch: exactly so much, from a cache line on.
struct Scratch {
  explicit Scratch(int64_t count)
      : at(static_cast<double*>(::operator new(count * sizeof(double), kLine))) {}
  ~Scratch() { ::operator delete(at, kLine); }
  Scratch(const Scratch&) = delete;
  static constexpr std::align_val_t kLine{64};
  double* at;
};

// All that a run in calls of these lengths leaves, forward and then back.
std::vector<Numbers> run(const Row& row, const Numbers& params, const std::vector<int64_t>& ends) {
  const std::vector<Numbers> in = streams(row.in, 1), dout = streams(row.out, 50);
  std::vector<Numbers> out = streams(row.out, 99), din = streams(row.in, 99), states;
  const int64_t* sizes = row.sizes.data();
  Numbers state(row.state(sizes)), dstate(state.size()), dparams(row.params);
  int64_t begin = 0;
  for (int64_t end : ends) {
    states.push_back(state);
    const Scratch scratch(row.scratch(sizes, end - begin));
    Part given(row.in, in, begin, end), made(row.out, out, begin, end);
    row.forward(params.data(), sizes, given.read.data(), given.strides.data(), made.at.data(),
                made.strides.data(), state.data(), scratch.at, end - begin);
    made.put_back(row.out, out, begin);
    begin = end;
  }
  for (size_t i = ends.size(); i-- > 0;) {
    const int64_t first = i ? ends[i - 1] : 0, end = ends[i];
    const Scratch scratch(row.scratch(sizes, end - first));
    Part given(row.in, in, first, end), over(row.out, dout, first, end), made(row.in, din, first, end);
    row.adjoint(params.data(), sizes, given.read.data(), given.strides.data(), over.read.data(),
                over.strides.data(), made.at.data(), made.strides.data(), dparams.data(),
                states[i].data(), dstate.data(), scratch.at, end - first);
    made.put_back(row.in, din, first);
  }
  out.insert(out.end(), din.begin(), din.end());
  for (const Numbers& one : {state, dstate, dparams}) out.push_back(one);
  return out;
}

bool same(const std::vector<Numbers>& a, const std::vector<Numbers>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Numbers& x, const Numbers& y) {
    return x.size() == y.size() &&
           (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0);
  });
}

bool agrees(const Row& row) {
  const int64_t* sizes = row.sizes.data();
  Numbers params = noise(row.params, 7);
  params.resize(row.params + (row.prepared ? row.prepared(sizes) : 0));
  if (row.prepare) row.prepare(params.data(), sizes);
  std::vector<Numbers> whole, pieces;
  std::thread other([&] { pieces = run(row, params, {5, 6, 24, kFrames}); });
  whole = run(row, params, {kFrames});
  other.join();
  return same(whole, pieces);
}

}  // namespace

int main() {
  for (const Row& row : rows) {
    if (agrees(row)) continue;
    std::printf("%s: other bits\n", row.name);
    return 1;
  }
  std::printf("every archetype agrees\n");
  return 0;
}
