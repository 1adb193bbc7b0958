// Convolution, without latency or block by block, and its transposed; see fir.hpp for the contract.
#include "fir.hpp"

#include "fir_parts.hpp"

namespace amp {
namespace {

class Forward {
 public:
  Forward(const double* params, const int64_t* sizes, const double* in, Index in_stride, double* out,
          Index out_stride, double* state, double* scratch, Index firings)
      : at_(sizes, firings), taps_(params), prepared_(params + at_.rows * at_.taps), in_(in), in_stride_(in_stride),
        out_(out), out_stride_(out_stride), state_(state), scratch_(at_, scratch), firings_(firings) {}

  void run() {
    const Index frames = firings_ * at_.block;
    Index count = count_of(state_[0]);
    for (Index done = 0; done < frames;) {
      const Index size = std::min(frames - done, at_.quantum - count % at_.quantum);
      begin(count, done, size);
      if (at_.head) head(count, done, size);
      push(count, done, size);
      count += size;
      done += size;
      for (int l = 0; l < at_.levels; ++l)
        if (count % at_.level[l].size == 0) partitions(at_.level[l], count, done);
    }
    state_[0] = static_cast<double>(count);
  }

 private:
  double* ring(Index input) const { return state_ + at_.ring_at + input * at_.ring; }

  // What the partitions have put aside for these frames.
  void begin(Index count, Index done, Index size) {
    for (Index o = 0; o < at_.outs; ++o) {
      double* y = out_ + o * out_stride_ + done;
      std::fill_n(y, size, 0.0);
      for (int l = 0; l < at_.levels; ++l) {
        const Level& level = at_.level[l];
        if (!level.first) continue;
        const double* p = state_ + level.pending_at + o * level.size + count % level.size;
        for (Index t = 0; t < size; ++t) y[t] += p[t];
      }
    }
  }

  void head(Index count, Index done, Index size) {
    const Index before = at_.head - 1;
    for (Index i = 0; i < at_.ins; ++i) {
      double* window = scratch_.windows + i * at_.window;
      read_ring(ring(i), at_.ring, count - before, before, window);
      std::copy_n(in_ + i * in_stride_ + done, size, window + before);
    }
    for (Index o = 0; o < (at_.matrix ? 1 : at_.outs); ++o) {
      const Index first = at_.first_input(o);
      fused_windows(
          at_.matrix ? at_.outs : 1, size, {at_.end_input(o) - first, at_.head},
          [=](Index m) { return taps_ + at_.row(o + m, first) * at_.taps; }, {at_.taps, 1},
          scratch_.windows + first * at_.window + before, {at_.window, -1},
          [=](Index m) { return out_ + (o + m) * out_stride_ + done; });
    }
  }

  void push(Index count, Index done, Index size) {
    const Index skipped = std::max<Index>(0, size - at_.ring);
    for (Index i = 0; i < at_.ins; ++i)
      write_ring(ring(i), at_.ring, count + skipped, size - skipped, in_ + i * in_stride_ + done + skipped);
  }

  // Another block of inputs is there: what it, with those before it, makes of the next frames, or of its own.
  void partitions(const Level& level, Index count, Index done) {
    const Index size = level.size, block = count / size;
    double* inputs = state_ + level.inputs_at;
    for (Index i = 0; i < at_.ins; ++i) {
      read_ring(ring(i), at_.ring, count - 2 * size, 2 * size, scratch_.signal);
      const Spectrum now = spectrum(level, inputs, i * level.count + slot(level, block));
      transform(level, scratch_.signal, now, scratch_.work);
    }
    const Spectrum sum = spectrum(level, scratch_.spectra, 0);
    for (Index o = 0; o < at_.outs; ++o) {
      clear(level, sum);
      for (Index i = at_.first_input(o); i < at_.end_input(o); ++i)
        for (Index j = 0; j < level.count; ++j)
          add_product<false>(
              spectrum(level, prepared_ + level.taps_at, at_.row(o, i) * level.count + j),
              spectrum(level, inputs, i * level.count + slot(level, block - j)), sum, level.bins);
      transform_back(level, sum, scratch_.signal, scratch_.work);
      const double* last = scratch_.signal + size;
      if (level.first) {
        std::copy_n(last, size, state_ + level.pending_at + o * size);
      } else {
        double* y = out_ + o * out_stride_ + done - size;
        for (Index t = 0; t < size; ++t) y[t] += last[t];
      }
    }
  }

