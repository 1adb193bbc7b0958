// Networks that the scheduler is run on under a sanitizer: the same tokens every time, on any number of
// threads, and every run ends. The scheduler's own source is included, for its tables.
#include "../../amp/archetypes_cpp/kpn.cpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace {

constexpr int64_t kFrames = 3000;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

struct Ring {
  std::vector<double> slots;
  std::vector<int64_t> stamps;
  explicit Ring(int64_t size) : slots(size), stamps(size) {}
  int64_t mask() const { return static_cast<int64_t>(slots.size()) - 1; }
  Entry entry() { return {reinterpret_cast<char*>(slots.data()), mask(), 0, 8}; }
};

// words[1] counts firings, as in generated kernels; then what this kernel adds, its ring, its inlets.
struct Words {
  int64_t tiles = 1, fired = 0;
  double own = 0;
  Ring* out = nullptr;
  std::vector<Ring*> ins;
  double* heard = nullptr;
};

void kernel(int64_t* words, int64_t firings) {
  Words& w = *reinterpret_cast<Words*>(words);
  for (int64_t k = w.fired; k < w.fired + firings; ++k) {
    double total = w.own + static_cast<double>(k % 7);
    for (Ring* ring : w.ins) total += 0.5 * ring->slots[k & ring->mask()];
    if (w.out) w.out->slots[k & w.out->mask()] = total;
    if (w.heard) w.heard[k] = total;
  }
  w.fired += firings;
}

struct Net {
  std::vector<Process> processes;
  std::vector<Edge> edges;
  std::vector<std::vector<Edge*>> readers;
  std::vector<std::unique_ptr<Ring>> rings;
  std::vector<std::unique_ptr<Words>> words;
  std::vector<std::unique_ptr<std::vector<Entry>>> entries;
  std::vector<std::vector<const Entry*>> inlets;
  std::vector<std::vector<Out>> outs;
  std::vector<Count> queue;
  std::vector<int64_t> samples;
  Network network{};

  // `sources` of every process, in order of processes; sizes of their rings.
  Net(const std::vector<std::vector<int64_t>>& sources, const std::vector<int64_t>& sizes)
      : processes(sources.size()), readers(sources.size()), inlets(sources.size()), outs(sources.size()),
        queue(1 << 12) {
    size_t count = 0;
    for (const auto& some : sources) count += some.size();
    edges = std::vector<Edge>(count);
    for (size_t i = 0; i < sources.size(); ++i) {
      rings.push_back(std::make_unique<Ring>(sizes[i]));
      words.push_back(std::make_unique<Words>());
      words[i]->own = static_cast<double>(i);
      words[i]->out = rings[i].get();
    }
    size_t at = 0;
    for (size_t i = 0; i < sources.size(); ++i) {
      Process& process = processes[i];
      process.kernel = kernel;
      process.words = reinterpret_cast<int64_t*>(words[i].get());
      process.pace = {1, 1, 0};
      process.quantum = 1 + static_cast<int64_t>(i * 13 % 64);
      process.ins = edges.data() + at;
      process.in_count = static_cast<int64_t>(sources[i].size());
      process.full = process.missing = -1;
      for (int64_t source : sources[i]) {
        Edge& edge = edges[at++];
        edge.source = source;
        edge.consumer = static_cast<int64_t>(i);
        edge.made = &processes[source].fired;
        edge.taken = &process.fired;
        edge.produced = edge.consumed = {1, nullptr};
        edge.capacity = sizes[source];
        edge.visible = {1, 1, 0};
        readers[source].push_back(&edge);
        words[i]->ins.push_back(rings[source].get());
      }
    }
    for (size_t i = 0; i < sources.size(); ++i) {
      processes[i].readers = readers[i].data();
      processes[i].reader_count = static_cast<int64_t>(readers[i].size());
    }
    network.processes = processes.data();
    network.count = static_cast<int64_t>(processes.size());
    network.edges = edges.data();
    network.queue = queue.data();
    network.queue_mask = static_cast<int64_t>(queue.size()) - 1;
    network.step = kNever;
  }

  // Make process `i` a router or a sample with stamped readers.
  void route(size_t i, Kind kind) {
    Process& process = processes[i];
    process.kind = kind;
    if (kind != kSample) process.pace = {0, 0, 0};
    process.planes = 1;
    if (kind == kSample) samples.push_back(static_cast<int64_t>(i));
    lay(i);
  }

