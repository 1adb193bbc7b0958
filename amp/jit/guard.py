"""Guards: what becomes of numbers that are not finite, written into the IR of every node when asked for.

A firing of a lane is sound if all that leaves the node is finite; to be reset, also all numbers that it
will remember. That is said by node and firing, so it is the same under every engine, schedule and split
of the run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from amp.contract import Trace

if TYPE_CHECKING:
    from amp.contract import NodeType
    from amp.ir import Value

Mode = Literal["propagate", "raise", "reset"]
MODES: tuple[Mode, ...] = ("propagate", "raise", "reset")
FIRST = "first unsound firing"
"""State in which a lane notes it; -1 is none. No snapshot has it. With a comma and a number it is of the
sum that is read there."""


def noted(slot: str) -> int | None:
    """Which read of a node a state is about, -1 if it is the node itself; None if it notes nothing."""
    name, _, read = slot.partition(".")[2].partition(".")[2].partition(",")
    return None if name != FIRST else int(read or -1)


class Guarded(Trace):
    """A trace that guards its nodes.

    With ``"raise"`` a lane notes its first unsound firing. With ``"reset"`` an unsound firing gives
    zeros, and the numbers that the lane remembers begin again; counters and phases go on. What is
    written into a delay line is 0 in place of a number that is not finite.
    """

    def __init__(self, sample_rate: float, mode: Mode) -> None:
        super().__init__(sample_rate)
        self.mode = mode

    def line(self, name: str, value: Value, length: int) -> Value:
        if self.mode == "reset":
            value = self.select(self._is_finite(value), value, 0.0)
        return super().line(name, value, length)

    def guard(self, result: Any) -> Any:
        """What ``forward`` returned, guarded, and so the states of the same node."""
        own = [
            name
            for name, value in self.states.items()
            if self.mode == "reset" and value.type == "f64" and name.startswith(f"{self._scope}.")
        ]
        checked = dict.fromkeys([*self._values(result), *(self.nexts[name] for name in own)])
        checks = [self._is_finite(value) for value in checked if value.op != "const"]
        if not checks:
            return result
        sound = checks[0]
        for check in checks[1:]:
            sound = self.emit("and", sound, check)
        if self.mode == "raise":
            self._note(FIRST, sound)
            return result
        for name in own:
            initial = self.inits[name]
            again = self.slot(initial) if isinstance(initial, str) else float(initial)
            self.nexts[name] = self.select(sound, self.nexts[name], again)
        return self._silenced(sound, result)

    def guard_sum(self, group: int, read: int, node: NodeType, planes: list[Value]) -> list[Value]:
        """What ``node`` reads of a sum over lanes, looked at in the place of the sum."""
        guarded = []
        for plane, value in enumerate(planes):
            self.enter(f"{group}.{plane}", node)
            sound = self._is_finite(value)
            if self.mode == "raise":
                self._note(f"{FIRST},{read}", sound)
            guarded.append(self.select(sound, value, 0.0) if self.mode == "reset" else value)
        return guarded

    def _note(self, name: str, sound: Value) -> None:
        first = self.istate(name, -1)
        keeps = self.emit("or", sound, self.emit("ilt", -1, first))
        self.next(name, self.emit("iselect", keeps, first, self.clock()))

    def _is_finite(self, x: Value) -> Value:
        return self.le(self.abs(x), sys.float_info.max)

    def _values(self, result: Any) -> list[Value]:
        if isinstance(result, list | tuple):
            return [value for item in result for value in self._values(item)]
        return [self.value(result)]

    def _silenced(self, sound: Value, result: Any) -> Any:
        if isinstance(result, list | tuple):
            return type(result)(self._silenced(sound, item) for item in result)
        return self.select(sound, result, 0.0)
