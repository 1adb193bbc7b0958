// Short-time Fourier transform and its inverse; see archetype.hpp for the calls.
//
// sizes: size of the transform, hop, length of the window (hop <= length <= size), channels, and
// bands, size / 2 + 1
// params: the window. Spectra are packed as spectra.hpp says. Firing f of a channel:
//   stft    X[k] = sum_n w[n] x[hop (f + 1) - length + n] exp(-2 pi i n k / size)
//   istft   y[hop f + j] = sum_m g[j + m hop] v_(f-m)[j + m hop],  v the inverse transform of X,
//           g[n] = w[n] / sum_m w[n + m hop]^2   (Griffin & Lim 1984, eq. 6)
// State of a channel: the last length - hop samples; the unfinished last length - hop sums.
#pragma once

#include "archetype.hpp"

AMP_ARCHETYPE(stft)
AMP_PREPARED_ARCHETYPE(istft)
