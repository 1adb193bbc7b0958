// Products and quotients of spectra, band by band; packed as spectra.hpp says, see archetype.hpp for the
// calls. No state, no scratch.
//
// spectral_gain   Y = H G X
//   sizes   bands, channels, parts of H (1 real, 2 pairs), channels of H (1: shared), parts of G (0: there
//           is none), channels of G
//   params  response: H, (channels of H, bands, parts); inlets input X, gain G, one token a firing each
// spectral_division   Y = X conj(D) exp(2 pi i phase) / (|D|^2 + regularisation) for low <= k < high, else 0
//   sizes   bands, channels, channels of D (1: shared), low, high
//   params  regularisation, phase; inlets input X, divisor D
// Sums over channels and firings are chains, last firing first, channels ascending in each.
#pragma once

#include "archetype.hpp"

AMP_ARCHETYPE(spectral_gain)
AMP_ARCHETYPE(spectral_division)