  // Give the entries of router `i` their addresses, again after a ring has grown.
  void lay(size_t i) {
    Process& process = processes[i];
    inlets[i].clear();
    for (Ring* ring : words[i]->ins) {
      entries.push_back(std::make_unique<std::vector<Entry>>(1, ring->entry()));
      inlets[i].push_back(entries.back()->data());
    }
    process.entries = inlets[i].data();
    for (Out& out : outs[i]) {
      Ring& ring = *rings[i + static_cast<size_t>(out.outlet)];
      entries.push_back(std::make_unique<std::vector<Entry>>(1, ring.entry()));
      out.entries = entries.back()->data();
      if (out.stamps) out.stamps = ring.stamps.data();
      out.mask = ring.mask();
    }
    process.outs = outs[i].data();
    process.out_count = static_cast<int64_t>(outs[i].size());
  }

  int64_t run(int64_t* clock, int64_t frames) { return amp_kpn_run(&network, clock, frames); }
};

// Layers of kernels with random sources; the last one is heard.
std::vector<double> layered(unsigned seed, void* pool, int64_t threads) {
  std::mt19937 random(seed);
  std::vector<std::vector<int64_t>> sources;
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < 60; ++i) {
    std::vector<int64_t> mine;
    for (int64_t s = 0; i > 3 && s < 1 + static_cast<int64_t>(random() % 3); ++s) {
      mine.push_back(static_cast<int64_t>(random() % static_cast<unsigned>(i)));
    }
    sources.push_back(mine);
    sizes.push_back(int64_t{1} << (2 + random() % 5));
  }
  std::vector<int64_t> all(59);
  for (int64_t i = 0; i < 59; ++i) all[i] = i;
  sources.back() = all;
  Net net(sources, sizes);
  std::vector<double> heard(kFrames);
  net.words.back()->heard = heard.data();
  net.network.pool = pool;
  net.network.threads = threads;
  constexpr int64_t kRoom = 1 << 18;
  static std::vector<int64_t> events(5 * kRoom);
  int64_t trace[] = {0, kRoom, reinterpret_cast<int64_t>(events.data())};
  net.network.timing = 1;
  net.network.trace = trace;
  int64_t clock = 0;
  for (int64_t piece : {int64_t{1}, int64_t{63}, int64_t{500}, kFrames - 564}) {
    require(net.run(&clock, piece) == AMP_KPN_DONE, "a run ends");
  }
  require(clock == kFrames, "the clock moves on");
  require(trace[0] <= kRoom, "there is room for every event");
  std::vector<int64_t> noted(net.processes.size());
  for (int64_t i = 0; i < trace[0]; ++i) noted[events[5 * i]] += events[5 * i + 1];
  for (size_t i = 0; i < noted.size(); ++i) {
    require(noted[i] == kFrames && net.processes[i].frames == kFrames, "every firing is noted once");
  }
  return heard;
}

