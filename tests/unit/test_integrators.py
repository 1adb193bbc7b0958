"""Limits hold, nothing overshoots, and targets are reached in the least time: over a million targets.

Streams are ``(lanes, frames)``; limits are in units per frame, V a step and A a change of step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import Array, assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import amp
from amp import nodes

if TYPE_CHECKING:
    from amp.contract import NodeType

RATE = 48_000.0
LANES, FRAMES = 256, 4000
TOLERANCE = 1e-12


def played(node: NodeType, block: Any = 256, **streams: Any) -> Array:
    """Output of ``node`` on streams by inlet name."""
    shape = np.broadcast_shapes(*(np.shape(s) for s in streams.values()))
    g = amp.Graph(RATE, shape[0])
    inlets: dict[str, Any] = {name: g.input(name) for name in streams}
    g.output("out", g.add(node, **inlets))
    inputs = {n: np.broadcast_to(s, shape)[:, None].copy() for n, s in streams.items()}
    out: Array = amp.compile(g, amp.plan(g, block) if block else None).run(inputs)["out"][:, 0]
    return out


def limited(node: NodeType, most: Any = None, change: Any = None, **streams: Any) -> Array:
    """The same, with limits per frame."""
    if most is not None:
        streams["slew"] = most * RATE
    if change is not None:
        streams["acceleration"] = change * RATE**2
    return played(node, **streams)


def held(rng: np.random.Generator, mean: float, values: Array) -> tuple[Array, Array]:
    """``values``, each kept for ``mean`` frames on average; and for each frame the one it began in."""
    begins = rng.random(values.shape) < 1 / mean
    begins[:, 0] = True
    since = np.maximum.accumulate(np.where(begins, np.arange(values.shape[1]), 0), axis=1)
    return np.take_along_axis(values, since, 1), since


def moves(y: Array, start: float = 0.0) -> tuple[Array, Array, Array]:
    """Last position, step, and change of step, at each frame."""
    past = np.concatenate([np.full((len(y), 2), start), y], axis=1)
    steps = np.diff(past, axis=1)
    return past[:, 1:-1], steps[:, 1:], np.diff(steps, axis=1)


def rounding(last: Array, v: Array) -> Array:
    """What a limit may be passed by: 7e-15 of 1 and the output."""
    return 2.0**-47 * (1.0 + np.abs(last) + np.abs(v))


def stopping(v: Array, a: Any) -> Array:
    """Where braking at once comes to rest, by summing up v - a, v - 2 a, ... above 0."""
    m = np.floor(np.abs(v) / a)
    way: Array = np.copysign(m * np.abs(v) - a * m * (m + 1) / 2, v)
    return way


def limits_of(rng: np.random.Generator) -> tuple[Array, Array]:
    """A step and a change of step for each lane, over many magnitudes."""
    most, change = 10.0 ** rng.uniform(-4, 1, (LANES, 1)), 10.0 ** rng.uniform(-7, 1, (LANES, 1))
    return most, change


# ---- follower


def test_a_million_targets_are_followed_within_limits_and_not_passed() -> None:
    targets = 0
    for seed, mean in enumerate((2, 2, 5, 20, 100, 400)):
        rng = np.random.default_rng(seed)
        target, since = held(rng, mean, rng.normal(size=(LANES, FRAMES)))
        most, change = limits_of(rng)
        y = limited(nodes.Follower(), most, change, target=target)
        last, v, a = moves(y)
        assert (np.abs(v) <= most + rounding(last, v)).all()
        assert (np.abs(a) <= change + rounding(last, v)).all()

        # the state when this target came, and where braking at once would have ended
        from_y = np.take_along_axis(last, since, 1)
        from_v = np.take_along_axis(np.pad(v, ((0, 0), (1, 0)))[:, :-1], since, 1)
        stop = from_y + stopping(from_v, change)
        assert (y <= np.maximum(np.maximum(target, from_y), stop)).all()
        assert (y >= np.minimum(np.minimum(target, from_y), stop)).all()
        targets += len(np.unique(since + FRAMES * np.arange(LANES)[:, None]))
    assert targets >= 1_000_000


def least_frames(way: Array, v: Array, most: Array, change: Array, longest: int) -> Array:
    """Of any steps from ``v`` on that sum to ``way`` and may be followed by 0; `longest` if more.

    The steps that the limits allow lie between a highest and a lowest profile, and their sums fill
    the interval between the sums of those two.
    """
    found = np.full(way.shape, longest)
    for n in range(longest - 1, 0, -1):
        i = np.arange(1, n + 1)
        to_rest = np.minimum(most[:, None], change[:, None] * (n + 1 - i))
        highest = np.minimum(v[:, None] + change[:, None] * i, to_rest)
        lowest = np.maximum(v[:, None] - change[:, None] * i, -to_rest)
        can = (lowest <= highest + TOLERANCE).all(axis=1)
        can &= (way <= highest.sum(axis=1) + TOLERANCE) & (way >= lowest.sum(axis=1) - TOLERANCE)
        found = np.where(can, n, found)
    return found


def test_no_other_way_is_shorter_from_any_state() -> None:
    rng = np.random.default_rng(5)
    length, targets = 120, 20
    target = np.repeat(rng.normal(size=(LANES, targets)), length, axis=1)
    # each comes while the way to another, that came some frames before, has begun
    early = np.arange(length * targets) % length < rng.integers(0, 30, (LANES, 1))
    target = np.where(early, 3.0 - target, target)
    most, change = 10.0 ** rng.uniform(-1.7, 0, (LANES, 1)), 10.0 ** rng.uniform(-3, 0, (LANES, 1))
    y = limited(nodes.Follower(), most, change, target=target)
    last, v, _ = moves(y)
    before = np.pad(v, ((0, 0), (1, 0)))[:, :-1]
    compared, lanes = 0, np.arange(LANES)
    for end in range(length, length * targets + 1, length):
        goal = target[:, end - 1 : end]
        begins = end - length + np.argmax(target[:, end - length : end] == goal, axis=1)
        at_goal = np.cumprod(y[:, end - length : end][:, ::-1] == goal, axis=1).sum(axis=1)
        frames = end - at_goal + 1 - begins
        way = goal[:, 0] - last[lanes, begins]
        least = least_frames(way, before[lanes, begins], most[:, 0], change[:, 0], length)
        arrived = (at_goal > 0) & (begins < end - at_goal + 1)
        in_time = least < end - begins
        assert (arrived | ~in_time).all()
        np.testing.assert_array_equal(frames[arrived], least[arrived])
        compared += arrived.sum()
    assert compared > 2000


@pytest.mark.parametrize("most, change", [(0.01, 1e-3), (0.05, 1e-4), (1e-3, 1e-6)])
def test_from_rest_the_time_is_that_of_a_trapezoidal_profile(most: float, change: float) -> None:
    way = np.linspace(0.1, 3.0, 30)[:, None]
    y = limited(nodes.Follower(), most, change, target=np.repeat(way, 2 * FRAMES, axis=1))
    frames = np.argmax(y == way, axis=1) + 1
    cruises = way[:, 0] >= most**2 / change
    least = np.where(cruises, way[:, 0] / most + most / change, 2 * np.sqrt(way[:, 0] / change))
    assert np.abs(frames - least).max() <= 1.0


@pytest.mark.parametrize("most", [0.02, 5.0])
def test_from_any_speed_the_time_is_that_of_bang_bang_control(most: float) -> None:
    """Continuous motion: full acceleration, perhaps a stretch at full speed, full braking.

    With s the side of the target from where braking at once would end, the speed reaches
    ``p = sqrt(v^2 / 2 + s a d)`` towards it, and ``T = (2 p - s v) / a``. If that is above V,
    ``T = (2 V - s v) / a + (s d - (V^2 - v^2 / 2) / a) / V``.
    """
    rng = np.random.default_rng(12)
    a, lanes, begins = 1e-4, np.arange(40), 5 * np.arange(1, 41)
    goal = rng.uniform(-4.0, 8.0, (40, 1))
    target = np.where(np.arange(3000) < begins[:, None], 10.0, goal)
    one = np.ones((1, 1))
    y = limited(nodes.Follower(), most * one, a * one, target=target)
    last, v, _ = moves(y)
    # a step is the speed half a frame before its end
    speed = v[lanes, begins - 1]
    d = goal[:, 0] - last[lanes, begins] + speed / 2
    s = np.sign(d - speed * np.abs(speed) / (2 * a))
    peak = np.sqrt(speed**2 / 2 + s * a * d)
    cruise = (2 * most - s * speed) / a + (s * d - (most**2 - speed**2 / 2) / a) / most
    time = np.where(peak > most, cruise, (2 * peak - s * speed) / a)
    frames = 3000 - np.cumprod(y[:, ::-1] == goal, axis=1).sum(axis=1) + 1 - begins
    assert {*s} == {-1.0, 1.0}
    assert (peak > most).any() == (most < 1)
    assert np.abs(frames - time).max() <= 1.0


@pytest.mark.parametrize("change", [1e-7, 3e-5, 0.25, 1e3])
def test_a_target_is_reached_to_the_bit_and_then_nothing_moves(change: float) -> None:
    rng = np.random.default_rng(3)
    target = rng.normal(size=(8, 2)) * 10.0 ** rng.uniform(-3, 1, (8, 1))
    way = int(4 * np.sqrt(np.abs(target).max() * 3 / change)) + 20
    # the second one comes while the first is on its way, in half of the lanes
    change_at = np.where(np.arange(8) % 2, way, way // 9)[:, None]
    frames = np.arange(2 * way)
    y = limited(
        nodes.Follower(0.5),
        change=np.full((8, 1), change),
        target=np.where(frames < change_at, target[:, :1], target[:, 1:]),
    )
    assert_same_bits(y[:, -9:], np.repeat(target[:, 1:], 9, axis=1))
    assert_same_bits(y[1::2, way - 9 : way], np.repeat(target[1::2, :1], 9, axis=1))


def test_jitter_of_a_target_moves_nothing() -> None:
    rng = np.random.default_rng(4)
    target = rng.choice([-1.0, 1.0], (LANES, 1)) * rng.uniform(0.1, 0.99, (LANES, 1))
    jitter = rng.choice([-1.1e-16, 0.0, 1.1e-16], (LANES, FRAMES))
    most, change = 10.0 ** rng.uniform(-2, 0, (LANES, 1)), 10.0 ** rng.uniform(-5, 0, (LANES, 1))
    y = limited(nodes.Follower(), most, change, target=target + jitter)
    rest = y[:, FRAMES // 2 :]
    assert (rest == rest[:, :1]).all()
    assert (np.abs(rest - target) <= 1e-15).all()
    assert not limited(nodes.Follower(), most, change, target=jitter).any()


@pytest.mark.parametrize("frames", [1, 7])
def test_limits_of_a_follower_hold_while_they_move(frames: int) -> None:
    rng = np.random.default_rng(frames)
    shape = (LANES, FRAMES)
    target, _ = held(rng, 30, rng.normal(size=shape))
    most, _ = held(rng, frames, 10.0 ** rng.uniform(-4, 0, shape))
    change, _ = held(rng, frames, 10.0 ** rng.uniform(-6, 0, shape))
    last, v, a = moves(limited(nodes.Follower(), most, change, target=target))
    assert (np.abs(a) <= change + rounding(last, v)).all()
    before = np.abs(np.pad(v, ((0, 0), (1, 0)))[:, :-1])
    assert (np.abs(v) <= np.maximum(most, before - change) + rounding(last, v)).all()


# ---- slew limiter


def test_a_slew_limiter_is_within_its_slews_and_passes_nothing() -> None:
    rng = np.random.default_rng(6)
    target, _ = held(rng, 4, rng.normal(size=(LANES, FRAMES)))
    slew, fall = 10.0 ** rng.uniform(-4, 1, (2, LANES, FRAMES))
    y = played(nodes.SlewLimiter(0.25), input=target, slew=slew * RATE, fall=fall * RATE)
    last, v, _ = moves(y, 0.25)
    assert (v <= slew + TOLERANCE).all()
    assert (v >= -fall - TOLERANCE).all()
    assert (y <= np.maximum(target, last)).all()
    assert (y >= np.minimum(target, last)).all()
    # as far as it may: at the target, or at the limit
    at_limit = np.where(v > 0, slew - v, fall + v)
    assert (np.where(y == target, 0.0, np.abs(at_limit)) <= TOLERANCE).all()


# ---- integrator

FORMS = {
    "trapezoid": ([0.5, 0.5], [1.0, -1.0]),
    "backward": ([1.0], [1.0, -1.0]),
    "forward": ([0.0, 1.0], [1.0, -1.0]),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_unlimited_integrator_is_lfilter(form: str) -> None:
    x = np.random.default_rng(7).normal(size=(3, FRAMES))
    b, a = FORMS[form]
    want = 0.5 + signal.lfilter(b, a, x / RATE)
    np.testing.assert_allclose(played(nodes.Integrator(form, start=0.5), input=x), want, atol=1e-13)


def test_the_trapezoid_integrates_a_sine_like_the_bilinear_transform() -> None:
    """Gain ``cot(pi f / rate) / (2 rate)``, a quarter of a cycle late."""
    f, n = 3000.0, np.arange(FRAMES)
    x = np.cos(2 * np.pi * f * n / RATE)[None]
    gain = 0.5 / RATE / np.tan(np.pi * f / RATE)
    want = gain * np.sin(2 * np.pi * f * n / RATE) + 0.5 / RATE
    got = played(nodes.Integrator(), input=x)[0]
    np.testing.assert_allclose(got, want, atol=1e-15)


def some_limits(rng: np.random.Generator, *shape: int) -> dict[str, Array]:
    """Every limit of an integrator, per second."""

    def draw(low: float, high: float) -> Array:
        return rng.uniform(low, high, shape)

    return {
        "slew": RATE * 10.0 ** draw(-4, 0),
        "acceleration": RATE**2 * 10.0 ** draw(-7, 0),
        "low": -(10.0 ** draw(-3, 1)),
        "high": 10.0 ** draw(-3, 1),
        "integral": 10.0 ** draw(-1, 3) / RATE,
    }


def without(limits: dict[str, Array], name: str) -> dict[str, Array]:
    """``limits`` but for one."""
    return {key: limit for key, limit in limits.items() if key != name}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("block", [0, 64])
def test_without_impingement_the_bits_are_those_of_the_unlimited_one(form: str, block: int) -> None:
    rng = np.random.default_rng(8)
    x = RATE * rng.normal(size=(13, FRAMES))
    limits = some_limits(rng, 13, FRAMES)
    ideal = played(nodes.Integrator(form), block, input=x)
    none = played(nodes.Integrator(form, "none"), block, input=x, **limits)
    assert_same_bits(none, ideal)
    for refused in ("acceleration", "integral"):
        given = without(limits, refused)
        clamped = played(nodes.Integrator(form), block, input=x, **given)
        assert (clamped != ideal).mean() > 0.9
    # nor do limits change a bit that are out of reach
    wide = {"slew": 1e9, "acceleration": 1e18, "low": -1e6, "high": 1e6, "integral": 1e6}
    every = [*wide], ["slew", "acceleration", "low", "high"], ["slew", "low", "high", "integral"]
    for names in (["slew"], ["acceleration"], ["low", "high"], ["integral"], *every):
        far = {name: np.full((13, 1), wide[name]) for name in names}
        assert_same_bits(played(nodes.Integrator(form), block, input=x, **far), ideal, str(names))


@pytest.mark.parametrize(
    "names",
    [
        ("slew",),
        ("acceleration",),
        ("low", "high"),
        ("slew", "low"),
        ("acceleration", "low", "high"),
        ("slew", "acceleration", "low", "high"),
        ("integral",),
        ("slew", "integral"),
        ("slew", "low", "high", "integral"),
        ("acceleration", "integral"),
        ("slew", "acceleration", "integral"),
        ("slew", "acceleration", "low", "high", "integral"),
    ],
)
def test_a_million_inputs_are_integrated_within_limits(names: tuple[str, ...]) -> None:
    inputs = 0
    for seed, (form, mean) in enumerate(zip(FORMS, (1, 4, 30), strict=True)):
        rng = np.random.default_rng([seed, len(names)])
        x, since = held(rng, mean, rng.normal(size=(LANES, FRAMES)))
        x *= RATE * 10.0 ** rng.uniform(-3, 1, (LANES, 1))
        limits = some_limits(rng, LANES, 1)
        limits = {name: limits[name] for name in names}
        y = played(nodes.Integrator(form), input=x, **limits)
        last, v, a = moves(y)
        slew, acceleration = limits.get("slew", np.inf), limits.get("acceleration", np.inf)
        assert (np.abs(v) <= slew / RATE + rounding(last, v)).all()
        assert (np.abs(a) <= acceleration / RATE**2 + rounding(last, v)).all()
        # to the bit: what is reached is not passed
        assert (y >= limits.get("low", -np.inf)).all()
        assert (y <= limits.get("high", np.inf)).all()
        led = {"acceleration", "integral"} <= {*names}
        if "low" in names and not led:
            assert (y == limits["low"]).any()
        if "integral" in names:
            size = np.abs(np.cumsum(y, axis=1, dtype=np.longdouble))
            most = limits["integral"] * RATE
            assert (size <= most * (1.0 + 2.0**-47)).all()
            assert (size >= most * (1.0 - (1e-3 if led else 2.0**-47))).any()
        inputs += len(np.unique(since + FRAMES * np.arange(LANES)[:, None]))
    assert inputs >= 1_000_000


def test_limits_of_an_integrator_hold_while_they_move() -> None:
    rng = np.random.default_rng(9)
    shape = (LANES, FRAMES)
    x, _ = held(rng, 30, RATE * rng.normal(size=shape))
    limits = without(some_limits(rng, *shape), "integral")
    for name in ("low", "high"):
        limits[name], _ = held(rng, 300, limits[name])
    y = played(nodes.Integrator(), input=x, **limits)
    last, v, a = moves(y)
    most, change = limits["slew"] / RATE, limits["acceleration"] / RATE**2
    assert (np.abs(a) <= change + rounding(last, v)).all()
    before = np.pad(v, ((0, 0), (1, 0)))[:, :-1]
    assert (np.abs(v) <= np.maximum(most, np.abs(before) - change) + rounding(last, v)).all()
    # on its way out of the range it gets no faster
    over, under = (last > limits["high"]) & (v > 0), (last < limits["low"]) & (v < 0)
    assert over.any()
    assert under.any()
    assert (np.abs(v) <= np.abs(before) + TOLERANCE)[over | under].all()

    # without an acceleration the output is in the range, or comes as fast as it may
    del limits["acceleration"]
    y = played(nodes.Integrator("backward"), input=x, **limits)
    _, v, _ = moves(y)
    assert (np.abs(v) <= most + TOLERANCE).all()
    over, under = y > limits["high"], y < limits["low"]
    assert over.any()
    assert under.any()
    np.testing.assert_allclose(v[over], -most[over], atol=TOLERANCE)
    np.testing.assert_allclose(v[under], most[under], atol=TOLERANCE)

    # without either it is in the range, always
    del limits["slew"]
    y = played(nodes.Integrator("forward"), input=x, **limits)
    assert ((y >= limits["low"]) & (y <= limits["high"])).all()


def test_a_range_that_shrinks_is_returned_to() -> None:
    frames = np.arange(3000)
    high = np.where(frames < 1000, 1.0, 0.25)[None]
    y = limited(
        nodes.Integrator(),
        most=np.full((1, 1), 0.005),
        change=np.full((1, 1), 1e-4),
        input=np.full((1, 3000), RATE),
        high=high,
    )[0]
    assert (y[900:1000] == 1.0).all()
    # a ramp up to the slew, a stretch at it, and a ramp down: 0.75 in 200 frames
    arrives = 1000 + int(np.argmax(y[1000:] <= 0.25))
    assert abs(arrives + 1 - 1000 - (0.75 / 0.005 + 0.005 / 1e-4)) <= 2
    assert y[1000:].min() == 0.25
    assert (y[arrives:] == 0.25).all()


@pytest.mark.parametrize("names", [("high",), ("high", "slew"), ("high", "acceleration")])
def test_nothing_winds_up_behind_a_limit(names: tuple[str, ...]) -> None:
    limits = {"high": 0.5, "slew": 0.1 * RATE, "acceleration": 0.1 * RATE**2}
    x = np.where(np.arange(FRAMES) < FRAMES - 20, 1.0, -0.01)[None] * RATE
    given = {name: np.full((1, 1), limits[name]) for name in names}
    y = played(nodes.Integrator("backward"), input=x, **given)[0]
    assert (y[100:-20] == 0.5).all()
    np.testing.assert_allclose(y[-20:], 0.5 - 0.01 * np.arange(1, 21), atol=1e-14)


@pytest.mark.parametrize("most, integral", [(0.01, 40.0), (1e-4, 3.0), (0.3, 1e3)])
def test_an_integral_is_filled_in_the_least_time(most: float, integral: float) -> None:
    """Up by the slew for half of the time, down for the other: 2 sqrt(integral / slew)."""
    x = np.where(np.arange(2 * FRAMES) < 2 * FRAMES - 20, 1.0, -1e-5)[None] * RATE
    limits = {"slew": most * RATE, "integral": integral / RATE}
    y = played(nodes.Integrator(), input=x, **{n: np.full((1, 1), v) for n, v in limits.items()})[0]
    filled = np.argmax(np.cumsum(y) >= integral * (1 - TOLERANCE))
    assert abs(filled - 2 * np.sqrt(integral / most)) <= 1.5
    # it then rests at 0, and what it could not add does not hold it back
    rest = y[filled + 1 : -20]
    assert np.abs(rest).max() <= TOLERANCE * integral
    want = -1e-5 * np.arange(1, 20)
    np.testing.assert_allclose(y[-19:] - y[-20], want, atol=TOLERANCE * integral)


def test_an_integral_that_moves_holds_where_it_can() -> None:
    rng = np.random.default_rng(11)
    x, _ = held(rng, 30, RATE * rng.normal(size=(LANES, FRAMES)))
    integral, _ = held(rng, 100, 10.0 ** rng.uniform(-1, 3, x.shape) / RATE)
    y = played(nodes.Integrator(), input=x, integral=integral)
    size, most = np.abs(np.cumsum(y, axis=1)), integral * RATE
    assert (size <= most + TOLERANCE * 1e3).all()
    # in a range it comes back as fast as that allows
    y = played(
        nodes.Integrator(), input=x, integral=integral, low=-np.ones((1, 1)), high=np.ones((1, 1))
    )
    total = np.cumsum(y, axis=1)
    over, under = total > most + TOLERANCE * 1e3, total < -most - TOLERANCE * 1e3
    assert over.any()
    assert under.any()
    assert (y[over] == -1.0).all()
    assert (y[under] == 1.0).all()


@pytest.mark.parametrize("change, integral", [(1e-3, 50.0), (1e-5, 3.0), (0.5, 1.0)])
def test_an_integral_beside_an_acceleration_is_approached(change: float, integral: float) -> None:
    """By a share r of what is left a frame at last; nothing is passed, and it leaves as soon as it may."""
    x = np.where(np.arange(2 * FRAMES) < 2 * FRAMES - 20, 1.0, -1e-5)[None] * RATE
    limits = {"acceleration": change * RATE**2, "integral": integral / RATE}
    y = played(nodes.Integrator(), input=x, **{n: np.full((1, 1), v) for n, v in limits.items()})[0]
    left = integral - np.cumsum(y)[:-20]
    assert (left >= -TOLERANCE * integral).all()
    assert (y[:-20] >= -TOLERANCE * integral).all()
    share = 0.99 * min(1.0, np.cbrt(change / (4.0 * integral)))
    seen = np.flatnonzero(left > 1e-6 * integral)[-9:]
    np.testing.assert_allclose(left[seen + 1] / left[seen], 1.0 - share, atol=1e-6)
    assert left[-1] <= 1e-9 * integral
    np.testing.assert_allclose(y[-19:] - y[-20], -1e-5 * np.arange(1, 20), atol=1e-9)


def test_jitter_at_a_limit_moves_no_more_than_itself() -> None:
    rng = np.random.default_rng(10)
    x = RATE * (0.01 * (np.arange(FRAMES) < 600) + rng.uniform(-1e-16, 1e-16, (LANES, FRAMES)))
    y = limited(
        nodes.Integrator("backward"),
        most=np.full((LANES, 1), 0.1),
        change=10.0 ** rng.uniform(-4, 0, (LANES, 1)),
        input=x,
        high=np.full((LANES, 1), 0.5),
    )
    rest = y[:, 1000:]
    assert (rest <= 0.5).all()
    assert np.abs(np.diff(rest)).max() <= 2.3e-16


# ---- values to choke on

HARD = [np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324, -0.0]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_no_value_of_any_stream_raises_or_stays(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def rough(x: Array, fill: float) -> Array:
        """``x`` with values to choke on, then ``fill``."""
        x = np.where(rng.random(x.shape) < 0.1, rng.choice(HARD, x.shape), x)
        return np.where(np.arange(1200) < 100, x, fill)

    x = rough(rng.uniform(-1.0, 1.0, (4, 1200)), 0.0)
    fine = {"slew": 5000.0, "acceleration": 2e7, "low": -2.0, "high": 1.0, "integral": 0.1}
    coarse = {
        name: rough(value * rng.uniform(0.5, 2.0, (4, 1200)), value) for name, value in fine.items()
    }

    def finite(node: NodeType, *names: str, **streams: Array) -> None:
        assert np.isfinite(played(node, **streams, **{n: coarse[n] for n in names})).all()

    finite(nodes.SlewLimiter(), "slew", input=x)
    finite(nodes.Follower(), "slew", "acceleration", target=x)
    moving = "slew", "acceleration", "low", "high"
    some = ["acceleration"], ["low"], ["slew", "high"], ["integral", "slew"]
    for names in (moving, *some, ["acceleration", "integral"], [*fine]):
        finite(nodes.Integrator(), *names, input=x * RATE)

    limits = {name: np.full((4, 1), value) for name, value in fine.items()}
    y = played(nodes.SlewLimiter(), input=x, slew=limits["slew"])
    assert (y[:, -1] == 0).all()
    y = played(nodes.Follower(), target=x, slew=limits["slew"], acceleration=limits["acceleration"])
    assert (abs(y[:, -1]) <= 2.0**-50).all()  # it may have come to rest in the dead band
    x = np.where(np.arange(1200) < 100, x, 1.0) * RATE
    y = played(nodes.Integrator(), input=x, **without(limits, "integral"))
    assert ((y >= -2) & (y <= 1)).all()
    assert (y[:, -1] == 1).all()
