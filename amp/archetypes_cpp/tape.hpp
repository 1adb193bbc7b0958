// The tape: what a run has to be put back to, block by block, so that its adjoint can go from the last block
// to the first. Plain C over addresses, as everything that generated code meets.
#pragma once

#include <cstdint>

extern "C" {

// Values with a past, in the memory of a program and in that of the twin that runs again in its place. What
// lane i wrote at number k lies (k & mask) step bytes after the i-th address; before clock t they are those of
// `ceil((t firings - offset) / frames)` firings, besides those of numbers from `first` on that were there at
// clock 0: `total` in a cycle of so many firings, of which `starts` says how many come before each. A later
// frame depends on the last `held` of them; `most` is how many of these a block can do without.
struct AmpKeep {
  std::int64_t theirs, their_step, their_mask;
  std::int64_t mine, my_step, my_mask;
  std::int64_t lanes, held, most, first;
  std::int64_t firings, frames, offset;
  std::int64_t starts, cycle, total;
};

// A compiled list of steps, see amp/jit/driver.py, and the most frames of one of its blocks.
struct AmpSteps {
  std::int64_t run, steps, count, block;
};

// `blocks` blocks of `block` frames, the last of `last`, from `clock` on.
struct AmpBlocks {
  std::int64_t clock, block, blocks, last;
};

// Sizes of the structures, in the order above.
std::int64_t amp_tape_sizes(std::int64_t which);

// Put aside what each block needs to be put back, from the program's memory, and run it, if there are `steps`.
void amp_tape_record(const AmpSteps* steps, const AmpKeep* keeps, std::int64_t count, char* store,
                     const AmpBlocks* blocks);

// Put aside all that is held at `clock`, or, with `back`, give it to the twin.
void amp_tape_border(const AmpKeep* keeps, std::int64_t count, char* store, std::int64_t clock,
                     std::int64_t back);

// From the last block back: the twin is put back and runs again, and then the adjoint does. The twin has to be
// where the last block ended.
void amp_tape_backward(const AmpSteps* twin, const AmpSteps* adjoint, const AmpKeep* keeps,
                       std::int64_t count, char* store, const AmpBlocks* blocks);
}