  const Layout at_;
  const double *taps_, *prepared_, *in_;
  const Index in_stride_;
  double* out_;
  const Index out_stride_;
  double* state_;
  const Scratch scratch_;
  const Index firings_;
};

class Adjoint {
 public:
  Adjoint(const double* params, const int64_t* sizes, const double* in, Index in_stride, const double* dout,
          Index dout_stride, double* din, Index din_stride, double* dtaps, const double* state, double* dstate,
          double* scratch, Index firings)
      : at_(sizes, firings), taps_(params), prepared_(params + at_.rows * at_.taps), in_(in), in_stride_(in_stride),
        dout_(dout), dout_stride_(dout_stride), din_(din), din_stride_(din_stride), dtaps_(dtaps),
        state_(state), dstate_(dstate), scratch_(at_, scratch),
        firings_(firings), begin_(count_of(state[0])) {}

  void run() {
    for (Index end = begin_ + firings_ * at_.block; end > begin_;) {
      const Index from = std::max(begin_, (end - 1) / at_.quantum * at_.quantum);
      for (int l = at_.levels; l-- > 0;)
        if (end % at_.level[l].size == 0) partitions(at_.level[l], end);
      put_aside(from, end - from);
      head(from, end - from);
      end = from;
    }
    dstate_[0] = 0.0;
  }

 private:
  double* ring(Index input) const { return dstate_ + at_.ring_at + input * at_.ring; }

  // x[from .. from + count) of an input: from the call, and before that from the state.
  void read_input(Index input, Index from, Index count, double* to) const {
    const Index old = std::clamp<Index>(begin_ - from, 0, count);
    read_ring(state_ + at_.ring_at + input * at_.ring, at_.ring, from, old, to);
    std::copy_n(in_ + input * in_stride_ + (from + old - begin_), count - old, to + old);
  }

  // The cotangents of what the partitions had put aside for these frames.
  void put_aside(Index from, Index size) {
    for (Index o = 0; o < at_.outs; ++o) {
      const double* dy = dout_ + o * dout_stride_ + (from - begin_);
      for (int l = 0; l < at_.levels; ++l) {
        const Level& level = at_.level[l];
        if (!level.first) continue;
        double* p = dstate_ + level.pending_at + o * level.size + from % level.size;
        for (Index t = 0; t < size; ++t) p[t] += dy[t];
      }
    }
  }

  // The chains of the head turned round: into the inputs of the piece, and those before it.
  void head(Index from, Index size) {
    const Index before = std::max<Index>(at_.head - 1, 0), kept = std::min(size, at_.ring);
    for (Index i = 0; i < at_.ins; ++i) {
      double* d = scratch_.turned + i * at_.window;
      std::fill_n(d + before, size - kept, 0.0);
      read_ring(ring(i), at_.ring, from + size - kept, kept, d + before + size - kept);
      in_ring(at_.ring, from + size - kept, kept,
              [=](Index at, Index, Index some) { std::fill_n(ring(i) + at, some, 0.0); });
      read_ring(ring(i), at_.ring, from - before, before, d);
    }
    if (at_.head) {
      turn_head(from, size);
      if (dtaps_) head_taps(from, size);
    }
    for (Index i = 0; i < at_.ins; ++i) {
      const double* d = scratch_.turned + i * at_.window;
      write_ring(ring(i), at_.ring, from - before, before, d);
      if (din_) std::copy_n(d + before, size, din_ + i * din_stride_ + (from - begin_));
    }
  }

