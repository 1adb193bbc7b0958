#include "tape.hpp"

#include <algorithm>

#define AMP_EXPORT __attribute__((visibility("default")))

namespace {

using Word = std::int64_t;
using Run = void (*)(Word steps, Word count, Word block, Word* clock, Word frames);

Word written(const AmpKeep& keep, Word clock) {
  const Word past = std::max<Word>(clock * keep.firings - keep.offset, 0);
  const Word fired = (past + keep.frames - 1) / keep.frames;
  const Word* starts = reinterpret_cast<const Word*>(keep.starts);
  return keep.total * (fired / keep.cycle) + starts[fired % keep.cycle];
}

// The values from `first` until `last` of every lane, if they ever were, put aside or put back; where the
// next ones go.
Word* move(const AmpKeep& keep, Word first, Word last, Word* store, bool back) {
  first = std::max(first, keep.first);
  const Word* lanes = reinterpret_cast<const Word*>(back ? keep.mine : keep.theirs);
  const Word step = back ? keep.my_step : keep.their_step;
  const Word mask = back ? keep.my_mask : keep.their_mask;
  for (Word lane = 0; lane < keep.lanes; ++lane)
    for (Word k = first; k < last; ++k) {
      Word* place = reinterpret_cast<Word*>(lanes[lane] + (k & mask) * step);
      Word* aside = store++;
      back ? *place = *aside : *aside = *place;
    }
  return store;
}

struct Tape {
  const AmpKeep* keeps;
  Word count;
  Word* store;
  const AmpBlocks& blocks;
  Word stride = 0;

  Tape(const AmpKeep* keeps, Word count, char* store, const AmpBlocks& blocks)
      : keeps(keeps), count(count), store(reinterpret_cast<Word*>(store)), blocks(blocks) {
    for (Word i = 0; i < count; ++i) stride += keeps[i].lanes * keeps[i].most;
  }

  Word begin(Word number) const { return blocks.clock + number * blocks.block; }
  Word frames(Word number) const { return number + 1 == blocks.blocks ? blocks.last : blocks.block; }

  // The held values that the block's own writes push out: none that is still held after it. `again`: only
  // where the block before does not put back itself all that it begins with.
  void move_block(Word number, bool back, bool again = false) const {
    Word* place = store + number * stride;
    for (Word i = 0; i < count; ++i) {
      const AmpKeep& keep = keeps[i];
      const Word now = written(keep, begin(number));
      const Word later = written(keep, begin(number) + frames(number));
      if (!again || number == 0 || written(keep, begin(number - 1)) > now - keep.held)
        move(keep, now - keep.held, std::min(now, later - keep.held), place, back);
      place += keep.lanes * keep.most;
    }
  }

  void run(const AmpSteps& steps, Word number) const {
    Word clock = begin(number);
    if (steps.count)
      reinterpret_cast<Run>(steps.run)(steps.steps, steps.count, steps.block, &clock, frames(number));
  }
};

}  // namespace

extern "C" {

AMP_EXPORT std::int64_t amp_tape_sizes(std::int64_t which) {
  constexpr std::size_t sizes[] = {sizeof(AmpKeep), sizeof(AmpSteps), sizeof(AmpBlocks)};
  return static_cast<std::int64_t>(sizes[which]);
}

AMP_EXPORT void amp_tape_record(const AmpSteps* steps, const AmpKeep* keeps, std::int64_t count,
                                char* store, const AmpBlocks* blocks) {
  const Tape tape(keeps, count, store, *blocks);
  for (Word number = 0; number < blocks->blocks; ++number) {
    tape.move_block(number, false);
    tape.run(*steps, number);
  }
}

AMP_EXPORT void amp_tape_border(const AmpKeep* keeps, std::int64_t count, char* store,
                                std::int64_t clock, std::int64_t back) {
  Word* place = reinterpret_cast<Word*>(store);
  for (Word i = 0; i < count; ++i) {
    const Word now = written(keeps[i], clock);
    place = move(keeps[i], now - keeps[i].held, now, place, back != 0);
  }
}

AMP_EXPORT void amp_tape_backward(const AmpSteps* twin, const AmpSteps* adjoint,
                                  const AmpKeep* keeps, std::int64_t count, char* store,
                                  const AmpBlocks* blocks) {
  const Tape tape(keeps, count, store, *blocks);
  for (Word number = blocks->blocks; number-- > 0;) {
    tape.move_block(number, true);
    tape.run(*twin, number);
    tape.run(*adjoint, number);
    tape.move_block(number, true, true);  // what the twin has written over again
  }
}
}
