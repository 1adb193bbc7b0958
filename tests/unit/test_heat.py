"""Heat: what streams and constants give to nodes, and what nodes give to each other."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from random_schedules import moved

import amp
from amp import nodes
from amp.errors import BadFile, BadState, BadValue, IllegalSchedule
from amp.ir import parse_kernel, print_kernel

if TYPE_CHECKING:
    from amp.program import Program, Result

RATE = 1000.0
RNG = np.random.default_rng(5)


def chain(thermal: amp.Thermal | None = None) -> amp.Graph:
    """A gain, a one-pole filter and a stereo pan."""
    g = amp.Graph(sample_rate=RATE, batch=2)
    half = g.add(nodes.Gain(), g.input("x"), gain=0.5, name="half", thermal=thermal)
    low = g.add(nodes.OnePole(), half, cutoff=100.0, name="low", thermal=thermal)
    g.output("half out", half)
    g.output("low out", low)
    g.output("out", g.add(nodes.Pan(), low, position=0.3, name="pan", thermal=thermal))
    return g


def noise(frames: int, batch: int = 2) -> np.ndarray[Any, np.dtype[np.float64]]:
    return RNG.standard_normal((batch, 1, frames))


def same_heat(a: Result, b: Result) -> None:
    assert a.heat.keys() == b.heat.keys()
    for name in a.heat:
        np.testing.assert_array_equal(a.heat[name], b.heat[name])
        np.testing.assert_array_equal(a.temperature[name], b.temperature[name])


def energy(stream: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """Integral of the mean square over channels, by batch."""
    return np.square(stream).mean(axis=1).sum(axis=1) / RATE


@pytest.mark.parametrize("block", [None, 64, 256])
def test_heat_is_the_integral_of_input_power(block: int | None) -> None:
    g, x = chain(), noise(9000)
    program = amp.compile(g, amp.plan(g, block=block) if block else None, heat=1)
    result = program.run({"x": x})
    constant = {"half": 0.5**2, "low": 100.0**2, "pan": 0.3**2 + 1.0}
    streams = {"half": x, "low": result["half out"], "pan": result["low out"], "out": result["out"]}
    for name, stream in streams.items():
        expected = energy(stream) + constant.get(name, 0.0) * 9.0
        np.testing.assert_allclose(result.heat[name][:, -1], expected, rtol=1e-12)
    assert not result.heat["x"].any()  # an input of the graph has no inlet
    np.testing.assert_array_equal(result.heat.clock, [4096, 8192, 9000])
    np.testing.assert_allclose(result.temperature["low"] - amp.AMBIENT, result.heat["low"])


def test_sampled_heat_is_exact_for_what_repeats() -> None:
    g = amp.Graph(sample_rate=RATE)
    x = g.input("x")
    g.output("out", x)
    for period in (1, 2, 3, 7, 48):
        frames = 23 * period * 40
        wave = np.resize(RNG.standard_normal(period), frames).reshape(1, 1, -1)
        result = amp.compile(g).run({"x": wave})
        np.testing.assert_allclose(result.heat["out"][:, -1], energy(wave), rtol=1e-12)


def test_rates_and_wide_sums_and_prebuilt_kernels() -> None:
    """Energy of a stream does not depend on what makes it, or how often it fires."""
    g = amp.Graph(sample_rate=RATE)
    x = g.input("x")
    made = {
        "slow": g.add(nodes.Downsample(4), x),
        "held": g.add(nodes.Hold(4), g.add(nodes.Downsample(4), x)),
        "sum": g.add(nodes.Mix(), *(g.add(nodes.Gain(), x, gain=float(k)) for k in range(12))),
        "both": g.add(nodes.MatrixMix(np.eye(24)[:, :2]), g.add(nodes.Concat(), x, 2.0 * x)),
        "dealt": g.add(nodes.Distributor(), x)[1],
    }
    for name, stream in made.items():
        g.add(nodes.Gain(), stream, gain=0.0, name=name)
    g.output("out", x)
    signal = noise(6000, 1)
    expected = {
        "slow": energy(signal[..., ::4]) * 4,
        "held": energy(signal[..., ::4]) * 4,
        "sum": energy(66 * signal),
        "both": energy(signal) * 5 / 24,
        "dealt": energy(signal[..., 1::2]) * 2,
    }
    for ipls in (None, amp.plan(g, block=128), amp.plan(g, block=96, width=4)):
        result = amp.compile(g, ipls, heat=1).run({"x": signal})
        for name, value in expected.items():
            np.testing.assert_allclose(result.heat[name][:, -1], value, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("every", [1, 5, 23])
def test_heat_has_the_same_bits_for_every_schedule_and_split(every: int) -> None:
    thermal = amp.Thermal(coupling=0.7, loss=0.1, power=0.3, capacity=2.0)
    g, x = chain(thermal), noise(9001)
    whole = amp.compile(g, heat=every).run({"x": x})
    plans = [amp.plan(g, block=b, width=w) for b, w in ((256, 8), (77, 4), (5000, 1))]
    for ipls in plans + [moved(plans[0], seed) for seed in range(8)]:
        with suppress(IllegalSchedule):
            same_heat(amp.compile(g, ipls, heat=every).run({"x": x}), whole)
    same_heat(amp.compile(g, heat=every, threads=2).run({"x": x}), whole)
    same_heat(amp.compile(g, plans[0], heat=every, threads=2).run({"x": x}), whole)
    program = amp.compile(g, plans[1], heat=every)
    at = 0
    seen: dict[int, Any] = {}
    for piece in (1, 4000, 95, 4096, 500, 309):
        part = program.run({"x": x[..., at : at + piece]})
        at += piece
        seen.update(zip(part.heat.clock.tolist(), part.heat["low"].T, strict=True))
    for clock, heat in zip(whole.heat.clock.tolist(), whole.heat["low"].T, strict=True):
        np.testing.assert_array_equal(seen[clock], heat)


def test_a_cascade_has_the_same_heat_skewed_in_time() -> None:
    g = amp.Graph(sample_rate=RATE)
    stream = g.input("x")
    for i in range(8):
        stream = g.add(nodes.Biquad(), stream, b0=0.5, a1=-0.3, name=f"b{i}")
    g.output("out", stream)
    x = noise(5000, 1)
    for every in (1, 3, 23):
        kpn = amp.compile(g, heat=every).run({"x": x})
        ipls = amp.compile(g, amp.plan(g, block=256), heat=every)
        assert "skewed" in ipls.ir
        same_heat(ipls.run({"x": x}), kpn)


@pytest.mark.eigen
@pytest.mark.parametrize("every", [1, 23])
def test_a_prebuilt_kernel_is_measured_like_its_twin(every: int) -> None:
    g = amp.Graph(sample_rate=RATE, batch=2)
    matrix = np.random.default_rng(1).standard_normal((3, 4))
    mixed = g.add(nodes.MatrixMix(matrix), g.input("x", channels=4))
    g.output("out", mixed)
    g.output("late", amp.edge(mixed, initial=5))  # a ring of its own
    x = RNG.standard_normal((2, 4, 9000))
    first = amp.compile(g, archetypes="ir", heat=every).run({"x": x})
    for ipls in (None, amp.plan(g, block=100)):
        program = amp.compile(g, ipls, archetypes="eigen", heat=every)
        assert "archetype" in program.ir
        same_heat(program.run({"x": x}), first)
    if every == 1:
        np.testing.assert_allclose(first.heat["out"][:, -1], energy(first["out"]), rtol=1e-12)


def test_ir_with_powers_can_be_read_back() -> None:
    g = amp.Graph(sample_rate=RATE)
    x = g.input("x")
    g.output("sum", g.add(nodes.Mix(), *(g.add(nodes.Gain(), x, gain=0.5) for _ in range(12))))
    g.output("even", g.add(nodes.Hold(2), g.add(nodes.Distributor(), x)[0]))
    text = amp.compile(g).ir
    assert " sums " in text
    assert "every 23" in text
    for kernel in text.split("\n\n"):
        _, _, body = kernel.partition("\n")
        assert print_kernel(parse_kernel(body)) == body


def random_graph(rng: np.random.Generator, *, coupled: bool) -> amp.Graph:
    """Nodes of random constants, with feedback, delays and channels; none loses heat."""
    g = amp.Graph(sample_rate=RATE, batch=2)
    streams = [g.input("x"), g.input("y")]
    loop = g.feedback()
    streams.append(g.add(nodes.Add(), streams[0], amp.edge(loop, initial=1100)))
    for i in range(int(rng.integers(5, 25))):
        constants = 10.0 ** rng.uniform(-3, 3, 3)
        thermal = amp.Thermal(
            capacity=constants[0], coupling=constants[1] * coupled, power=constants[2]
        )
        picked = [streams[j] for j in rng.integers(len(streams), size=3)]
        late = amp.edge(picked[1], delay=int(rng.integers(0, 40)))
        kinds: list[tuple[Any, ...]] = [
            (nodes.Gain(), picked[0]),
            (nodes.Add(), picked[0], late),
            (nodes.OnePole(), picked[0]),
            (nodes.Mix(), *picked),
        ]
        kind, *inlets = kinds[int(rng.integers(len(kinds)))]
        named: dict[str, Any] = {"cutoff": 50.0} if isinstance(kind, nodes.OnePole) else {}
        streams.append(g.add(kind, *inlets, thermal=thermal, name=f"n{i}", **named))
    loop.connect(g.add(nodes.Gain(), streams[-1], gain=0.01))
    for i, stream in enumerate(streams):
        g.output(f"out {i}", stream)
    return g


@pytest.mark.parametrize("seed", range(12))
def test_energy_is_conserved_over_random_graphs(seed: int) -> None:
    """With no loss, coupling moves heat about and changes its sum by no more than rounding."""
    x, y = noise(9500), noise(9500)
    heats = []
    for coupled in (False, True):
        g = random_graph(np.random.default_rng(seed), coupled=coupled)
        result = amp.compile(g, amp.plan(g, block=128)).run({"x": x, "y": y})
        heats.append(np.array([*result.heat.values()]))
    alone, together = heats
    assert abs(together - alone).max() > 1e-6 * alone.sum(axis=0).max()
    np.testing.assert_allclose(together.sum(axis=0), alone.sum(axis=0), rtol=1e-12)


def test_two_coupled_nodes_and_a_loss_follow_the_closed_form() -> None:
    g = amp.Graph(sample_rate=RATE)
    first = g.add(nodes.Gain(), g.input("x"), gain=0.0, name="a", thermal=amp.Thermal(capacity=2.0))
    thermal = amp.Thermal(capacity=3.0, coupling=0.5, power=0.0)
    g.output("out", g.add(nodes.Gain(), first, gain=0.0, name="b", thermal=thermal))
    program = amp.compile(g, heat=1)
    one = np.zeros((1, 1, 4096))
    one[..., 0] = 100.0
    start = program.run({"x": one})
    result = program.run({"x": np.zeros((1, 1, 40960))})
    t = result.heat.clock / RATE - 4.096
    decay = np.exp(-0.5 * (1 / 2 + 1 / 3) * t)
    difference = start.temperature["a"][0, -1] - start.temperature["b"][0, -1]
    got = result.temperature["a"][0] - result.temperature["b"][0]
    np.testing.assert_allclose(got, difference * decay, atol=1e-12)
    g = amp.Graph(sample_rate=RATE)
    g.output(
        "out", g.add(nodes.Gain(), g.input("x"), gain=0.0, name="a", thermal=amp.Thermal(loss=0.2))
    )
    program = amp.compile(g, heat=1)
    start = program.run({"x": one})
    result = program.run({"x": np.zeros((1, 1, 8192))})
    left = start.heat["a"][0, -1] * np.exp(-0.2 * (result.heat.clock / RATE - 4.096))
    np.testing.assert_allclose(result.heat["a"][0], left, rtol=1e-12)


def test_params_heat_by_what_they_are_at_the_time() -> None:
    g = amp.Graph(sample_rate=RATE)
    gain = amp.Param(1.0, name="gain")
    g.output("out", g.add(nodes.Gain(), g.input("x"), gain=gain, name="a"))
    program = amp.compile(g)
    silence = np.zeros((1, 1, 1000))
    assert program.run({"x": silence}).heat["a"][0, -1] == pytest.approx(1.0)
    program.set("gain", 3.0)
    assert program.run({"x": silence}).heat["a"][0, -1] == pytest.approx(1.0 + 9.0)


def test_snapshots_resets_and_clones() -> None:
    g, x = chain(amp.Thermal(coupling=0.2)), noise(12000)
    whole = amp.compile(g).run({"x": x})
    first, second = amp.compile(g), amp.compile(g, amp.plan(g, block=100))
    first.run({"x": x[..., :5000]})
    second.restore(first.state())
    rest = second.run({"x": x[..., 5000:]})
    for name in rest.heat:
        np.testing.assert_array_equal(rest.heat[name], whole.heat[name][:, 1:])
    first.reset()
    same_heat(first.run({"x": x}), whole)
    same_heat(first.clone().run({"x": x}), whole)
    cold = amp.compile(g, heat=0)
    cold.restore(second.state())
    second.restore(cold.state())
    assert not cold.run({"x": x}).heat
    state = first.state()
    state.heat["half"] = state.heat["half"][:2]
    with pytest.raises(BadState, match="heat has the names and shapes"):
        second.restore(state)


def test_a_snapshot_has_the_streams_that_someone_reads() -> None:
    """Also where a kernel computes some that no one does."""
    g = amp.Graph(sample_rate=RATE)
    x = g.input("x")
    read = [g.add(nodes.Gain(), x, gain=float(k)) for k in range(4)]
    g.output("out", g.add(nodes.Mix(), *read[:3]))
    kpn, ipls = amp.compile(g), amp.compile(g, amp.plan(g, block=64))
    kpn.run({"x": noise(100, 1)})
    ipls.restore(kpn.state())
    assert ipls.state().powers.keys() == kpn.state().powers.keys()
    assert ("gain.3", 0) not in kpn.state().powers


def test_a_swap_keeps_the_heat_of_nodes_that_stay() -> None:
    program = amp.compile(chain(), heat=1)
    x = noise(5000)
    before = program.run({"x": x})
    program.swap(chain(amp.Thermal(power=0.0)), crossfade=100)
    after = program.run({"x": x})
    np.testing.assert_allclose(after.heat["low"][:, -1], before.heat["low"][:, -1], rtol=1e-12)


def test_rates_that_depend_on_data() -> None:
    g = amp.Graph(sample_rate=RATE)
    x = g.input("x")
    loud, soft = g.add(nodes.Switch(), x, control=x - 0.5)
    g.add(nodes.Gain(), loud, gain=0.0, name="loud")
    g.output("out", amp.edge(g.add(nodes.Gain(), soft, gain=0.0, name="soft"), default=0.0))
    signal = noise(9000, 1)

    def program() -> Program:
        return amp.compile(g, heat=1)

    whole = program().run({"x": signal})
    high = signal > 0.5
    np.testing.assert_allclose(whole.heat["loud"][:, -1], energy(signal * high), rtol=1e-12)
    np.testing.assert_allclose(whole.heat["soft"][:, -1], energy(signal * ~high), rtol=1e-12)
    pieces = program()
    pieces.run({"x": signal[..., :5001]})
    rest = pieces.run({"x": signal[..., 5001:]})
    for name in rest.heat:
        np.testing.assert_array_equal(rest.heat[name], whole.heat[name][:, -len(rest.heat.clock) :])


def test_rings_may_grow_meanwhile() -> None:
    g = amp.Graph(sample_rate=RATE)
    x, control = g.input("x"), g.input("control")
    chosen = g.add(nodes.Select(), x, g.add(nodes.Gain(), x, gain=2.0, name="double"), control)
    g.add(nodes.Gain(), chosen, gain=0.0, name="end")
    g.output("out", amp.edge(chosen, default=0.0))
    signal, which = noise(9000, 1), np.ones((1, 1, 9000))
    which[..., 5000:] = -1.0
    program = amp.compile(g, heat=1)
    result = program.run({"x": signal, "control": which})
    assert any(use.growth for use in program.memory.rings)
    taken = energy(signal[..., :5000]) + energy(2.0 * signal[..., :4000])
    np.testing.assert_allclose(result.heat["end"][:, -1], taken, rtol=1e-12)
    np.testing.assert_allclose(result.heat["double"][:, -1], energy(signal) + 36.0, rtol=1e-12)
    same_heat(amp.compile(g, heat=1, threads=2).run({"x": signal, "control": which}), result)


def test_graph_files_carry_thermal_constants() -> None:
    thermal = amp.Thermal(capacity=2.0, coupling=0.5, loss=0.25, power=0.0)
    g = amp.graph_from_json(amp.graph_to_json(chain(thermal)))
    assert g["half"].thermal == thermal
    assert g["x"].thermal == amp.Thermal()
    wrong = re.sub('"capacity":2.0', '"capacity":-2.0', amp.graph_to_json(chain(thermal)))
    with pytest.raises(BadFile, match="thermal constant") as error:
        amp.graph_from_json(wrong)
    assert "thermal" in error.value.where


@pytest.mark.parametrize(
    "name, value", [("capacity", 0.0), ("coupling", -1.0), ("loss", np.inf), ("power", "1")]
)
def test_constants_are_checked(name: str, value: Any) -> None:
    with pytest.raises(BadValue, match=name):
        amp.Thermal(**{name: value})


def test_what_is_no_heat_is_refused() -> None:
    g = amp.Graph()
    with pytest.raises(BadValue, match=r"amp\.Thermal"):
        g.add(nodes.Gain(), g.input("x"), thermal=1.0)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="heat is a whole number"):
        amp.compile(chain(), heat=-1)
    with pytest.raises(KeyError, match="heat=0"):
        amp.compile(chain(), heat=0).run({"x": noise(10)}).heat["half"]
