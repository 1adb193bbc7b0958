// Heat of the nodes of a program, cell by cell of the clock.
//
// docs/decisions/0019-heat.md says what it is and why; amp/jit/heat.py has the same fields in the same order.
#pragma once

#include <stdint.h>

struct Heat {
  int64_t nodes, batch, couplings;
  int64_t cell, cells;  // frames of a cell, and cells whose sums are kept
  int64_t words;        // of the sums of a cell
  int64_t clock;        // until which it has moved
  int64_t since;        // clock from which constants have heated and it is not in `pending`
  double seconds;       // of a frame
  double* sums;         // of squares: (cells, words)
  const int64_t* first;        // by (node, batch), and where the last ones end
  const int64_t* entries;      // words of a cell that heat a node
  const double* scale;         // of each: from its sum to energy [J]
  const double* capacity;      // by node [J/K]
  const double* loss;          // by node [W/K]
  const int64_t* from;         // by coupling: two nodes, and what conducts between them [W/K]
  const int64_t* to;
  const double* conductance;
  const double* constant;  // (nodes, batch): power of constants [W]
  double* pending;         // (nodes, batch): energy of this cell that is in no sum [J]
  double* heat;            // (nodes, batch): energy of each node above ambient [J]
  double* room;            // (nodes, batch)
};

#pragma GCC visibility push(default)  // the only names these libraries export
extern "C" {

// Bytes of the table, by which its layout is checked.
int64_t amp_heat_size();

// Move the heat on to clock `end`: take in the cells that are over by then, clear their sums, and write the
// heat at each border to `out`, rows (nodes, batch), unless that is null.
void amp_heat_advance(Heat* heat, int64_t end, double* out);

// Frames that may run before it is moved on.
int64_t amp_heat_room(const Heat* heat);

// What the heat is at `end`, which is in the same cell as `begin`; nothing moves.
void amp_heat_peek(const Heat* heat, int64_t begin, int64_t end, double* out);

// The energy of the present cell so far, at `end`.
void amp_heat_energy(const Heat* heat, int64_t begin, int64_t end, double* out);

// From the cotangent of the heat at `end` to that of the heat at `begin`, the border before it. That of the
// energy between is the mean of both.
void amp_heat_back(const Heat* heat, int64_t begin, int64_t end, double* cotangent);
}
#pragma GCC visibility pop
