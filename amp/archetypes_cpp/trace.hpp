// A bounded record of what ran when, on which thread; written by the engines, read between their runs.
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)  // the only names these libraries export
extern "C" {

// Note that call number `call` did `frames` firings from counter `begin` until `end`. `trace` is three
// words: events noted so far, events there is room for, and their address; see amp/jit/events.py. What
// does not fit is counted and dropped. Threads may note at the same time.
void amp_trace_note(void* trace, int64_t call, int64_t frames, int64_t begin, int64_t end);
}
#pragma GCC visibility pop