// 0: x, 1: control, 2: switch (rings 2 and 3), 3: nobody, 4, 5: kernels, 6: select, 7: sample, 8: heard.
std::vector<double> routed(void* pool, int64_t threads, int64_t* grown) {
  const std::vector<int64_t> sizes(9, 16);
  Net net({{}, {}, {0, 1}, {}, {2}, {2}, {4, 5, 1}, {6}, {7}}, sizes);
  net.words[1]->own = -3.5;  // above 0 in three frames of seven
  std::vector<double> heard(kFrames);
  net.words[8]->heard = heard.data();
  // the second reader of the switch reads its second outlet
  net.words[5]->ins[0] = net.rings[3].get();
  net.processes[3].pace = {0, 0, 0};
  net.processes[3].quantum = 0;
  net.outs[2] = {{nullptr, 0, {1, nullptr}, net.rings[2]->stamps.data(), 0},
                 {nullptr, 1, {1, nullptr}, net.rings[3]->stamps.data(), 0}};
  net.outs[6] = {{nullptr, 0, {1, nullptr}, net.rings[6]->stamps.data(), 0}};
  net.outs[7] = {{nullptr, 0, {1, nullptr}, nullptr, 0}};
  for (size_t i : {size_t{4}, size_t{5}}) {
    net.processes[i].pace = {0, 0, 0};
    net.outs[i] = {{nullptr, 0, {1, nullptr}, net.rings[i]->stamps.data(), net.rings[i]->mask()}};
    net.processes[i].outs = net.outs[i].data();
    net.processes[i].out_count = 1;
  }
  auto stamp = [&](Edge& edge, size_t ring) {
    edge.visible = {0, 0, 0};
    edge.stamps = net.rings[ring]->stamps.data();
    edge.mask = net.rings[ring]->mask();
    edge.capacity = net.rings[ring]->mask() + 1;
  };
  auto stamp_all = [&] {
    for (Edge& edge : net.edges) {
      if (edge.source == 2) stamp(edge, edge.consumer == 4 ? 2 : 3);
      if (edge.source == 4 || edge.source == 5 || edge.source == 6) {
        stamp(edge, static_cast<size_t>(edge.source));
      }
    }
  };
  stamp_all();
  net.route(2, kSwitch);
  net.route(6, kSelect);
  net.route(7, kSample);
  for (Edge& edge : net.edges) {
    if (edge.source == 2) edge.made = &net.processes[2].counts[edge.consumer == 4 ? 0 : 1];
    if (edge.consumer == 6 && edge.source != 1) {
      edge.taken = &net.processes[6].counts[edge.source == 4 ? 0 : 1];
      edge.delay = edge.source == 4 ? 40 : 0;  // so that the other side waits, and its ring grows
    }
    if (edge.consumer == 7) {
      edge.taken = &net.processes[7].counts[0];
      edge.capacity -= 1;
    }
  }
  net.network.samples = net.samples.data();
  net.network.sample_count = 1;
  net.network.step = 16;
  net.network.grows = 1;
  net.network.pool = pool;
  net.network.threads = threads;
  int64_t clock = 0;
  *grown = 0;
  for (int64_t answer; (answer = net.run(&clock, kFrames)) != AMP_KPN_DONE;) {
    require(answer >= 0, "nobody starves");
    ++*grown;
    Edge& full = net.edges[answer];
    const size_t number = full.source == 2 && full.consumer == 5 ? 3 : static_cast<size_t>(full.source);
    Ring& old = *net.rings[number];
    auto larger = std::make_unique<Ring>(2 * (old.mask() + 1));
    const int64_t written = full.made->load();
    for (int64_t k = std::max<int64_t>(0, written - old.mask() - 1); k < written; ++k) {
      larger->slots[k & larger->mask()] = old.slots[k & old.mask()];
      larger->stamps[k & larger->mask()] = old.stamps[k & old.mask()];
    }
    for (auto& words : net.words) {
      if (words->out == &old) words->out = larger.get();
      for (Ring*& ring : words->ins) {
        if (ring == &old) ring = larger.get();
      }
    }
    net.rings[number] = std::move(larger);
    for (Edge& edge : net.edges) {
      if (edge.source < 2) edge.capacity = net.rings[edge.source]->mask() + 1;
    }
    stamp_all();
    for (Edge& edge : net.edges) edge.capacity -= edge.consumer == 7;
    for (size_t i : {size_t{4}, size_t{5}}) {
      net.outs[i][0].stamps = net.rings[i]->stamps.data();
      net.outs[i][0].mask = net.rings[i]->mask();
    }
    for (size_t i : {size_t{2}, size_t{6}, size_t{7}}) net.lay(i);
  }
  require(clock == kFrames, "the clock moves on");
  return heard;
}

// The same, frame by frame: token k of the select is visible when it and all before it are.
std::vector<double> routed_by_hand() {
  std::vector<double> heard, tokens;
  std::vector<int64_t> clocks;
  int64_t up = 0, down = 0, latest = 0;
  for (int64_t k = 0; k < kFrames; ++k) {
    const double x = static_cast<double>(k % 7), control = -3.5 + static_cast<double>(k % 7);
    const bool above = control > 0;
    int64_t& count = above ? up : down;
    tokens.push_back((above ? 4 : 5) + static_cast<double>(count++ % 7) + 0.5 * x);
    latest = std::max(latest, k + (above ? 40 : 0));
    clocks.push_back(latest);
  }
  size_t newest = 0;
  for (int64_t t = 0; t < kFrames; ++t) {
    while (newest < clocks.size() && clocks[newest] <= t) ++newest;
    const double held = newest ? tokens[newest - 1] : 0.0;
    heard.push_back(8 + static_cast<double>(t % 7) + 0.5 * held);
  }
  return heard;
}

}  // namespace

int main() {
  alarm(240);  // a run that never ends is a failure
  const std::vector<double> expected = routed_by_hand();
  for (int64_t threads : {1, 2, 4, 8}) {
    void* pool = threads > 1 ? amp_pool_create(threads) : nullptr;
    for (unsigned seed = 0; seed < 6; ++seed) {
      require(layered(seed, pool, threads) == layered(seed, nullptr, 1), "threads change no token");
    }
    for (int again = 0; again < 4; ++again) {
      int64_t grown = 0;
      require(routed(pool, threads, &grown) == expected, "routed tokens are those by hand");
      require(grown > 0, "a ring grows");
    }
    if (pool) amp_pool_destroy(pool);
  }
  std::puts("all networks agree");
}
