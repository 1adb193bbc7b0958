#include "program.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include "heat.hpp"
#include "kpn.hpp"

namespace {

// Where one lane of one plane of a caller's array lies; see amp/jit/words.py.
struct Entry {
  int64_t base, mask, tokens, stride;
};

// An entry, and the row of (batch x channels) that it is pointed at.
struct Cell {
  Entry* entry;
  int64_t row;
};

// An input or output; its first token belongs to clock `start`.
struct Port {
  const Cell* cells;
  int64_t cell_count, rows, start;
};

// A data-driven program has a network; another one a driver and its steps. One that measures has heat.
struct Program {
  std::atomic<int64_t> user, waiting;
  int64_t ready;
  int64_t* clock;
  void* network;
  void (*driver)(void* steps, int64_t count, int64_t block, int64_t* clock, int64_t frames);
  void* steps;
  int64_t step_count, block;
  Heat* heat;
  const Port* inputs;
  int64_t input_count;
  const Port* outputs;
  int64_t output_count;
};

enum User : int64_t { kNobody, kRun, kSwap };

void point(const Port& port, const double* array, int64_t clock, int64_t frames) {
  for (int64_t i = 0; i < port.cell_count; ++i) {
    Entry& entry = *port.cells[i].entry;
    entry.base = reinterpret_cast<int64_t>(array + port.cells[i].row * frames);
    entry.tokens = clock - port.start;
    entry.stride = sizeof(double);
  }
}

// Silence before the first token.
void silence(const Port& port, double* array, int64_t clock, int64_t frames) {
  const int64_t count = std::min(port.start - clock, frames);
  if (count < 1) return;
  for (int64_t row = 0; row < port.rows; ++row) std::fill_n(array + row * frames, count, 0.0);
}

template <class Pointer>
bool has_null(const Pointer* arrays, int64_t count) {
  return count && (!arrays || std::find(arrays, arrays + count, nullptr) != arrays + count);
}

bool advance(Program& program, int64_t frames) {
  if (program.network) {
    return amp_kpn_run(program.network, program.clock, frames) == AMP_KPN_DONE;
  }
  program.driver(program.steps, program.step_count, program.block, program.clock, frames);
  return true;
}

int64_t run(Program& program, const double* const* inputs, double* const* outputs, int64_t frames) {
  if (!program.ready) return AMP_PROGRAM_STANDING;
  if (has_null(inputs, program.input_count) || has_null(outputs, program.output_count)) {
    return AMP_PROGRAM_INVALID;
  }
  if (frames == 0) return AMP_PROGRAM_DONE;
  const int64_t clock = *program.clock;
  for (int64_t i = 0; i < program.input_count; ++i) {
    point(program.inputs[i], inputs[i], clock, frames);
  }
  for (int64_t i = 0; i < program.output_count; ++i) {
    silence(program.outputs[i], outputs[i], clock, frames);
    point(program.outputs[i], outputs[i], clock, frames);
  }
  while (*program.clock < clock + frames) {
    int64_t some = clock + frames - *program.clock;
    if (program.heat) some = std::min(some, amp_heat_room(program.heat));
    if (!advance(program, some)) return AMP_PROGRAM_STARVED;
    if (program.heat) amp_heat_advance(program.heat, *program.clock, nullptr);
  }
  return AMP_PROGRAM_DONE;
}

}  // namespace

extern "C" int64_t amp_program_run(void* handle, const double* const* inputs, double* const* outputs,
                                   int64_t frames) {
  if (!handle || frames < 0) return AMP_PROGRAM_INVALID;
  if (!amp_program_enter(handle)) return AMP_PROGRAM_BUSY;
  Program& program = *static_cast<Program*>(handle);
  const int64_t answer = run(program, inputs, outputs, frames);
  amp_program_leave(handle, program.ready);
  return answer;
}

extern "C" int64_t amp_program_enter(void* handle) {
  Program& program = *static_cast<Program*>(handle);
  for (;;) {
    int64_t user = kNobody;
    if (program.waiting.load(std::memory_order_relaxed)) {
      user = kSwap;
    } else if (program.user.compare_exchange_strong(user, kRun, std::memory_order_acquire)) {
      return 1;
    }
    if (user != kSwap) return 0;
    std::this_thread::yield();
  }
}

extern "C" void amp_program_wait(void* handle) {
  Program& program = *static_cast<Program*>(handle);
  program.waiting.store(1, std::memory_order_relaxed);
  int64_t user = kNobody;
  while (!program.user.compare_exchange_weak(user, kSwap, std::memory_order_acquire)) {
    user = kNobody;
    std::this_thread::yield();
  }
  program.waiting.store(0, std::memory_order_relaxed);
}

extern "C" void amp_program_leave(void* handle, int64_t ready) {
  Program& program = *static_cast<Program*>(handle);
  program.ready = ready;
  program.user.store(kNobody, std::memory_order_release);
}

extern "C" int64_t amp_program_sizes(int64_t table) {
  constexpr int64_t kSizes[] = {sizeof(Program), sizeof(Port), sizeof(Cell)};
  return kSizes[table];
}