  // dx[s] += h[k] dy[s + k], k descending and then o ascending, as far as s + k is in the piece.
  void turn_head(Index from, Index size) {
    const Index before = at_.head - 1;
    for (Index o = 0; o < at_.outs; ++o) {
      double* window = scratch_.windows + o * at_.window;
      std::fill_n(window, size + 2 * before, 0.0);
      std::copy_n(dout_ + o * dout_stride_ + (from - begin_), size, window + before);
    }
    for (Index i = 0; i < (at_.matrix ? 1 : at_.ins); ++i) {
      const Index paths = at_.matrix ? at_.outs : 1;
      const Steps steps = at_.matrix ? Steps{paths, 1} : Steps{-1, 0};
      fused_windows(
          at_.matrix ? at_.ins : 1, size + before, {at_.head, paths},
          [=](Index m) {
            return at_.matrix ? prepared_ + at_.turned_at + m * at_.head * paths
                              : taps_ + at_.row(i, i) * at_.taps + before;
          },
          steps, scratch_.windows + i * at_.window + before, {-1, at_.window},
          [=](Index m) { return scratch_.turned + (i + m) * at_.window; });
    }
  }

  // dh[k] += dy[t] x[t - k], t descending; of a response for all channels, these ascending for each t.
  void head_taps(Index from, Index size) {
    const Index before = at_.head - 1, last = from - begin_ + size - 1;
    for (Index i = 0; i < at_.ins; ++i) {
      double* window = scratch_.windows + i * at_.window;
      read_input(i, from - before, size + before, window);
      std::reverse(window, window + size + before);
    }
    const bool shared = !at_.matrix && at_.rows == 1;
    for (Index i = 0; i < (shared ? 1 : at_.ins); ++i) {
      const Index first = at_.matrix ? 0 : i;
      fused_windows(
          at_.matrix ? at_.outs : 1, at_.head, {size, shared ? at_.outs : 1},
          [=](Index m) { return dout_ + (first + m) * dout_stride_ + last; }, {-1, dout_stride_},
          scratch_.windows + i * at_.window, {1, at_.window},
          [=](Index m) { return dtaps_ + at_.row(first + m, i) * at_.taps; });
    }
  }

  void partitions(const Level& level, Index end) {
    const Index size = level.size, block = end / size;
    for (Index o = 0; o < at_.outs; ++o) {
      double* heard = scratch_.signal + size;
      std::fill_n(scratch_.signal, size, 0.0);
      if (level.first) {
        double* pending = dstate_ + level.pending_at + o * size;
        std::copy_n(pending, size, heard);
        std::fill_n(pending, size, 0.0);
      } else {
        std::copy_n(dout_ + o * dout_stride_ + (end - size - begin_), size, heard);
      }
      const Spectrum made = spectrum(level, scratch_.spectra, 2 + o);
      transform(level, scratch_.signal, made, scratch_.work);
      scale_inner(level, made, 2.0);
    }
    double* inputs = dstate_ + level.inputs_at;
    for (Index i = 0; i < at_.ins; ++i) {
      const Index first = at_.matrix ? 0 : i, beyond = at_.matrix ? at_.outs : i + 1;
      for (Index j = 0; j < level.count; ++j) {
        const Spectrum into = spectrum(level, inputs, i * level.count + slot(level, block - j));
        for (Index o = first; o < beyond; ++o)
          add_product<true>(spectrum(level, prepared_ + level.taps_at, at_.row(o, i) * level.count + j),
                            spectrum(level, scratch_.spectra, 2 + o), into, level.bins);
        if (!dtaps_) continue;
        const ConstSpectrum x = input(level, i, block - j);
        for (Index o = first; o < beyond; ++o) partition_taps(level, x, o, at_.row(o, i), j);
      }
      const Spectrum last = spectrum(level, inputs, i * level.count + slot(level, block));
      scale_inner(level, last, 0.5);
      transform_back(level, last, scratch_.signal, scratch_.work);
      clear(level, last);
      in_ring(at_.ring, end - 2 * size, 2 * size, [&](Index at, Index done, Index some) {
        for (Index n = 0; n < some; ++n) ring(i)[at + n] += scratch_.signal[done + n];
      });
    }
  }

