#include "heat.hpp"

#include <algorithm>
#include <cmath>

namespace {

double* sums_of(const Heat& h, int64_t clock) {
  return h.sums + (clock / h.cell) % h.cells * h.words;
}

// Energy that each node has taken in since the cell began, until clock `end`.
void collect(const Heat& h, int64_t begin, int64_t end, double* energy) {
  const double* sums = sums_of(h, begin);
  const double seconds = static_cast<double>(end - h.since) * h.seconds;
  const int64_t count = h.nodes * h.batch;
  for (int64_t at = 0; at < count; ++at) {
    double total = h.pending[at] + h.constant[at] * seconds;
    for (int64_t e = h.first[at]; e < h.first[at + 1]; ++e) total += sums[h.entries[e]] * h.scale[e];
    energy[at] = total;
  }
}

// Heat flows between the ends of a coupling as if they were alone: what one loses the other one gains. Or,
// `back`, the transpose of that.
template <bool back>
void exchange(const Heat& h, int64_t coupling, double seconds, double* heat) {
  const int64_t x = h.from[coupling], y = h.to[coupling];
  const double c = h.capacity[x], d = h.capacity[y];
  const double joint = c / (c + d) * d;
  const double part = -std::expm1(-h.conductance[coupling] * seconds / joint) * joint;
  for (int64_t b = 0; b < h.batch; ++b) {
    double& source = heat[x * h.batch + b];
    double& sink = heat[y * h.batch + b];
    const double moved = (back ? source - sink : source / c - sink / d) * part;
    source -= back ? moved / c : moved;
    sink += back ? moved / d : moved;
  }
}

void lose(const Heat& h, double seconds, double* heat) {
  for (int64_t n = 0; n < h.nodes; ++n) {
    if (h.loss[n] == 0) continue;
    const double left = std::exp(-h.loss[n] * seconds / h.capacity[n]);
    for (int64_t b = 0; b < h.batch; ++b) heat[n * h.batch + b] *= left;
  }
}

// Half the exchange, the loss, and the other half in reverse; the transpose of that is made of those of its
// parts in the same order.
template <bool back>
void flow(const Heat& h, double seconds, double* heat) {
  for (int64_t i = 0; i < h.couplings; ++i) exchange<back>(h, i, seconds / 2, heat);
  lose(h, seconds, heat);
  for (int64_t i = h.couplings; i-- > 0;) exchange<back>(h, i, seconds / 2, heat);
}

// From the heat at the beginning of the cell of `begin` to that at `end`: half the energy, what flows, and the
// other half.
void step(const Heat& h, int64_t begin, int64_t end, double* heat) {
  const int64_t count = h.nodes * h.batch;
  collect(h, begin, end, h.room);
  const double seconds = static_cast<double>(end - begin / h.cell * h.cell) * h.seconds;
  for (int64_t i = 0; i < count; ++i) heat[i] = h.heat[i] + h.room[i] / 2;
  flow<false>(h, seconds, heat);
  for (int64_t i = 0; i < count; ++i) heat[i] += h.room[i] / 2;
}

}  // namespace

int64_t amp_heat_size() { return sizeof(Heat); }

void amp_heat_advance(Heat* heat, int64_t end, double* out) {
  Heat& h = *heat;
  const int64_t count = h.nodes * h.batch;
  for (int64_t border; (border = (h.clock / h.cell + 1) * h.cell) <= end; h.clock = border) {
    step(h, h.clock, border, h.heat);
    if (out) out = std::copy_n(h.heat, count, out);
    std::fill_n(h.pending, count, 0.0);
    std::fill_n(sums_of(h, h.clock), h.words, 0.0);
    h.since = border;
  }
  h.clock = end;
}

int64_t amp_heat_room(const Heat* heat) { return heat->cells * heat->cell - heat->clock % heat->cell; }

void amp_heat_peek(const Heat* heat, int64_t begin, int64_t end, double* out) {
  step(*heat, begin, end, out);
}

void amp_heat_energy(const Heat* heat, int64_t begin, int64_t end, double* out) {
  collect(*heat, begin, end, out);
}

void amp_heat_back(const Heat* heat, int64_t begin, int64_t end, double* cotangent) {
  flow<true>(*heat, static_cast<double>(end - begin) * heat->seconds, cotangent);
}
