// The scheduler of a Kahn process network: fires whatever is ready, on one thread or several.
//
// Plain C over tables of 64-bit words that the program lays out (amp/jit/kpn.py has the same fields in
// the same order). Kahn, "The semantics of a simple language for parallel programming", IFIP 1974, is
// why the order of firings cannot be heard.
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)  // the only names these libraries export
extern "C" {

// What amp_kpn_run answers when it is not stopped by a full ring.
enum { AMP_KPN_DONE = -1, AMP_KPN_STARVED = -2 };

// Fire until `frames` more frames of the clock are done, and move the clock on. An answer of 0 or more
// is the number of an edge whose ring is full and has to grow: nothing is lost, the clock stands, and
// the same call goes on where it stopped. AMP_KPN_STARVED: a process that is due lacks tokens.
int64_t amp_kpn_run(void* network, int64_t* clock, int64_t frames);

// Bytes of each table's rows, by which the program's layout is checked.
int64_t amp_kpn_sizes(int64_t table);
}
#pragma GCC visibility pop
