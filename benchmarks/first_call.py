"""Seconds until a fresh process has fitted iris, and again, against scikit-learn.

Run ``python -m benchmarks.first_call``. Each library fits three components by its defaults, but scikit-learn ten times
(``n_init=10``), in processes of their own that take turns: once with nothing compiled, and once with the programs that
a process before has left in JAX's persistent compilation cache. Times are medians.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .tables import write

JAXGMM = """
import jax, jaxgmm
x = jaxgmm.datasets.load_iris().x
fit = lambda seed: jax.block_until_ready(jaxgmm.fit(jax.random.key(seed), x, 3))
"""
SKLEARN = """
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture
x = load_iris().data
fit = lambda seed: GaussianMixture(3, n_init=10, random_state=seed).fit(x)
"""
TIMED = """
import json, time
begin = time.perf_counter()
{}
marks = [begin, time.perf_counter()]
for seed in range(3):
    fit(seed)
    marks.append(time.perf_counter())
print(json.dumps([after - before for before, after in zip(marks, marks[1:])]))
"""


def process(program: str, cache: str | None = None) -> list[float]:
    """Seconds of importing and of three fits."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    if cache:
        environment |= {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-c", TIMED.format(program)]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    seconds: list[float] = json.loads(output.splitlines()[-1])
    return seconds


def main() -> None:
    """Take turns, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        process(JAXGMM, cache)
        kinds = {"jaxgmm": (JAXGMM, None), "jaxgmm, programs cached": (JAXGMM, cache), "scikit-learn": (SKLEARN, None)}
        turns = [{kind: process(*how) for kind, how in kinds.items()} for _ in range(arguments.repeats)]
    rows = []
    for kind in kinds:
        imported, first, _, third = np.median([turn[kind] for turn in turns], axis=0).tolist()
        columns = {"import s": imported, "first fit s": first, "together s": imported + first, "third fit s": third}
        rows.append({"library": kind, **columns})
    write(arguments.output, "Seconds from a fresh process to fits of iris, three components", rows)


if __name__ == "__main__":
    main()
