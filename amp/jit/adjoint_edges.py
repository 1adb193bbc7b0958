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


class Unheard(Adjoint, register=False):
    """The cotangent of an edge whose first tokens were never read."""

    skip: int
    count: int = 1
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int:
        return self.count

    def forward(self, b: Trace, x: Any) -> Any:
        out = []
        for i, value in enumerate(x if self.count > 1 else [x]):
            number = b.emit("iadd", b.emit("imul", b.clock(), b.iconst(self.count)), b.iconst(i))
            out.append(b.select(b.emit("ilt", number, b.iconst(self.skip)), 0.0, value))
        return one_or_all(out)


class Last(Adjoint, register=False):
    """The cotangent of an edge of which a firing takes several tokens, and reads the last."""

    count: int
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int:
        return self.count if port == "out" else 1

    def forward(self, b: Trace, x: Value) -> list[Value]:
        return [*[b.const(0.0)] * (self.count - 1), x]


class Unread(Adjoint, register=False):
    """Takes the cotangent of an edge and does nothing with it."""

    count: int = 1
    inlets = (Inlet("cotangent"),)

    def rate(self, port: str) -> int:
        return self.count if port == "cotangent" else 1

    def forward(self, b: Trace, x: Any) -> Value:
        return b.const(0.0)


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
