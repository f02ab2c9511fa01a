"""All benchmarks, one after another: ``python -m benchmarks``; each also runs alone and says how in its first lines."""

import runpy
import sys

NAMES = (
    "first_call",
    "first_result",
    "memory",
    "per_iteration",
    "growth",
    "acceleration",
    "fits",
    "estimator",
    "selection",
)

if __name__ == "__main__":
    for name in NAMES:
        print(f"\nbenchmarks.{name}\n", flush=True)
        sys.argv = [name]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
