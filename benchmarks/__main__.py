"""`python -m benchmarks`: measure, print one table, save JSON, draw."""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import plots, report
from benchmarks.options import Options
from benchmarks.rows import DIFFERS, Row
from benchmarks.workloads import (
    backward,
    imports,
    kpn,
    w1_voices,
    w2_cascade,
    w3_delay_network,
    w4_spectrum,
    w5_size,
    w6_gradient,
    w7_bleed,
    w8_convolution,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Say

WORKLOADS: dict[str, Callable[[Options, Say], list[Row]]] = {
    "W1": w1_voices.run,
    "W2": w2_cascade.run,
    "W3": w3_delay_network.run,
    "W4": w4_spectrum.run,
    "W5": w5_size.run,
    "W6": w6_gradient.run,
    "W7": w7_bleed.run,
    "W8": w8_convolution.run,
    "backward": backward.run,
    "KPN": kpn.run,
    "import": imports.run,
}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    known = {name.lower(): name for name in WORKLOADS}
    try:
        return tuple(known[part.lower()] for part in text.split(","))
    except KeyError as unknown:
        raise argparse.ArgumentTypeError(
            f"no workload {unknown}; there are {[*WORKLOADS]}"
        ) from None


def parser() -> argparse.ArgumentParser:
    """The command line; lists are separated by commas."""
    default = Options(only=tuple(WORKLOADS))
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--only", type=_names, default=default.only, help=",".join(WORKLOADS))
    made.add_argument("--voices", type=_numbers, default=default.voices, help="W1's voice counts")
    made.add_argument("--batches", type=_numbers, default=default.batches, help="W2's batches")
    made.add_argument("--sizes", type=_numbers, default=default.sizes, help="W5's node counts")
    made.add_argument(
        "--seconds", type=float, default=default.seconds, help="signal of W1, W2 and W4"
    )
    made.add_argument("--repeat", type=int, default=default.repeat, help="interleaved rounds")
    made.add_argument("--timeout", type=float, default=default.timeout, help="bound per process")
    made.add_argument("--peer-timeout", type=float, default=default.peer_timeout)
    made.add_argument("--quick", action="store_true", help="small sizes, 1 s, 3 rounds: a try-out")
    made.add_argument("--output", type=Path, default=report.RESULTS, help="folder for the results")
    made.add_argument("--no-plots", action="store_true")
    made.add_argument("--show", type=Path, metavar="JSON", help="show and draw a saved run again")
    return made


def options_of(arguments: argparse.Namespace) -> Options:
    """The options; `--quick` makes everything small."""
    if arguments.quick:
        return Options(arguments.only, (1, 16), (1, 8), (100,), seconds=1.0, repeat=3)
    return Options(
        only=arguments.only,
        voices=arguments.voices,
        batches=arguments.batches,
        sizes=arguments.sizes,
        seconds=arguments.seconds,
        repeat=arguments.repeat,
        timeout=arguments.timeout,
        peer_timeout=arguments.peer_timeout,
    )


def run(options: Options) -> list[Row]:
    """Every workload asked for, with progress on the error stream."""
    progress = Console(stderr=True)
    rows: list[Row] = []
    for name in options.only:
        rows += WORKLOADS[name](options, lambda text: progress.log(text, highlight=False))
    return rows


def main() -> int:
    """Run; the exit status is 1 if any candidate's samples differ."""
    arguments = parser().parse_args()
    if arguments.show:
        rows, path = report.load(arguments.show), arguments.show
    else:
        options = options_of(arguments)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["AMP_CACHE_DIR"] = cache  # amp compiles afresh, like its peers
            rows = run(options)
        path = report.save(rows, asdict(options), arguments.output)
    report.show(rows)
    pictures = [] if arguments.no_plots else plots.draw(rows, path.with_suffix(""))
    for written in [path, *pictures]:
        print(written.name)
    return 1 if any(row.status == DIFFERS for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
