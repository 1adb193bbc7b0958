// What both directions of a FIR kernel are made of.
#pragma once

#include "fir_layout.hpp"

namespace amp {

struct Spectrum {
  double *re, *im;
};
struct ConstSpectrum {
  const double *re, *im;
  ConstSpectrum(const double* r, const double* i) : re(r), im(i) {}
  ConstSpectrum(Spectrum from) : re(from.re), im(from.im) {}  // NOLINT: as a pointer to const is made
};

// out += a b of complex numbers, a conjugated or not. Whole packets: spectra are padded.
template <bool Conjugated>
void add_product(ConstSpectrum a, ConstSpectrum b, Spectrum out, Index bins) {
  using namespace Eigen::internal;
  for (Index k = 0; k < bins; k += kLanes) {
    const Lanes ar = ploadu<Lanes>(a.re + k), br = ploadu<Lanes>(b.re + k), bi = ploadu<Lanes>(b.im + k);
    Lanes ai = ploadu<Lanes>(a.im + k);
    if (Conjugated) ai = pnegate(ai);
    const Lanes re = fused(ar, br, ploadu<Lanes>(out.re + k));
    const Lanes im = fused(ar, bi, ploadu<Lanes>(out.im + k));
    pstoreu(out.re + k, fused(pnegate(ai), bi, re));
    pstoreu(out.im + k, fused(ai, br, im));
  }
}

// One call's scratch.
struct Scratch {
  double *windows, *turned;  // of a piece: max(c_in, c_out) rows of `window` each
  double* signal;            // 2 * largest
  double* spectra;           // c_out + 2
  double* work;              // of a transform

  Scratch(const Layout& at, double* scratch) {
    windows = scratch;
    turned = windows + std::max(at.ins, at.outs) * at.window;
    signal = turned + std::max(at.ins, at.outs) * at.window;
    spectra = signal + 2 * at.largest;
    work = spectra + (at.outs + 2) * (2 * at.largest + 16);
  }
};

// Spectrum `number` of a row of them.
inline Spectrum spectrum(const Level& level, double* at, Index number) {
  at += number * level.spectrum();
  return {at, at + level.bins};
}
inline ConstSpectrum spectrum(const Level& level, const double* at, Index number) {
  at += number * level.spectrum();
  return {at, at + level.bins};
}

inline void clear(const Level& level, Spectrum of) { std::fill_n(of.re, level.spectrum(), 0.0); }

inline void transform(const Level& level, const double* x, Spectrum out, double* work) {
  fft::real(2 * level.size).forward(x, out.re, out.im, work);
  for (double* part : {out.re, out.im}) std::fill(part + level.size + 1, part + level.bins, 0.0);
}

inline void transform_back(const Level& level, ConstSpectrum from, double* x, double* work) {
  fft::real(2 * level.size).inverse(from.re, from.im, x, work);
}

// The transform back counts every band between the first and the last twice, its transposed form does so as well:
// what comes from there is doubled, and what goes on to one is halved.
inline void scale_inner(const Level& level, Spectrum of, double by) {
  for (double* part : {of.re, of.im})
    for (Index k = 1; k < level.size; ++k) part[k] *= by;
}

// A count of frames as the state has it; whatever a state was restored from, it is one.
inline Index count_of(double number) {
  return number >= 0 && number < 9e15 ? static_cast<Index>(number + 0.5) : 0;
}

// The slot of the spectrum number `block` in a ring of them.
inline Index slot(const Level& level, Index block) {
  return (block % level.count + level.count) % level.count;
}

// values[from .. from + count) of a ring whose size is a power of two, piece by piece: each(at, done, size).
template <class Each>
void in_ring(Index ring, Index from, Index count, Each each) {
  for (Index done = 0; done < count;) {
    const Index at = (from + done) & (ring - 1), size = std::min(count - done, ring - at);
    each(at, done, size);
    done += size;
  }
}

inline void read_ring(const double* values, Index ring, Index from, Index count, double* to) {
  in_ring(ring, from, count, [=](Index at, Index done, Index size) { std::copy_n(values + at, size, to + done); });
}

inline void write_ring(double* values, Index ring, Index from, Index count, const double* source) {
  in_ring(ring, from, count,
          [=](Index at, Index done, Index size) { std::copy_n(source + done, size, values + at); });
}

}  // namespace amp
