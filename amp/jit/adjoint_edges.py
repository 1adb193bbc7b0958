"""Node types that stand between adjoints: cotangents are added up, folded, and put back to where their
tokens had been taken from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amp.contract import Inlet, NodeType, Take, Trace
from amp.jit.trace import one_or_all
from amp.nodes.input import Input
from amp.nodes.output import Output

if TYPE_CHECKING:
    from amp.ir import Value


class Adjoint(NodeType, register=False):
    """Base of the node types of a backward pass: they fire from the last frame back."""

    backward = True


class Arriving(Input, register=False):
    """An output's cotangent, as the caller gives it."""

    backward = True


class Leaving(Output, register=False):
    """An input's cotangent."""

    backward = True


WARMTH = "warmth"
"""State of a `Warming`: by lane, what the tape puts there for each cell of the clock."""


class Warming(Adjoint, register=False):
    """The cotangent of a stream whose power heats nodes, in firings whose tokens are measured::

        x* = warmth x

    where ``warmth`` is twice the cotangent of the energy by the square of a token.
    """

    every: int
    count: int = 1
    inlets = (Inlet("stream"),)

    def rate(self, port: str) -> int:
        return self.count

    def forward(self, b: Trace, x: Any) -> Any:
        warmth = b.state(WARMTH)
        b.next(WARMTH, warmth)
        if self.every > 1:
            k, size = b.emit("to_float", b.clock()), float(self.every)
            measured = b.emit("eq", k, b.floor(k / size) * size)
            warmth = b.select(measured, warmth, 0.0)
        return one_or_all([warmth * token for token in (x if self.count > 1 else [x])])


class Unheard(Adjoint, register=False):
    """The cotangent of an edge whose first tokens were never read; its source writes ``counts`` tokens."""

    skip: int
    counts_: tuple[int, ...] = (1,)
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int:
        return max(self.counts_)

    def forward(self, b: Trace, x: Any) -> Any:
        cycle, phase = _place(b, len(self.counts_))
        starts = [float(sum(self.counts_[:i])) for i in range(len(self.counts_))]
        begin = _pick(b, phase, [b.const(start) for start in starts])
        first = b.fma(cycle, float(sum(self.counts_)), begin)
        out = []
        for i, value in enumerate(x if max(self.counts_) > 1 else [x]):
            out.append(b.select(b.lt(first + float(i), float(self.skip)), 0.0, value))
        return one_or_all(out)


class Unread(Adjoint, register=False):
    """Takes the cotangent of an edge and does nothing with it."""

    counts_: tuple[int, ...]
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return self.counts_ if port == "cotangent" else 1

    def forward(self, b: Trace, x: Any) -> Value:
        return b.const(0.0)


class Overlapping(Adjoint, register=False):
    """The cotangent of an edge of which firings take other tokens than they see, which are the newest: of what
    several firings have seen it is the sum of theirs.

    A firing gives cotangents of as many tokens as any one takes. Those of older ones are not complete, and
    are written over by the firings before it, which took them.

    Parameters
    ----------
    taken_, seen_
        Tokens that the firings of a cycle take, and that each sees.
    """

    taken_: tuple[int, ...]
    seen_: int
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return self.taken_ if port == "out" else self.seen_

    def forward(self, b: Trace, x: Any) -> Any:
        most, zero = max(self.taken_), b.const(0.0)
        total = list(reversed([x] if self.seen_ == 1 else x))  # from the newest token back
        total += [zero] * (most - self.seen_)
        kept, (_, phase) = range(self.seen_ - min(self.taken_)), _place(b, len(self.taken_))
        for back in kept:
            total[back] = b.add(b.state(again(back)), total[back])
        for back in kept:
            older = [back + count for count in self.taken_]
            values = [total[at] if at < len(total) else zero for at in older]
            b.next(again(back), _pick(b, phase, values))
        return one_or_all(total[:most][::-1])


class Aligned(Adjoint, register=False):
    """The cotangents of what a firing writes, if it writes ``counts`` tokens: those of its own, and zeros
    for the rest that it gives."""

    counts_: tuple[int, ...]
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return max(self.counts_) if port == "out" else self.counts_

    def forward(self, b: Trace, x: Any) -> Any:
        most, (_, phase) = max(self.counts_), _place(b, len(self.counts_))
        seen, out = [x] if most == 1 else x, []
        for token in range(most):
            own = [(token < count, most - count + token) for count in self.counts_]
            out.append(_pick(b, phase, [seen[at] if mine else b.const(0.0) for mine, at in own]))
        return one_or_all(out)


def _place(b: Trace, firings: int) -> tuple[Value, Value]:
    """Cycles of so many firings before this one's, and its phase."""
    k, size = b.emit("to_float", b.clock()), float(firings)
    cycle = b.floor(b.div(k, size))
    return cycle, b.sub(k, b.mul(cycle, size))


