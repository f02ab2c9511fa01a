"""Seconds per search over all families and 1 to 9 components, against R's mclust.

Run ``python -m benchmarks.selection``; ``Rscript`` with the package mclust is needed for the ratio. The search runs
twelve starts of each model, mclust one. Both compute in double precision, and the median of several searches is taken
after the first, which compiles and is shown for itself.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgmm

from .tables import write

MCLUST = """
suppressMessages(library(mclust))
arguments <- commandArgs(trailingOnly = TRUE)
x <- as.matrix(read.csv(arguments[1], header = FALSE))
search <- function(i) system.time(found <<- Mclust(x, G = 1:9, verbose = FALSE))[[3]]
seconds <- sapply(1:as.integer(arguments[2]), search)
cat(median(seconds), found$modelName, found$G, -found$bic, as.character(packageVersion("mclust")))
"""


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


def with_jaxgmm(x: np.ndarray, repeats: int) -> dict[str, Any]:
    """Seconds of the first search and of later ones, and what they found."""
    seconds = []
    for seed in range(repeats + 1):
        begin = time.perf_counter()
        found = jaxgmm.select(jax.random.key(seed), x)
        seconds.append(time.perf_counter() - begin)
    return {
        "first s": seconds[0],
        "jaxgmm s": float(np.median(seconds[1:])),
        "jaxgmm's choice": f"{found.family.letters} {found.k}: {np.nanmin(found.table):.2f}",
    }


def with_mclust(x: np.ndarray, repeats: int) -> dict[str, Any]:
    """The same of mclust, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        np.savetxt(path, x, delimiter=",", fmt="%.17g")
        command = ["Rscript", "-e", MCLUST, str(path), str(repeats)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, family, k, bic, version = printed.split()
    return {"mclust s": float(seconds), "mclust's choice": f"{family} {k}: {float(bic):.2f}", "version": version}


def main() -> None:
    """Measure the data sets, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("selection.md"))
    arguments = parser.parse_args()
    rows, peers = [], []
    with jax.enable_x64(True):
        for name, x in data_sets().items():
            row = {"data": name, **with_jaxgmm(x, arguments.repeats)}
            if shutil.which("Rscript"):
                row |= with_mclust(x, arguments.repeats)
                row["over mclust"] = row["mclust s"] / row["jaxgmm s"]
                peers = [f"mclust {row.pop('version')}"]
            rows.append(row)
            print(json.dumps(row), flush=True)
    write(arguments.output, "Seconds per search over 14 families and 1 to 9 components", rows, *peers)


if __name__ == "__main__":
    main()
