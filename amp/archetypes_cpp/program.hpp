// One run of a program for callers that are not Python: by address, on plain pointers.
//
// Plain C over tables of 64-bit words that the program lays out (amp/jit/handle.py has the same fields in
// the same order).
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)  // the only names these libraries export
extern "C" {

// What amp_program_run answers. Except for AMP_PROGRAM_STARVED, which is a defect of amp, whatever is not
// AMP_PROGRAM_DONE has changed nothing.
enum {
  AMP_PROGRAM_DONE = 0,
  AMP_PROGRAM_BUSY = 1,      // another thread uses the program; a swap is waited for
  AMP_PROGRAM_STANDING = 2,  // a crossfade is under way, or the outputs are not those of the handle
  AMP_PROGRAM_INVALID = 3,   // fewer than no frames, or a null pointer
  AMP_PROGRAM_STARVED = 4,   // a process that is due lacks tokens
};

// Move the clock on by `frames`, read an array for each input and write one for each output, all of them
// C-contiguous (batch, channels, frames) and none overlapping another that is written.
int64_t amp_program_run(void* program, const double* const* inputs, double* const* outputs,
                        int64_t frames);

// Take the program for oneself, as a run does, unless another thread has it (0). Or wait until it is free,
// before any run that comes later, which waits in turn. And give it back, `ready` if it may be run from
// here.
int64_t amp_program_enter(void* program);
void amp_program_wait(void* program);
void amp_program_leave(void* program, int64_t ready);

// Bytes of each table's rows, by which the program's layout is checked.
int64_t amp_program_sizes(int64_t table);
}
#pragma GCC visibility pop
