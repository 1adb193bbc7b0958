// Discrete Fourier transforms of real signals of any size.
//
// A complex transform is a row of passes in Stockham's autosort form (Van Loan, Computational
// Frameworks for the Fast Fourier Transform, 1992, section 1.7), radix 4 first, then 2, 3, 5, 7;
// a size with another prime factor is a convolution with a chirp (Bluestein 1970). A real one of
// even size N is a complex one of N/2 whose even and odd samples are parted at the end.
//
// Real and imaginary parts lie in two arrays, so that every step is vertical. Vectors hold different
// points, never parts of one sum, and nothing is fused: the width of a vector changes no bit.
// Roots of unity are computed when a size is first named (`real(size)`), in long double; call that
// before the run. Afterwards nothing allocates, and one transform serves all threads.
#pragma once

#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

#define AMP_INLINE __attribute__((always_inline)) inline

namespace amp::fft {

using Index = std::int64_t;
#ifdef __AVX__
typedef double Quad __attribute__((vector_size(32)));
AMP_INLINE Quad all(double x) { return Quad{x, x, x, x}; }
#else
// Four numbers in two registers, said here because GCC would go through memory.
typedef double Two __attribute__((vector_size(16)));
struct Quad {
  Two a, b;
};
AMP_INLINE Quad all(double x) { return {Two{x, x}, Two{x, x}}; }
AMP_INLINE Quad operator+(const Quad& x, const Quad& y) { return {x.a + y.a, x.b + y.b}; }
AMP_INLINE Quad operator-(const Quad& x, const Quad& y) { return {x.a - y.a, x.b - y.b}; }
AMP_INLINE Quad operator*(const Quad& x, const Quad& y) { return {x.a * y.a, x.b * y.b}; }
AMP_INLINE Quad operator-(const Quad& x) { return {-x.a, -x.b}; }
AMP_INLINE Quad& operator+=(Quad& x, const Quad& y) { return x = x + y; }
#endif

template <class V>
AMP_INLINE V load(const double* at) {
  V value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class V>
AMP_INLINE void store(double* at, const V& value) {
  std::memcpy(at, &value, sizeof value);
}

// One number in all lanes.
template <class V>
AMP_INLINE V splat(double value) {
  if constexpr (sizeof(V) == sizeof(double))
    return value;
  else
    return all(value);
}

// Every other number of two rows, and back; rows to columns; last to first.
#ifdef __AVX__
AMP_INLINE void part(const Quad& x, const Quad& y, Quad& even, Quad& odd) {
  even = __builtin_shufflevector(x, y, 0, 2, 4, 6);
  odd = __builtin_shufflevector(x, y, 1, 3, 5, 7);
}
AMP_INLINE void join(const Quad& even, const Quad& odd, Quad& x, Quad& y) {
  x = __builtin_shufflevector(even, odd, 0, 4, 1, 5);
  y = __builtin_shufflevector(even, odd, 2, 6, 3, 7);
}
AMP_INLINE void transpose(Quad* row) {
  const Quad a = __builtin_shufflevector(row[0], row[1], 0, 4, 2, 6);
  const Quad b = __builtin_shufflevector(row[0], row[1], 1, 5, 3, 7);
  const Quad c = __builtin_shufflevector(row[2], row[3], 0, 4, 2, 6);
  const Quad d = __builtin_shufflevector(row[2], row[3], 1, 5, 3, 7);
  row[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  row[1] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  row[2] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  row[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}
AMP_INLINE void reverse(Quad& v) { v = __builtin_shufflevector(v, v, 3, 2, 1, 0); }
#else
AMP_INLINE Two low(const Two& x, const Two& y) { return __builtin_shufflevector(x, y, 0, 2); }
AMP_INLINE Two high(const Two& x, const Two& y) { return __builtin_shufflevector(x, y, 1, 3); }
AMP_INLINE void part(const Quad& x, const Quad& y, Quad& even, Quad& odd) {
  even = {low(x.a, x.b), low(y.a, y.b)};
  odd = {high(x.a, x.b), high(y.a, y.b)};
}
AMP_INLINE void join(const Quad& even, const Quad& odd, Quad& x, Quad& y) {
  x = {low(even.a, odd.a), high(even.a, odd.a)};
  y = {low(even.b, odd.b), high(even.b, odd.b)};
}
AMP_INLINE void transpose(Quad* row) {
  const Quad r[] = {row[0], row[1], row[2], row[3]};
  row[0] = {low(r[0].a, r[1].a), low(r[2].a, r[3].a)};
  row[1] = {high(r[0].a, r[1].a), high(r[2].a, r[3].a)};
  row[2] = {low(r[0].b, r[1].b), low(r[2].b, r[3].b)};
  row[3] = {high(r[0].b, r[1].b), high(r[2].b, r[3].b)};
}
AMP_INLINE void reverse(Quad& v) {
  v = {__builtin_shufflevector(v.b, v.b, 1, 0), __builtin_shufflevector(v.a, v.a, 1, 0)};
}
#endif
AMP_INLINE void reverse(double&) {}

// Where a pass reads or writes point j: two arrays, ...
struct Split {
  double *re, *im;
  template <class V>
  AMP_INLINE void get(Index j, V& r, V& i) const {
    r = load<V>(re + j);
    i = load<V>(im + j);
  }
  template <class V>
  AMP_INLINE void put(Index j, const V& r, const V& i) const {
    store(re + j, r);
    store(im + j, i);
  }
  Split swapped() const { return {im, re}; }
};

// ... a real signal, even samples as real parts and odd ones as imaginary parts, ...
struct Pairs {
  const double* x;
  template <class V>
  AMP_INLINE void get(Index j, V& r, V& i) const {
    if constexpr (sizeof(V) == sizeof(double)) {
      r = x[2 * j];
      i = x[2 * j + 1];
    } else {
      part(load<V>(x + 2 * j), load<V>(x + 2 * j + 4), r, i);
    }
  }
};

// ... the same written, with the parts exchanged as an inverse leaves them, ...
struct SwappedPairs {
  double* x;
  template <class V>
  AMP_INLINE void put(Index j, const V& r, const V& i) const {
    if constexpr (sizeof(V) == sizeof(double)) {
      x[2 * j] = i;
      x[2 * j + 1] = r;
    } else {
      V first, second;
      join(i, r, first, second);
      store(x + 2 * j, first);
      store(x + 2 * j + 4, second);
    }
  }
};

// ... or a real signal as it is.
struct RealOnly {
  const double* x;
  template <class V>
  AMP_INLINE void get(Index j, V& r, V& i) const {
    r = load<V>(x + j);
    i = splat<V>(0.0);
  }
};

// (re, im) times (c, s).
template <class V>
AMP_INLINE void rotate(V& re, V& im, const V& c, const V& s) {
  const V turned = re * c - im * s;
  im = re * s + im * c;
  re = turned;
}

// cos and sin of 2 pi k / n as the doubles nearest to them, by way of the first eighth of the circle.
inline void root(Index k, Index n, double& c, double& s) {
  k %= n;
  const Index eighth = 8 * k / n;
  // The turn that is left, from the nearest multiple of a quarter: |turn| <= pi / 4.
  const Index quarter = (eighth + 1) / 2;
  const long double pi = 3.14159265358979323846264338327950288L;
  const long double turn = 2 * pi * static_cast<long double>(4 * k - quarter * n) / (4.0L * n);
  const double cosine = static_cast<double>(std::cos(turn));
  const double sine = static_cast<double>(std::sin(turn));
  switch (quarter % 4) {
    case 0: c = cosine, s = sine; break;
    case 1: c = -sine, s = cosine; break;
    case 2: c = -cosine, s = -sine; break;
    default: c = sine, s = -cosine; break;
  }
}

// The transform of R points in place; `circle` holds the cosines and then the sines of its angles.
template <int R, class V>
AMP_INLINE void butterfly(V* re, V* im, const double* circle) {
  if constexpr (R == 2) {
    const V r = re[0] - re[1], i = im[0] - im[1];
    re[0] += re[1], im[0] += im[1];
    re[1] = r, im[1] = i;
  } else if constexpr (R == 4) {
    const V ar = re[0] + re[2], ai = im[0] + im[2], br = re[0] - re[2], bi = im[0] - im[2];
    const V cr = re[1] + re[3], ci = im[1] + im[3], dr = re[1] - re[3], di = im[1] - im[3];
    re[0] = ar + cr, im[0] = ai + ci;
    re[1] = br + di, im[1] = bi - dr;
    re[2] = ar - cr, im[2] = ai - ci;
    re[3] = br - di, im[3] = bi + dr;
  } else {
    constexpr int half = R / 2;
    V tr[half], ti[half], dr[half], di[half];
    const V r0 = re[0], i0 = im[0];
    for (int k = 1; k <= half; ++k) {
      tr[k - 1] = re[k] + re[R - k], ti[k - 1] = im[k] + im[R - k];
      dr[k - 1] = re[k] - re[R - k], di[k - 1] = im[k] - im[R - k];
      re[0] += tr[k - 1], im[0] += ti[k - 1];
    }
    for (int j = 1; j <= half; ++j) {
      V ur = r0, ui = i0, vr = splat<V>(0.0), vi = splat<V>(0.0);
      for (int k = 1; k <= half; ++k) {
        const V c = splat<V>(circle[j * k % R]), s = splat<V>(circle[R + j * k % R]);
        ur += c * tr[k - 1], ui += c * ti[k - 1];
        vr += s * dr[k - 1], vi += s * di[k - 1];
      }
      re[j] = ur + vi, im[j] = ui - vr;
      re[R - j] = ur - vi, im[R - j] = ui + vr;
    }
  }
}

// One pass over n = radix * m points of each of s interleaved transforms. Point q + s (p + k m) is
// input k of butterfly (p, q), and q + s (radix p + k) is where its output k goes. Roots exp(-2 pi i
// p k / n), k >= 1, lie in groups of `group` neighbouring p.
struct Pass {
  int radix;
  Index m, s, group;
  std::vector<double> roots;
  std::vector<double> circle;

  Pass(int r, Index points, Index width)
      : radix(r), m(points / r), s(width), group(r == 4 && width == 1 && m % 4 == 0 ? 4 : 1) {
    double c, w;
    for (int k = 0; k < r; ++k) root(k, r, c, w), circle.push_back(c);
    for (int k = 0; k < r; ++k) root(k, r, c, w), circle.push_back(w);
    if (m == 1) return;
    roots.resize(2 * (r - 1) * m);
    for (Index p = 0; p < m; ++p)
      for (int k = 1; k < r; ++k) {
        root(p * k, points, c, w);
        const Index at = (p / group * 2 * (r - 1) + 2 * (k - 1)) * group + p % group;
        roots[at] = c, roots[at + group] = -w;
      }
  }

  template <class In, class Out>
  void run(const In& in, const Out& out) const {
    switch (radix) {
      case 2: return go<2>(in, out);
      case 3: return go<3>(in, out);
      case 4: return go<4>(in, out);
      case 5: return go<5>(in, out);
      default: return go<7>(in, out);
    }
  }

 private:
  template <int R, class In, class Out>
  void go(const In& in, const Out& out) const {
    if (m == 1) {
      each<R, false>(in, out);
    } else if (R == 4 && group == 4) {
      first(in, out);
    } else {
      each<R, true>(in, out);
    }
  }

  // Vectors along q, whose roots are the same.
  template <int R, bool Turned, class In, class Out>
  void each(const In& in, const Out& out) const {
    for (Index p = 0; p < m; ++p) {
      Index q = 0;
      for (; q + 4 <= s; q += 4) one<R, Turned, Quad>(in, out, p, q);
      for (; q < s; ++q) one<R, Turned, double>(in, out, p, q);
    }
  }

  template <int R, bool Turned, class V, class In, class Out>
  AMP_INLINE void one(const In& in, const Out& out, Index p, Index q) const {
    V re[R], im[R];
    for (int k = 0; k < R; ++k) in.get(q + s * (p + k * m), re[k], im[k]);
    butterfly<R>(re, im, circle.data());
    if constexpr (Turned) {
      const double* w = roots.data() + 2 * (R - 1) * p;
      for (int k = 1; k < R; ++k)
        rotate(re[k], im[k], splat<V>(w[2 * k - 2]), splat<V>(w[2 * k - 1]));
    }
    for (int k = 0; k < R; ++k) out.put(q + s * (R * p + k), re[k], im[k]);
  }

  // The first pass has no q: vectors along p, turned into rows of outputs.
  template <class In, class Out>
  void first(const In& in, const Out& out) const {
    const double* w = roots.data();
    for (Index p = 0; p < m; p += 4, w += 24) {
      Quad re[4], im[4];
      for (int k = 0; k < 4; ++k) in.get(p + k * m, re[k], im[k]);
      butterfly<4>(re, im, circle.data());
      for (int k = 1; k < 4; ++k)
        rotate(re[k], im[k], load<Quad>(w + 8 * (k - 1)), load<Quad>(w + 8 * (k - 1) + 4));
      transpose(re);
      transpose(im);
      for (int k = 0; k < 4; ++k) out.put(4 * (p + k), re[k], im[k]);
    }
  }
};

// A complex transform, X[k] = sum_j x[j] exp(-2 pi i j k / size). The inverse is the same with real
// and imaginary parts exchanged, before and after.
class Complex {
 public:
  explicit Complex(Index size) : size_(size) {
    Index rest = size;
    std::vector<int> radices;
    for (int radix : {4, 2, 3, 5, 7})
      for (; rest % radix == 0; rest /= radix) radices.push_back(radix);
    if (rest > 1) {
      chirp();
    } else {
      Index points = size, width = 1;
      for (int radix : radices) {
        passes_.emplace_back(radix, points, width);
        points /= radix, width *= radix;
      }
    }
  }

  Index scratch() const { return padded_.empty() ? 2 * size_ : 4 * padded_[0].size_; }

  // Where an input that lies in memory of ours should be put: `spare`, or in the scratch.
  Split entry(double* scratch, Split spare) const {
    return padded_.empty() && passes_.size() % 2 == 1 ? Split{scratch, scratch + size_} : spare;
  }

  // `spare` has room for `size` points; it may be where `out` is, and where `entry` put the input.
  template <class In, class Out>
  void run(const In& in, const Out& out, double* scratch, Split spare) const {
    if (!padded_.empty()) return convolve(in, out, scratch);
    const Index last = static_cast<Index>(passes_.size()) - 1;
    if (last < 0) {
      double re, im;
      in.get(0, re, im);
      return out.put(0, re, im);
    }
    const Split held{scratch, scratch + size_};
    if (last == 0) return passes_[0].run(in, out);
    // The last pass must not read where it writes, so what it reads is in the scratch.
    Split to = last % 2 == 1 ? held : spare;
    passes_[0].run(in, to);
    for (Index i = 1; i < last; ++i) {
      const Split from = to;
      to = (last - i) % 2 == 1 ? held : spare;
      passes_[i].run(from, to);
    }
    passes_[last].run(held, out);
  }

 private:
  // j k = (j^2 + k^2 - (k - j)^2) / 2: chirp, convolution with the conjugate chirp, chirp.
  void chirp() {
    Index length = 1;
    while (length < 2 * size_ - 1) length *= 2;
    padded_.emplace_back(length);
    cosine_.resize(size_), sine_.resize(size_);
    for (Index k = 0; k < size_; ++k) {
      root(k * k % (2 * size_), 2 * size_, cosine_[k], sine_[k]);
      sine_[k] = -sine_[k];
    }
    std::vector<double> work(6 * length, 0.0);
    double *re = work.data(), *im = re + length;
    for (Index k = 0; k < size_; ++k) {
      const Index at[] = {k, (length - k) % length};
      for (Index j : at) re[j] = cosine_[k] / length, im[j] = -sine_[k] / length;
    }
    spectrum_.resize(2 * length);
    const Split out{spectrum_.data(), spectrum_.data() + length};
    padded_[0].run(Split{re, im}, out, im + length, out);
  }

  template <class In, class Out>
  void convolve(const In& in, const Out& out, double* scratch) const {
    const Complex& inner = padded_[0];
    const Index length = inner.size_;
    const Split spare{scratch + 2 * length, scratch + 3 * length};
    const Split entry = inner.entry(scratch, spare);
    const Split back = entry.swapped();
    for (Index k = 0; k < length; ++k) {
      double re = 0.0, im = 0.0;
      if (k < size_) {
        in.get(k, re, im);
        rotate(re, im, cosine_[k], sine_[k]);
      }
      entry.put(k, re, im);
    }
    inner.run(entry, spare, scratch, spare);
    for (Index k = 0; k < length; ++k) {
      double re, im;
      spare.get(k, re, im);
      rotate(re, im, spectrum_[k], spectrum_[length + k]);
      back.put(k, re, im);
    }
    inner.run(entry, spare, scratch, spare);
    for (Index k = 0; k < size_; ++k) {
      double re, im;
      spare.swapped().get(k, re, im);
      rotate(re, im, cosine_[k], sine_[k]);
      out.put(k, re, im);
    }
  }

  Index size_;
  std::vector<Pass> passes_;
  std::vector<Complex> padded_;  // one or none
  std::vector<double> cosine_, sine_, spectrum_;
};

// A real transform of N = size samples and its bands k = 0 .. N/2:
//   forward  X[k] = sum_n x[n] exp(-2 pi i n k / N)
//   inverse  x[n] = sum over all N bands of X[k] exp(2 pi i n k / N), N times what forward was given.
// The imaginary parts of band 0 and, where N is even, of band N/2 are written as 0 and never read.
class Real {
 public:
  explicit Real(Index size)
      : size_(size), half_(size / 2), even_(size % 2 == 0), complex_(even_ ? half_ : size) {
    if (!even_) return;
    cosine_.resize(half_), sine_.resize(half_);
    for (Index k = 0; k < half_; ++k) {
      root(k, size, cosine_[k], sine_[k]);
      sine_[k] = -sine_[k];
    }
  }

  Index size() const { return size_; }
  Index bands() const { return half_ + 1; }
  // Doubles of scratch that a call needs; no two calls at a time may share them.
  Index scratch() const { return complex_.scratch() + (even_ ? 0 : 2 * size_); }

  // x: size doubles; re, im: bands() each. No two of x, re, im and scratch may overlap.
  void forward(const double* x, double* re, double* im, double* scratch) const {
    if (!even_) {
      const Split all{scratch, scratch + size_};
      complex_.run(RealOnly{x}, all, scratch + 2 * size_, all);
      std::memcpy(re, all.re, bands() * sizeof(double));
      std::memcpy(im, all.im, bands() * sizeof(double));
      im[0] = 0.0;
      return;
    }
    const Split out{re, im};
    complex_.run(Pairs{x}, out, scratch, out);
    const double first = re[0], second = im[0];
    re[0] = first + second, im[0] = 0.0;
    re[half_] = first - second, im[half_] = 0.0;
    Index k = 1;
    for (; k + 3 < half_ - k - 3; k += 4) split<Quad>(out, k);
    for (; k < half_ - k; ++k) split<double>(out, k);
    if (k == half_ - k) im[k] = -im[k];
  }

  // The same, from re and im to x.
  void inverse(const double* re, const double* im, double* x, double* scratch) const {
    if (!even_) return inverse_odd(re, im, x, scratch);
    const Split spare{x, x + half_};
    const Split in = complex_.entry(scratch, spare);
    in.put(0, re[0] - re[half_], re[0] + re[half_]);
    Index k = 1;
    for (; k + 3 < half_ - k - 3; k += 4) merge<Quad>(re, im, in, k);
    for (; k < half_ - k; ++k) merge<double>(re, im, in, k);
    if (k == half_ - k) in.put(k, -2.0 * im[k], 2.0 * re[k]);
    complex_.run(in, SwappedPairs{x}, scratch, spare);
  }

 private:
  // Bands k and N/2 - k from the transform of even + i odd.
  template <class V>
  AMP_INLINE void split(const Split& z, Index k) const {
    constexpr Index width = sizeof(V) / sizeof(double);
    const Index j = half_ - k - width + 1;
    V rk, ik, rj, ij;
    z.get(k, rk, ik);
    z.get(j, rj, ij);
    reverse(rj), reverse(ij);
    const V half = splat<V>(0.5);
    const V er = half * (rk + rj), ei = half * (ik - ij);
    V tr = half * (ik + ij), ti = half * (rj - rk);
    rotate(tr, ti, load<V>(cosine_.data() + k), load<V>(sine_.data() + k));
    z.put(k, V(er + tr), V(ei + ti));
    rj = er - tr, ij = ti - ei;
    reverse(rj), reverse(ij);
    z.put(j, rj, ij);
  }

  // And back, parts exchanged.
  template <class V>
  AMP_INLINE void merge(const double* re, const double* im, const Split& z, Index k) const {
    constexpr Index width = sizeof(V) / sizeof(double);
    const Index j = half_ - k - width + 1;
    const V rk = load<V>(re + k), ik = load<V>(im + k);
    V rj = load<V>(re + j), ij = load<V>(im + j);
    reverse(rj), reverse(ij);
    const V er = rk + rj, ei = ik - ij;
    V tr = rk - rj, ti = ik + ij;
    rotate(tr, ti, load<V>(cosine_.data() + k), V(-load<V>(sine_.data() + k)));
    z.put(k, V(ei + tr), V(er - ti));
    rj = er + ti, ij = tr - ei;
    reverse(rj), reverse(ij);
    z.put(j, ij, rj);
  }

  void inverse_odd(const double* re, const double* im, double* x, double* scratch) const {
    const Split all{scratch, scratch + size_};
    scratch += 2 * size_;
    const Split in = complex_.entry(scratch, all).swapped();
    in.put(0, re[0], 0.0);
    for (Index k = 1; k <= half_; ++k) {
      in.put(k, re[k], im[k]);
      in.put(size_ - k, re[k], -im[k]);
    }
    complex_.run(in.swapped(), all, scratch, all);
    std::memcpy(x, all.im, size_ * sizeof(double));
  }

  Index size_, half_;
  bool even_;
  Complex complex_;
  std::vector<double> cosine_, sine_;  // exp(-2 pi i k / size)
};

// The transform of a size, made at the first call for it and kept for the life of the process.
inline const Real& real(Index size) {
  struct Kept {
    Real transform;
    const Kept* next;
  };
  static std::atomic<const Kept*> kept{nullptr};
  static std::mutex making;
  const auto find = [size](const Kept* at) {
    while (at && at->transform.size() != size) at = at->next;
    return at;
  };
  if (const Kept* found = find(kept.load(std::memory_order_acquire))) return found->transform;
  const std::lock_guard<std::mutex> lock(making);
  const Kept* newest = kept.load(std::memory_order_acquire);
  if (const Kept* found = find(newest)) return found->transform;
  const Kept* made = new Kept{Real(size), newest};
  kept.store(made, std::memory_order_release);
  return made->transform;
}

}  // namespace amp::fft
