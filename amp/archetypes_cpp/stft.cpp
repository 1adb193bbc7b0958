// The kernels of stft.hpp. Every sum over pieces is a chain in the order of the firings, so a run may be
// cut anywhere.
#include "stft.hpp"

#include "spectra.hpp"

namespace amp {
namespace {

struct Piece {
  Index size, hop, length, channels, bands, kept;
  const fft::Real& transform;

  explicit Piece(const int64_t* sizes)
      : size(sizes[0]),
        hop(sizes[1]),
        length(sizes[2]),
        channels(sizes[3]),
        bands(sizes[4]),
        kept(length - hop),
        transform(fft::real(size)) {}

  Index state() const { return channels * kept; }
  Index scratch() const {
    return 2 * size + 2 * kTurned * bands + transform.scratch();
  }
};

// The scratch of a call: a piece of signal, another one, spectra of the firings that are turned together.
struct Room {
  double *piece, *other, *re, *im, *work;
  Room(double* scratch, const Piece& p)
      : piece(scratch),
        other(piece + p.size),
        re(other + p.size),
        im(re + kTurned * p.bands),
        work(im + kTurned * p.bands) {}
};

// The last `length` samples of firing f, times the window: `past` holds those before the call.
void cut(const Piece& p, const double* window, const double* past, const double* x, Index f,
         double* piece) {
  const Index early = std::max<Index>(0, p.kept - f * p.hop);
  for (Index n = 0; n < early; ++n) piece[n] = window[n] * past[f * p.hop + n];
  const double* now = x + f * p.hop - p.kept;
  for (Index n = early; n < p.length; ++n) piece[n] = window[n] * now[n];
  std::fill(piece + p.length, piece + p.size, 0.0);
}

void remember(const Piece& p, double* past, const double* x, Index tokens) {
  const Index old = std::max<Index>(0, p.kept - tokens);
  std::memmove(past, past + p.kept - old, old * sizeof(double));
  std::memcpy(past + old, x + tokens - (p.kept - old), (p.kept - old) * sizeof(double));
}

// The window's own energy at the hops that meet in residue r.
double energy(const Piece& p, const double* window, Index r) {
  double sum = 0.0;
  for (Index n = r; n < p.length; n += p.hop) sum += window[n] * window[n];
  return sum;
}

// What the inverse transform of a firing's bands is, unscaled.
void restore(const Piece& p, const double* in, Index stride, Index f, const Room& room) {
  gather(in + f, 2 * stride, p.bands, 1, room.re, p.bands);
  gather(in + f + stride, 2 * stride, p.bands, 1, room.im, p.bands);
  p.transform.inverse(room.re, room.im, room.other, room.work);
}

// From the cotangent of the dual window, which is g / size in `dual`, to that of the window.
void through_dual(const Piece& p, const double* window, const double* change, double* dwindow) {
  for (Index r = 0; r < p.hop; ++r) {
    const double whole = energy(p, window, r);
    double along = 0.0;
    for (Index n = r; n < p.length; n += p.hop) along += change[n] * window[n];
    for (Index n = r; n < p.length; n += p.hop)
      dwindow[n] += (change[n] - 2.0 * window[n] * (along / whole)) / whole;
  }
}

}  // namespace
}  // namespace amp

using namespace amp;

void amp_stft_forward(const double* window, const int64_t* sizes, const double* const* in,
                      const int64_t* in_stride, double* const* out, const int64_t* out_stride,
                      double* state, double* scratch, int64_t frames) {
  const Piece p(sizes);
  const Room room(scratch, p);
  for (Index c = 0; c < p.channels; ++c) {
    const double* x = in[0] + c * in_stride[0];
    double* past = state + c * p.kept;
    double* planes = out[0] + 2 * c * p.bands * out_stride[0];
    for (Index f = 0; f < frames; f += kTurned) {
      const Index count = std::min<Index>(kTurned, frames - f);
      for (Index g = 0; g < count; ++g) {
        cut(p, window, past, x, f + g, room.piece);
        p.transform.forward(room.piece, room.re + g * p.bands, room.im + g * p.bands, room.work);
      }
      scatter(room.re, p.bands, p.bands, count, planes + f, 2 * out_stride[0]);
      scatter(room.im, p.bands, p.bands, count, planes + f + out_stride[0], 2 * out_stride[0]);
    }
    remember(p, past, x, frames * p.hop);
  }
}

