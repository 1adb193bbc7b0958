#include "kpn.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "denormals.hpp"
#include "pool.hpp"
#include "trace.hpp"

namespace {

using Count = std::atomic<int64_t>;
static_assert(sizeof(Count) == 8 && Count::is_always_lock_free, "a counter is one word");

constexpr int64_t kNever = std::numeric_limits<int64_t>::max() / 4;

int64_t quotient(int64_t x, int64_t by) { return by == 1 ? x : x / by; }

// Event k is at clock floor((k * frames + offset) / firings); see amp.schedule.Pace.
struct Pace {
  int64_t firings, frames, offset;

  int64_t before(int64_t clock) const {
    const int64_t past = std::max<int64_t>(clock * firings - offset, 0);
    return quotient(past + frames - 1, frames);
  }
  int64_t clock(int64_t k) const { return quotient(k * frames + offset, firings); }
};

// Tokens that firings move: `each` of them the same number, or as a cycle says, which is its firings,
// their tokens, and the tokens before each of them; see amp.cycles.Cycle.
struct Tokens {
  int64_t each;
  const int64_t* cycle;

  int64_t before(int64_t k) const {
    if (!cycle) return k * each;
    const int64_t turns = k / cycle[0];
    return turns * cycle[1] + cycle[2 + k - turns * cycle[0]];
  }

  // The firing that moves `token`.
  int64_t firing(int64_t token) const {
    if (!cycle) return quotient(token, each);
    const int64_t turns = token / cycle[1], *first = cycle + 2, *end = first + cycle[0];
    return turns * cycle[0] + (std::upper_bound(first, end, token - turns * cycle[1]) - first) - 1;
  }

  // Most firings from `k` on, at most `most`, before which and with which `count` tokens are moved.
  int64_t within(int64_t count, int64_t k, int64_t most) const {
    if (!cycle) return std::min(most, quotient(count, each) - k);
    int64_t some = 0;
    while (some < most && before(k + some + 1) <= count) ++some;
    return some;
  }
};

// One reader of one outlet. Its producer has made the tokens of `made` firings, its consumer has taken
// those of `taken`; `tokens` were there at first (fewer than none: so many are skipped).
struct Edge {
  int64_t source, consumer;  // numbers of processes
  const Count* made;
  const Count* taken;
  Tokens produced, consumed;
  int64_t tokens;
  int64_t capacity;
  Pace visible;           // of the firings counted by `made`; no firings: tokens carry stamps
  const int64_t* stamps;  // by slot of the ring, when the token was written
  int64_t mask, delay;
  int64_t most;  // tokens that it has held

  int64_t held() const {
    return produced.before(made->load(std::memory_order_acquire)) + tokens -
           consumed.before(taken->load(std::memory_order_acquire));
  }

  // Firings of the producer, at most `most`, that it has room for.
  int64_t room(int64_t most) const {
    const int64_t free = capacity - tokens + consumed.before(taken->load(std::memory_order_acquire));
    return produced.within(free, made->load(std::memory_order_acquire), most);
  }

  // Whether the consumer's firing k would find too few tokens, visible or not.
  bool lacks(int64_t k) const {
    return produced.before(made->load(std::memory_order_acquire)) + tokens < consumed.before(k + 1);
  }

  // Clock from which the consumer's token `index` is visible.
  int64_t time(int64_t index) const {
    const int64_t own = index - tokens;
    if (own < 0) return 0;
    return visible.firings ? visible.clock(produced.firing(own)) : stamps[own & mask] + delay;
  }

