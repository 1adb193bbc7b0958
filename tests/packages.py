"""Try the packages in a folder: each is installed into an environment of its own, and has to work there.

``python tests/packages.py dist`` is a part of ``make wheel``; in the new environment it runs itself, without a
folder.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

MOST_BYTES = 5_000_000
"""Of a wheel."""


def try_package(package: Path, constraints: Path) -> None:
    """Install a wheel or an sdist with the archetypes, and have it work."""
    if package.suffix == ".whl":
        assert "manylinux" in package.name, f"{package.name} is for this machine only"
        assert package.stat().st_size < MOST_BYTES, f"{package.name} is too large"
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
        subprocess.run([*install, f"{package}[archetypes]"], check=True)
        subprocess.run([python, "-I", str(Path(__file__).resolve())], check=True, cwd=folder)
    print(f"{package.name}: {package.stat().st_size} bytes, works")


def work() -> None:
    """Compile, run, call an archetype, go back, in the environment that this is."""
    import numpy as np

    import amp
    from amp import nodes

    assert Path(amp.__file__).is_relative_to(sys.prefix), amp.__file__
    rng = np.random.default_rng(1)
    gains, x = rng.normal(size=(20, 20)), rng.normal(size=(2, 20, 300))
    g = amp.Graph(batch=2)
    mixed = g.add(nodes.MatrixMix(amp.Param(gains, name="gains")), g.input("x", 20))
    g.output("out", g.add(nodes.OnePole(), mixed, cutoff=1000.0))
    want = amp.compile(g, archetypes="ir").run({"x": x})["out"]
    program = amp.compile(g, amp.plan(g, 64), archetypes="eigen")
    assert "archetype matrix_mix" in program.explain()
    assert np.array_equal(program.run({"x": x}, record=True)["out"], want)
    gradients = program.backward({"out": np.ones_like(want)})
    assert np.isfinite(gradients.params["gains"]).all()


if __name__ == "__main__":
    packages = [path.resolve() for folder in sys.argv[1:] for path in Path(folder).iterdir()]
    for package in packages:
        try_package(package, Path("constraints.txt").resolve())
    if not packages:
        work()