  // The spectrum of two blocks of inputs: of the state, or of this call.
  ConstSpectrum input(const Level& level, Index i, Index block) const {
    const Index end = block * level.size;
    if (end <= begin_)
      return spectrum(level, state_ + level.inputs_at, i * level.count + slot(level, block));
    const Spectrum made = spectrum(level, scratch_.spectra, 0);
    read_input(i, end - 2 * level.size, 2 * level.size, scratch_.signal);
    transform(level, scratch_.signal, made, scratch_.work);
    return made;
  }

  void partition_taps(const Level& level, ConstSpectrum x, Index o, Index row, Index j) const {
    const Spectrum product = spectrum(level, scratch_.spectra, 1);
    clear(level, product);
    add_product<true>(x, spectrum(level, scratch_.spectra, 2 + o), product, level.bins);
    scale_inner(level, product, 0.5);
    transform_back(level, product, scratch_.signal, scratch_.work);
    const Index at = (level.first + j) * level.size, live = std::min(level.size, at_.taps - at);
    double* into = dtaps_ + row * at_.taps + at;
    for (Index n = 0; n < live; ++n) into[n] += scratch_.signal[n] / static_cast<double>(2 * level.size);
  }

  const Layout at_;
  const double *taps_, *prepared_, *in_;
  const Index in_stride_;
  const double* dout_;
  const Index dout_stride_;
  double* din_;
  const Index din_stride_;
  double* dtaps_;
  const double* state_;
  double* dstate_;
  const Scratch scratch_;
  const Index firings_, begin_;
};

// Spectra of the partitions, divided by what transforming there and back multiplies by; the head of a matrix.
void prepare(const Layout& at, const double* taps, double* prepared) {
  const Index all = at.matrix ? at.rows * at.head : 0;
  for (Index n = 0; n < all; ++n) {
    const Index o = n % at.outs, k = at.head - 1 - n / at.outs % at.head, i = n / (at.outs * at.head);
    prepared[at.turned_at + n] = taps[at.row(o, i) * at.taps + k];
  }
  std::vector<double> room(2 * at.largest + (at.levels ? fft::real(2 * at.largest).scratch() : 0));
  for (int l = 0; l < at.levels; ++l) {
    const Level& level = at.level[l];
    const Index size = level.size;
    for (Index row = 0; row < at.rows; ++row)
      for (Index j = 0; j < level.count; ++j) {
        const Index from = (level.first + j) * size, live = std::min(size, at.taps - from);
        std::fill_n(room.data(), 2 * size, 0.0);
        for (Index n = 0; n < live; ++n)
          room[n] = taps[row * at.taps + from + n] / static_cast<double>(2 * size);
        transform(level, room.data(), spectrum(level, prepared + level.taps_at, row * level.count + j),
                  room.data() + 2 * at.largest);
      }
  }
}

}  // namespace
}  // namespace amp

extern "C" void amp_fir_forward(const double* params, const int64_t* sizes, const double* const* in,
                                const int64_t* in_stride, double* const* out, const int64_t* out_stride,
                                double* state, double* scratch, int64_t frames) {
  amp::Forward(params, sizes, in[0], in_stride[0], out[0], out_stride[0], state, scratch, frames)
      .run();
}

extern "C" void amp_fir_adjoint(const double* params, const int64_t* sizes, const double* const* in,
                                const int64_t* in_stride, const double* const* dout,
                                const int64_t* dout_stride, double* const* din, const int64_t* din_stride,
                                double* dparams, const double* state, double* dstate, double* scratch,
                                int64_t frames) {
  amp::Adjoint(params, sizes, in[0], in_stride[0], dout[0], dout_stride[0], din[0], din_stride[0], dparams,
               state, dstate, scratch, frames)
      .run();
}

extern "C" int64_t amp_fir_state(const int64_t* sizes) { return amp::Layout(sizes, 1).state; }

extern "C" int64_t amp_fir_scratch(const int64_t* sizes, int64_t frames) {
  return amp::Layout(sizes, frames).scratch();
}

extern "C" int64_t amp_fir_prepared(const int64_t* sizes) { return amp::Layout(sizes, 1).prepared; }

extern "C" void amp_fir_prepare(double* params, const int64_t* sizes) {
  const amp::Layout at(sizes, 1);
  amp::prepare(at, params, params + at.rows * at.taps);
}
