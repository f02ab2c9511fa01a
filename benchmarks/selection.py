"""Seconds per search over all families and 1 to 9 components, against R's mclust.

Run ``python -m benchmarks.selection``; ``Rscript`` with the package mclust is needed for the ratio. The search runs
ten starts of each model, mclust one. Both compute in double precision and take turns, each in a process that goes on
running, after a first search, which compiles and is shown for itself. Times are medians, and the ratio is the median of
those of the turns.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

import jax
import numpy as np

import jaxgmm

from .tables import write

MCLUST = """
suppressMessages(library(mclust))
x <- as.matrix(read.csv(commandArgs(trailingOnly = TRUE)[1], header = FALSE))
turns <- file("stdin", "r")
while (length(readLines(turns, n = 1))) {
  seconds <- system.time(found <- Mclust(x, G = 1:9, verbose = FALSE))[[3]]
  cat(seconds, found$modelName, found$G, -found$bic, "\\n")
}
"""

Search = Callable[[], tuple[float, str]]  # seconds, and what was chosen


def data_sets() -> dict[str, np.ndarray]:
    """Two that everybody knows, and a larger one of three overlapping components."""
    rng = np.random.default_rng(0)
    means, mixing = 2 * rng.normal(size=(3, 4)), np.eye(4) + rng.normal(size=(3, 4, 4)) / 4
    labels = rng.integers(3, size=3000)
    drawn = means[labels] + np.einsum("nde,ne->nd", mixing[labels], rng.normal(size=(3000, 4)))
    return {
        "faithful, 272 x 2": jaxgmm.datasets.load_faithful().x,
        "iris, 150 x 4": jaxgmm.datasets.load_iris().x,
        "drawn, 3000 x 4": drawn,
    }


def with_jaxgmm(x: np.ndarray) -> Search:
    """Searches with one key after another."""
    seeds = count()

    def search() -> tuple[float, str]:
        begin = time.perf_counter()
        found = jaxgmm.select(jax.random.key(next(seeds)), x)
        return time.perf_counter() - begin, f"{found.family.letters} {found.k}: {np.nanmin(found.table):.2f}"

    return search


@contextmanager
def with_mclust(x: np.ndarray) -> Iterator[Search]:
    """Searches by a process of R."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        np.savetxt(path, x, delimiter=",", fmt="%.17g")
        command = ["Rscript", "-e", MCLUST, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            turns, answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

            def search() -> tuple[float, str]:
                print(file=turns, flush=True)
                seconds, family, k, bic = answers.readline().split()
                return float(seconds), f"{family} {k}: {float(bic):.2f}"

            yield search


def in_turns(name: str, x: np.ndarray, repeats: int) -> dict[str, Any]:
    """One row of the table."""
    ours = with_jaxgmm(x)
    first, _ = ours()
    with with_mclust(x) if shutil.which("Rscript") else nullcontext() as theirs:
        peers = (theirs or ours, ours)
        for search in peers:
            search()
        turns = [[search() for search in peers] for _ in range(repeats)]
    seconds = np.array([[seconds for seconds, _ in turn] for turn in turns])
    (_, their_choice), (_, choice) = turns[-1]
    row = {"data": name, "first s": first, "jaxgmm s": float(np.median(seconds[:, 1])), "jaxgmm's choice": choice}
    if theirs:
        row |= {"mclust s": float(np.median(seconds[:, 0])), "mclust's choice": their_choice}
        row["over mclust"] = float(np.median(seconds[:, 0] / seconds[:, 1]))
    return row


def main() -> None:
    """Measure the data sets, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("selection.md"))
    arguments = parser.parse_args()
    rows = []
    with jax.enable_x64(True):
        for name, x in data_sets().items():
            rows.append(in_turns(name, x, arguments.repeats))
            print(json.dumps(rows[-1]), flush=True)
    peers = []
    if shutil.which("Rscript"):
        version = ["Rscript", "-e", 'cat(as.character(packageVersion("mclust")))']
        peers = [f"mclust {subprocess.run(version, check=True, capture_output=True, text=True).stdout}"]
    write(arguments.output, "Seconds per search over 14 families and 1 to 9 components", rows, *peers)


if __name__ == "__main__":
    main()
