// A pool of worker threads that flush denormals, for running independent cohorts side by side.
//
// Plain C, reached through ctypes and from generated code.
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)  // the only names these libraries export
extern "C" {

// A pool of `threads` workers (at least one), or null when the system refuses to start them.
void* amp_pool_create(int64_t threads);
void amp_pool_destroy(void* pool);

// Run task(argument, 0), ..., task(argument, count - 1) on the workers and the calling thread and
// return when all are done. The order is not defined. Nothing is allocated. Called from a task on a
// worker, it runs the inner tasks on that worker alone. A null pool: the calling thread alone.
void amp_pool_run(void* pool, void (*task)(void* argument, int64_t index), void* argument,
                  int64_t count);
}
#pragma GCC visibility pop