def _pick(b: Trace, phase: Value, values: list[Value]) -> Value:
    """The value of that phase."""
    found = values[0]
    for number, value in enumerate(values[1:], 1):
        found = b.select(b.emit("eq", phase, float(number)), value, found)
    return found


def again(back: int) -> str:
    """Name of the state of an `Overlapping` that has the cotangent of the token so many before the last one
    that a firing sees."""
    return f"again_{back}"


class Fold(Adjoint, register=False):
    """The cotangent of one channel that was read as many: their sum."""

    count: int = 1
    inlets = (Inlet("cotangents"),)
    channels = "all"

    def rate(self, port: str) -> int:
        return self.count

    def forward(self, b: Trace, x: list[Any]) -> Any:
        tokens = x if self.count > 1 else [x]
        return one_or_all([[b.tree_sum(planes)] for planes in tokens])


class Gathered(Adjoint, register=False):
    """Sum of cotangents."""

    inlets = (Inlet("cotangents", variadic=True),)
    is_sum = True

    def forward(self, b: Trace, terms: list[Value]) -> Value:
        return b.tree_sum(terms)


class GatheredTokens(Adjoint, register=False):
    """Sum of cotangents of which a firing has several tokens."""

    count: int
    inlets = (Inlet("cotangents", variadic=True),)

    def rate(self, port: str) -> int:
        return self.count

    def forward(self, b: Trace, terms: list[list[Value]]) -> list[Value]:
        return [b.tree_sum(tokens) for tokens in zip(*terms, strict=True)]


class Untake(Adjoint, register=False):
    """The cotangent of an edge that a node takes channels and tokens of, from those of what it took.

    Parameters
    ----------
    takes_
        What the node takes.
    edge, width, rate_, spread_
        Which of its edges, the channels of that, the tokens that a firing takes of it, and the tokens
        of a firing of the node's outlet.
    same
        All takes have one cotangent.
    """

    takes_: tuple[Take, ...]
    edge: int
    width: int
    rate_: int
    spread_: int
    same: bool
    inlets = (Inlet("cotangents", variadic=True),)
    channels = "all"

    def rate(self, port: str) -> int:
        return self.rate_ if port == "out" else self.spread_

    def forward(self, b: Trace, given: list[Any]) -> Any:
        now: dict[tuple[int, int], list[Value]] = {}
        later: dict[tuple[int, int], list[tuple[int, Value]]] = {}
        for which, take in enumerate(self.takes_):
            arrived = given[0 if self.same else which]
            tokens = arrived if self.spread_ > 1 else [arrived]
            for lane, (edge, channel) in enumerate(zip(take.edge, take.channel, strict=True)):
                if edge != self.edge or channel < 0:
                    continue
                firings, token = divmod(take.back[lane], self.rate_)
                at = self.rate_ - 1 - token, channel
                out, place = divmod(lane, self.spread_)
                value = tokens[place][out]
                if firings:
                    later.setdefault(at, []).append((firings, value))
                else:
                    now.setdefault(at, []).append(value)

        def total(at: tuple[int, int]) -> Value:
            terms = now.get(at, [])
            if at in later:
                pool = b.pool(history(*at), max(firings for firings, _ in later[at]))
                for firings, value in later[at]:
                    pool = b.emit("deposit", pool, b.iconst(firings), value)
                terms = [*terms, b.emit("drain", pool)]
            return b.tree_sum(terms) if terms else b.const(0.0)

        tokens_out = range(self.rate_)
        return one_or_all([[total((t, c)) for c in range(self.width)] for t in tokens_out])


def history(token: int, channel: int) -> str:
    """Name of the pool of an `Untake` that has the cotangents of what earlier firings took: of this
    token of theirs."""
    return f"history_{token}_{channel}"


class Unbatch(Adjoint, register=False):
    """The cotangent of what a node takes, batch by batch as it was before: a batch that was taken
    several times has their sum, and one that was not has none.

    Parameters
    ----------
    batches
        For each batch the one it was taken from.
    width, count
        Channels and tokens of a firing.
    """

    batches: tuple[int, ...]
    width: int
    count: int
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int:
        return self.count

    @property
    def spread(self) -> int:
        return self.count

    def takes(self, widths: list[int]) -> list[Take]:
        users = [
            [to for to, source in enumerate(self.batches) if source == batch]
            for batch in range(len(self.batches))
        ]
        channels = tuple(c for c in range(self.width) for _ in range(self.count))
        back = tuple(range(self.count - 1, -1, -1)) * self.width
        return [
            Take(
                (0,) * len(channels),
                channels,
                back,
                tuple(some[i] if i < len(some) else -1 for some in users),
            )
            for i in range(max(map(len, users)))
        ]

    def forward(self, b: Trace, *x: Value) -> Value:
        return b.tree_sum(x)