  // Tokens that have become visible before `clock`, first ones and those taken since included.
  int64_t visible_before(int64_t clock) const {
    const int64_t written = made->load(std::memory_order_acquire);
    if (visible.firings) {
      return produced.before(std::min(written, visible.before(clock))) + tokens;
    }
    int64_t low = consumed.before(taken->load(std::memory_order_relaxed));
    int64_t high = produced.before(written) + tokens;
    if (high <= low || time(high - 1) < clock) return high;
    while (low < high) {  // stamps never fall
      const int64_t middle = low + (high - low) / 2;
      if (time(middle) < clock) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

// Where one lane of a ring lies; see amp/jit/words.py.
struct Entry {
  char* base;
  int64_t mask, tokens, stride;

  double* at(int64_t index) const {
    return reinterpret_cast<double*>(base + ((index - tokens) & mask) * stride);
  }
};

// A ring that a data-dependent process writes: the clock of every token goes with it.
struct Out {
  const Entry* entries;
  int64_t outlet;
  Tokens produced;
  int64_t* stamps;
  int64_t mask;
  double* sums = nullptr;  // of squares, by plane, of every `every`-th token; null: not measured
  int64_t every = 1;
};

enum Kind : int64_t { kKernel, kSwitch, kSelect, kTrigger, kSample };
enum State : int64_t { kIdle, kQueued, kRunning, kAgain };
enum Crossing : int64_t { kRising = 1, kFalling = 2 };

struct Process {
  void (*kernel)(int64_t* words, int64_t firings);
  int64_t* words;
  int64_t kind;
  Pace pace;  // no firings: it fires when its tokens are visible
  int64_t quantum, processing_delay;
  Edge* ins;
  int64_t in_count;
  Edge* const* readers;
  int64_t reader_count;
  const Out* outs;
  int64_t out_count;
  const Entry* const* entries;  // of each inlet, for what moves tokens itself
  int64_t planes;
  int64_t crossing;  // of a trigger
  int64_t loop;      // number of the loop that a sample is in, or 0
  Count fired;
  Count counts[2];  // tokens of each outlet (switch, trigger) or inlet (select, sample)
  int64_t time;     // of its last firing, if it is data-dependent
  double previous;  // control of a trigger
  int64_t full;     // edge without room, for which it waits
  int64_t missing;  // edge without a token, for which it waits
  int64_t cycles, firings, frames;
  Count state;
};

struct Network {
  Process* processes;
  int64_t count;
  Edge* edges;
  Count* queue;
  int64_t queue_mask;
  const int64_t* samples;  // processes that read by the clock what depends on data, sources first
  int64_t sample_count;
  int64_t step;   // most frames after which they are asked
  int64_t grows;  // some ring has no bound
  int64_t timing;
  void* trace;  // where to note every firing, or null
  void* pool;
  int64_t threads, clock;
  Count head, tail, active;
};

int64_t cycles() {
#if defined(__SSE2__)
  return static_cast<int64_t>(__rdtsc());
#else
  return 0;
#endif
}

// ---- the queue: every process is in it at most once, so that it never overflows
//
// The slot of position `at` says whose turn it is: `lap` when it is free for this position, more when it
// is written, and the next lap when it has been read. A thread that sleeps between its ticket and its
// slot is then waited for by who comes a lap later, instead of meeting it there.

int64_t lap(const Network& net, int64_t at) { return at & ~net.queue_mask; }

template <bool kShared>
void push(Network& net, int64_t index) {
  int64_t at;
  if constexpr (kShared) {
    at = net.tail.fetch_add(1, std::memory_order_relaxed);
  } else {
    at = net.tail.load(std::memory_order_relaxed);
    net.tail.store(at + 1, std::memory_order_relaxed);
  }
  Count& slot = net.queue[at & net.queue_mask];
  if constexpr (kShared) {
    while (slot.load(std::memory_order_acquire) != lap(net, at)) std::this_thread::yield();
  }
  slot.store(lap(net, at) + index + 1, std::memory_order_release);
}

// A process to look at, or -1.
template <bool kShared>
int64_t pop(Network& net) {
  int64_t at = net.head.load(std::memory_order_relaxed);
  do {
    if (at >= net.tail.load(std::memory_order_relaxed)) return -1;
    if constexpr (!kShared) {
      net.head.store(at + 1, std::memory_order_relaxed);
      break;
    }
  } while (!net.head.compare_exchange_weak(at, at + 1, std::memory_order_relaxed));
  Count& slot = net.queue[at & net.queue_mask];
  int64_t written;
  while ((written = slot.load(std::memory_order_acquire)) <= lap(net, at)) std::this_thread::yield();
  slot.store(lap(net, at) + net.queue_mask + 1, std::memory_order_release);
  return written - lap(net, at) - 1;
}

// Have a process looked at, now or when it is done with what it does.
template <bool kShared>
void wake(Network& net, int64_t index) {
  Process& process = net.processes[index];
  if (process.kind == kSample) return;  // asked when all else stands still
  if constexpr (kShared) {
    int64_t state = process.state.load(std::memory_order_relaxed);
    for (;;) {
      const int64_t next = state == kIdle ? kQueued : state == kRunning ? kAgain : state;
      // Written even where nothing changes, so that the one who looks next sees what was done here.
      if (process.state.compare_exchange_weak(state, next, std::memory_order_acq_rel)) break;
    }
    if (state != kIdle) return;
    net.active.fetch_add(1, std::memory_order_relaxed);
    push<kShared>(net, index);
  } else if (process.state.load(std::memory_order_relaxed) == kIdle) {
    process.state.store(kQueued, std::memory_order_relaxed);
    push<kShared>(net, index);
  }
}

// ---- firing

// Firings that every inlet has visible tokens for, at most `most`.
int64_t fed(const Network& net, Process& process, int64_t most) {
  process.missing = -1;
  const int64_t fired = process.fired.load(std::memory_order_relaxed);
  for (int64_t i = 0; i < process.in_count; ++i) {
    const Edge& edge = process.ins[i];
    most = edge.consumed.within(edge.visible_before(net.clock), fired, most);
    if (most < 1 && edge.lacks(fired)) process.missing = &edge - net.edges;
  }
  return most;
}

// Firings that leave every reader room, at most `most`.
int64_t roomy(const Network& net, Process& process, int64_t most) {
  process.full = -1;
  for (int64_t i = 0; i < process.reader_count; ++i) {
    const int64_t some = process.readers[i]->room(most);
    if (some >= most) continue;
    process.full = process.readers[i] - net.edges;
    most = some;
  }
  return most;
}

void note_most(const Process& process) {
  for (int64_t i = 0; i < process.reader_count; ++i) {
    Edge& edge = *process.readers[i];
    edge.most = std::max(edge.most, edge.held());
  }
}

// Clock of firing `k` of a data-dependent process: when the last of its tokens is visible.
int64_t firing_time(const Process& process, int64_t k) {
  int64_t time = process.time;
  for (int64_t i = 0; i < process.in_count; ++i) {
    const Edge& edge = process.ins[i];
    time = std::max(time, edge.time(edge.consumed.before(k + 1) - 1));
  }
  return time;
}

int64_t fire_kernel(const Network& net, Process& process) {
  const int64_t fired = process.fired.load(std::memory_order_relaxed);
  int64_t most = process.quantum;
  if (process.pace.firings) most = std::min(most, process.pace.before(net.clock) - fired);
  const int64_t count = roomy(net, process, fed(net, process, most));
  if (count < 1) return 0;
  process.kernel(process.words, count);
  if (!process.pace.firings) {
    for (int64_t k = fired; k < fired + count; ++k) {
      process.time = firing_time(process, k);
      for (int64_t o = 0; o < process.out_count; ++o) {
        const Out& out = process.outs[o];
        for (int64_t j = out.produced.before(k); j < out.produced.before(k + 1); ++j) {
          out.stamps[j & out.mask] = process.time + process.processing_delay;
        }
      }
    }
  }
  process.fired.store(fired + count, std::memory_order_release);
  return count;
}

void copy(const Process& process, const Entry* from, int64_t j, const Entry* to, int64_t k) {
  for (int64_t plane = 0; plane < process.planes; ++plane) *to[plane].at(k) = *from[plane].at(j);
}

// Give token `j` of inlet `inlet` to every reader of `outlet` as its token `k`.
void send(const Process& process, int64_t inlet, int64_t j, int64_t outlet, int64_t k) {
  for (int64_t o = 0; o < process.out_count; ++o) {
    const Out& out = process.outs[o];
    if (out.outlet != outlet) continue;
    copy(process, process.entries[inlet], j, out.entries, k);
    if (out.sums && k % out.every == 0) {
      for (int64_t plane = 0; plane < process.planes; ++plane) {
        const double x = *out.entries[plane].at(k);
        out.sums[plane] = std::fma(x, x, out.sums[plane]);
      }
    }
    if (out.stamps) out.stamps[k & out.mask] = process.time;
  }
}

// Whether each reader of what `made` counts has room for a token.
bool has_room(const Network& net, Process& process, const Count& made) {
  for (int64_t i = 0; i < process.reader_count; ++i) {
    const Edge& edge = *process.readers[i];
    if (edge.made == &made && edge.room(1) < 1) {
      process.full = &edge - net.edges;
      return false;
    }
  }
  return true;
}

// A switch or a trigger: each firing takes a token and its control, and sends it or not.
int64_t fire_router(const Network& net, Process& process) {
  const int64_t first = process.fired.load(std::memory_order_relaxed);
  const int64_t count = fed(net, process, process.quantum);
  process.full = -1;
  int64_t k = first;
  for (; k < first + count; ++k) {
    const double control = *process.entries[1][0].at(k);
    const bool now = control > 0, before = process.previous > 0;
    const bool crosses = (now && !before && (process.crossing & kRising)) ||
                         (!now && before && (process.crossing & kFalling));
    const bool sends = process.kind == kSwitch || crosses;
    const int64_t outlet = process.kind == kSwitch && !now ? 1 : 0;
    Count& sent = process.counts[outlet];
    if (sends && !has_room(net, process, sent)) break;
    process.time = firing_time(process, k);
    if (sends) {
      const int64_t number = sent.load(std::memory_order_relaxed);
      send(process, 0, k, outlet, number);
      sent.store(number + 1, std::memory_order_release);
    }
    process.previous = control;
  }
  process.fired.store(k, std::memory_order_release);
  return k - first;
}

// When firing `k` of a select has a token of every gate that it stands behind; kNever if not yet.
int64_t gates_time(const Network& net, Process& process, int64_t k) {
  int64_t time = 0;
  for (int64_t i = 3; i < process.in_count; ++i) {
    const Edge& edge = process.ins[i];
    const int64_t needed = edge.consumed.before(k + 1);
    if (edge.visible_before(net.clock) < needed) {
      if (edge.lacks(k)) process.missing = &edge - net.edges;
      return kNever;
    }
    time = std::max(time, edge.time(needed - 1));
  }
  return time;
}

// A select: its control says which inlet the next token is taken from.
int64_t fire_select(const Network& net, Process& process) {
  const int64_t first = process.fired.load(std::memory_order_relaxed);
  const Edge& control = process.ins[2];
  const int64_t controls = control.visible_before(net.clock);
  process.full = -1;
  process.missing = controls <= first && control.held() < 1 ? &control - net.edges : -1;
  int64_t k = first;
  for (; k < std::min(controls, first + process.quantum); ++k) {
    const int64_t which = *process.entries[2][0].at(k) > 0 ? 0 : 1;
    const Edge& edge = process.ins[which];
    Count& taken = process.counts[which];
    const int64_t j = taken.load(std::memory_order_relaxed);
    if (edge.visible_before(net.clock) <= j) {
      if (edge.held() < 1) process.missing = &edge - net.edges;
      break;
    }
    const int64_t gates = gates_time(net, process, k);
    if (gates == kNever || !has_room(net, process, process.fired)) break;
    process.time = std::max({process.time, control.time(k), edge.time(j), gates});
    send(process, which, j, 0, k);
    taken.store(j + 1, std::memory_order_release);
    process.fired.store(k + 1, std::memory_order_release);
  }
  return k - first;
}

// The newest tokens that are visible at each firing of a paced process, up to its firing `until`.
int64_t fire_sample(const Network& net, Process& process, int64_t until) {
  const Edge& edge = process.ins[0];
  const int64_t first = process.fired.load(std::memory_order_relaxed);
  const int64_t last = first + roomy(net, process, std::min(process.quantum, until - first));
  const int64_t count = process.outs[0].produced.each;
  int64_t taken = process.counts[0].load(std::memory_order_relaxed);
  const int64_t written =
      edge.produced.before(edge.made->load(std::memory_order_acquire)) + edge.tokens;
  for (int64_t k = first; k < last; ++k) {
    const int64_t clock = process.pace.clock(k);
    while (taken < written && edge.time(taken) <= clock) ++taken;
    for (int64_t i = 0; i < count; ++i) send(process, 0, taken - count + i, 0, k * count + i);
  }
  process.counts[0].store(taken, std::memory_order_release);
  process.fired.store(last, std::memory_order_release);
  return last - first;
}

template <bool kShared>
void wake_peers(Network& net, const Process& process) {
  for (int64_t i = 0; i < process.reader_count; ++i) {
    wake<kShared>(net, process.readers[i]->consumer);
  }
  for (int64_t i = 0; i < process.in_count; ++i) wake<kShared>(net, process.ins[i].source);
}

// Fire a process that is not in the queue; whether it may have more to do. With timing, `began` is when
// this thread was last done with one, and becomes now: reading the counter is not free.
template <bool kShared>
bool fire(Network& net, int64_t index, int64_t sample_until, int64_t& began) {
  Process& process = net.processes[index];
  int64_t count = 0;
  switch (process.kind) {
    case kKernel:
      count = fire_kernel(net, process);
      break;
    case kSelect:
      count = fire_select(net, process);
      break;
    case kSample:
      count = fire_sample(net, process, sample_until);
      break;
    default:
      count = fire_router(net, process);
  }
  if (count < 1) return false;
  if (net.timing) {
    const int64_t ended = cycles();
    process.cycles += ended - began;
    process.firings += 1;
    process.frames += count;
    if (net.trace) amp_trace_note(net.trace, index, count, began, ended);
    began = ended;
  }
  note_most(process);
  wake_peers<kShared>(net, process);
  return count == process.quantum;  // stopped by neither tokens nor room: no neighbour will wake it
}

// Fire until nothing is ready, on this thread and, if shared, on others that do the same.
template <bool kShared>
void drain(Network& net) {
  int64_t idle = 0, began = net.timing ? cycles() : 0;
  for (;;) {
    const int64_t index = pop<kShared>(net);
    if (index < 0) {
      if (!kShared || !net.active.load(std::memory_order_acquire)) return;
      if (++idle > 64) std::this_thread::yield();  // others still fire: they may wake someone
      continue;
    }
    if (idle && net.timing) began = cycles();
    idle = 0;
    Process& process = net.processes[index];
    if constexpr (kShared) {
      // What was done before it was woken is seen from here on.
      process.state.exchange(kRunning, std::memory_order_acq_rel);
      const bool more = fire<kShared>(net, index, 0, began);
      int64_t state = kRunning;
      if (!more && process.state.compare_exchange_strong(state, kIdle, std::memory_order_acq_rel)) {
        net.active.fetch_sub(1, std::memory_order_release);
      } else {
        // Exchanged, not stored, so that what was done by those who woke it meanwhile is seen, too.
        process.state.exchange(kQueued, std::memory_order_acq_rel);
        push<kShared>(net, index);
      }
    } else {
      process.state.store(kIdle, std::memory_order_relaxed);
      if (fire<kShared>(net, index, 0, began)) wake<kShared>(net, index);
    }
  }
}

void drain_all(Network& net) {
  for (int64_t i = 0; i < net.count; ++i) wake<false>(net, i);
  if (!net.pool) {
    drain<false>(net);
    return;
  }
  int64_t queued = net.tail.load(std::memory_order_relaxed) - net.head.load(std::memory_order_relaxed);
  net.active.store(queued, std::memory_order_relaxed);
  amp_pool_run(
      net.pool, [](void* network, int64_t) { drain<true>(*static_cast<Network*>(network)); }, &net,
      net.threads);
}

// An edge that a process with tokens has no room on, or -1. A sample has not been asked since readers
// took tokens, or the ring has grown: so the room is looked at.
int64_t full_edge(const Network& net) {
  for (int64_t i = 0; i < net.count; ++i) {
    const int64_t full = net.processes[i].full;
    if (full >= 0 && net.edges[full].room(1) < 1) return full;
  }
  return AMP_KPN_DONE;
}

// Fire the first sample that is due, now that nothing else can write before it reads; whether there was
// one. Those that hear it come later. Of samples in one loop the one whose clock is behind goes first,
// frame by frame.
bool fire_a_sample(Network& net) {
  int64_t behind = -1, loop = 0, least = kNever, began = net.timing ? cycles() : 0;
  for (int64_t i = 0; i < net.sample_count; ++i) {
    const int64_t index = net.samples[i];
    Process& process = net.processes[index];
    const int64_t fired = process.fired.load(std::memory_order_relaxed);
    const int64_t due = process.pace.before(net.clock);
    if (fired >= due || (loop && process.loop != loop)) continue;
    if (!process.loop) return fire<false>(net, index, due, began), true;
    loop = process.loop;
    if (const int64_t clock = process.pace.clock(fired); clock < least) {
      behind = index;
      least = clock;
    }
  }
  if (behind < 0) return false;
  fire<false>(net, behind, net.processes[behind].pace.before(least + 1), began);
  return true;
}

int64_t run_until(Network& net, int64_t clock) {
  net.clock = clock;
  do {
    drain_all(net);
    if (net.grows) {
      const int64_t full = full_edge(net);
      if (full >= 0) return full;
    }
  } while (fire_a_sample(net));
  for (int64_t i = 0; i < net.count; ++i) {
    const Process& process = net.processes[i];
    const int64_t fired = process.fired.load(std::memory_order_relaxed);
    if (process.pace.firings && fired < process.pace.before(clock)) return AMP_KPN_STARVED;
  }
  return AMP_KPN_DONE;
}

}  // namespace

extern "C" int64_t amp_kpn_run(void* network, int64_t* clock, int64_t frames) {
  const Flushed flushed;
  Network& net = *static_cast<Network*>(network);
  const int64_t end = *clock + frames;
  int64_t now = *clock, answer = AMP_KPN_DONE;
  while (now < end && answer == AMP_KPN_DONE) {
    now = std::min(end, now + net.step);
    answer = run_until(net, now);
  }
  // The clock moves here, so that no signal can come between the frames and the clock.
  if (answer == AMP_KPN_DONE) *clock = end;
  return answer;
}

extern "C" int64_t amp_kpn_sizes(int64_t table) {
  constexpr int64_t kSizes[] = {sizeof(Network), sizeof(Process), sizeof(Edge), sizeof(Out)};
  return kSizes[table];
}
