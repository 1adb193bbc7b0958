// Flushing denormals: they cost a hundred times a normal number.
#pragma once

#include <stdint.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// While it lives, denormals are zero on this thread; each thread has a control word of its own.
class Flushed {
 public:
#if defined(__SSE2__)
  Flushed() : theirs_(_mm_getcsr()) { _mm_setcsr(theirs_ | kFlushToZero | kDenormalsAreZero); }
  ~Flushed() { _mm_setcsr(theirs_); }

 private:
  static constexpr unsigned kFlushToZero = 0x8000;
  static constexpr unsigned kDenormalsAreZero = 0x0040;
  unsigned theirs_;
#elif defined(__aarch64__)
  Flushed() {
    asm volatile("mrs %0, fpcr" : "=r"(theirs_));
    asm volatile("msr fpcr, %0" : : "r"(theirs_ | kFlushToZero));
  }
  ~Flushed() { asm volatile("msr fpcr, %0" : : "r"(theirs_)); }

 private:
  static constexpr uint64_t kFlushToZero = uint64_t{1} << 24;
  uint64_t theirs_;
#else
  Flushed() {}
  ~Flushed() {}
#endif
};
