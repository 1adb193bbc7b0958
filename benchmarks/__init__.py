"""Benchmarks: amp side by side with numba, Faust and SciPy; run `python -m benchmarks`."""
