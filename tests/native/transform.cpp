// The transform of fft.hpp behind plain C, so that a test can call it from every level's build.
#include "fft.hpp"

extern "C" {

std::int64_t scratch(std::int64_t size) { return amp::fft::real(size).scratch(); }

void forward(std::int64_t size, const double* x, double* re, double* im, double* scratch) {
  amp::fft::real(size).forward(x, re, im, scratch);
}

void inverse(std::int64_t size, const double* re, const double* im, double* x, double* scratch) {
  amp::fft::real(size).inverse(re, im, x, scratch);
}
}