void amp_stft_adjoint(const double* window, const int64_t* sizes, const double* const* in,
                      const int64_t* in_stride, const double* const* dout,
                      const int64_t* dout_stride, double* const* din, const int64_t* din_stride,
                      double* dwindow, const double* state, double* dstate, double* scratch,
                      int64_t frames) {
  const Piece p(sizes);
  const Room room(scratch, p);
  for (Index f = frames - 1; f >= 0; --f) {
    for (Index c = 0; c < p.channels; ++c) {
      const Index stride = dout_stride[0];
      const double* planes = dout[0] + 2 * c * p.bands * stride + f;
      gather(planes, 2 * stride, p.bands, 1, room.re, p.bands);
      gather(planes + stride, 2 * stride, p.bands, 1, room.im, p.bands);
      scale_inner(room.re, p.bands, p.size, 0.5);
      scale_inner(room.im, p.bands, p.size, 0.5);
      p.transform.inverse(room.re, room.im, room.piece, room.work);
      if (dwindow != nullptr) {
        std::fill(room.other, room.other + p.length, 1.0);
        cut(p, room.other, state + c * p.kept, in[0] + c * in_stride[0], f, room.other);
        for (Index n = 0; n < p.length; ++n) dwindow[n] += room.other[n] * room.piece[n];
      }
      // Samples that no earlier piece has seen are done; the others wait in dstate.
      double* later = dstate + c * p.kept;
      for (Index n = 0; n < p.length; ++n) room.piece[n] *= window[n];
      for (Index n = p.hop; n < p.length; ++n) room.piece[n] += later[n - p.hop];
      std::memcpy(later, room.piece, p.kept * sizeof(double));
      if (din[0] != nullptr)
        std::memcpy(din[0] + c * din_stride[0] + f * p.hop, room.piece + p.kept,
                    p.hop * sizeof(double));
    }
  }
}

int64_t amp_stft_state(const int64_t* sizes) { return Piece(sizes).state(); }

int64_t amp_stft_scratch(const int64_t* sizes, int64_t) { return Piece(sizes).scratch(); }

void amp_istft_forward(const double* window, const int64_t* sizes, const double* const* in,
                       const int64_t* in_stride, double* const* out, const int64_t* out_stride,
                       double* state, double* scratch, int64_t frames) {
  const Piece p(sizes);
  const Room room(scratch, p);
  const double* dual = window + p.length;
  for (Index c = 0; c < p.channels; ++c) {
    double* sums = state + c * p.kept;
    double* y = out[0] + c * out_stride[0];
    const double* planes = in[0] + 2 * c * p.bands * in_stride[0];
    for (Index f = 0; f < frames; f += kTurned) {
      const Index count = std::min<Index>(kTurned, frames - f);
      gather(planes + f, 2 * in_stride[0], p.bands, count, room.re, p.bands);
      gather(planes + f + in_stride[0], 2 * in_stride[0], p.bands, count, room.im, p.bands);
      for (Index g = 0; g < count; ++g) {
        double* piece = room.piece;
        p.transform.inverse(room.re + g * p.bands, room.im + g * p.bands, piece, room.work);
        for (Index n = 0; n < p.length; ++n) piece[n] *= dual[n];
        for (Index n = 0; n < p.kept; ++n) piece[n] += sums[n];
        std::memcpy(y + (f + g) * p.hop, piece, p.hop * sizeof(double));
        std::memcpy(sums, piece + p.hop, p.kept * sizeof(double));
      }
    }
  }
}

void amp_istft_adjoint(const double* window, const int64_t* sizes, const double* const* in,
                       const int64_t* in_stride, const double* const* dout,
                       const int64_t* dout_stride, double* const* din, const int64_t* din_stride,
                       double* dwindow, const double*, double* dstate, double* scratch,
                       int64_t frames) {
  const Piece p(sizes);
  const Room room(scratch, p);
  const double* dual = window + p.length;
  const double scale = 1.0 / p.size;
  for (Index f = frames - 1; f >= 0; --f) {
    for (Index c = 0; c < p.channels; ++c) {
      double* later = dstate + c * p.kept;
      double* piece = room.piece;
      std::memcpy(piece, dout[0] + c * dout_stride[0] + f * p.hop, p.hop * sizeof(double));
      std::memcpy(piece + p.hop, later, p.kept * sizeof(double));
      std::memcpy(later, piece, p.kept * sizeof(double));
      if (dwindow != nullptr) {
        restore(p, in[0] + 2 * c * p.bands * in_stride[0], in_stride[0], f, room);
        for (Index n = 0; n < p.length; ++n) room.other[n] *= scale * piece[n];
        through_dual(p, window, room.other, dwindow);
      }
      if (din[0] == nullptr) continue;
      for (Index n = 0; n < p.length; ++n) piece[n] *= dual[n];
      std::fill(piece + p.length, piece + p.size, 0.0);
      p.transform.forward(piece, room.re, room.im, room.work);
      scale_inner(room.re, p.bands, p.size, 2.0);
      scale_inner(room.im, p.bands, p.size, 2.0);
      const Index stride = din_stride[0];
      double* planes = din[0] + 2 * c * p.bands * stride + f;
      scatter(room.re, p.bands, p.bands, 1, planes, 2 * stride);
      scatter(room.im, p.bands, p.bands, 1, planes + stride, 2 * stride);
    }
  }
}

int64_t amp_istft_state(const int64_t* sizes) { return Piece(sizes).state(); }

int64_t amp_istft_scratch(const int64_t* sizes, int64_t) { return Piece(sizes).scratch(); }

int64_t amp_istft_prepared(const int64_t* sizes) { return sizes[2]; }

void amp_istft_prepare(double* window, const int64_t* sizes) {
  const Piece p(sizes);
  for (Index r = 0; r < p.hop; ++r) {
    const double whole = p.size * energy(p, window, r);
    for (Index n = r; n < p.length; n += p.hop) window[p.length + n] = window[n] / whole;
  }
}
