"""How the time per EM iteration grows with rows, features and components, and what part of the machine it reaches.

Run ``python -m benchmarks.growth``. Full covariances, float32, rows spread over all cores. An iteration of one mixture
is two matrix products of the rows' features, ``f = 1 + d + d (d + 1) / 2`` of them, with k components: 4 n f k
operations, and 8 times as many for eight restarts under ``vmap``. The last column holds the rate of these against that
of a product of square matrices, by numpy's BLAS or by JAX, whichever is faster, measured before each row. It counts
nothing else that an iteration does: making features, exponentials, the M-step.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm

from .per_iteration import RIDGE, Problem, cores, fit_jaxgmm, fit_sklearn, make_problem, seconds_per_iteration
from .tables import Row, write

BASE = {"n": 65536, "d": 8, "k": 8}
SERIES = {"n": [2**e for e in range(12, 21, 2)], "d": [2, 4, 8, 16, 32, 64], "k": [2, 4, 8, 16, 32, 64, 128]}
WIDE = [(65536, 16, 8), (65536, 16, 32), (32768, 32, 16), (32768, 64, 16)]  # where products are most of the work
LANES = 8
ITERATIONS = 12


def matrix_rate(size: int = 2048) -> float:
    """Operations a second in a product of square matrices, the best of some."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    b = jnp.asarray(a)

    def seconds(product: Callable[[], Any]) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(product())
        return time.perf_counter() - begin

    product: Any = jax.jit(lambda b: jnp.matmul(b, b, precision="highest"))
    best = min(min(seconds(lambda: a @ a), seconds(lambda: product(b))) for _ in range(5))
    return 2 * size**3 / best


def fit_lanes(problem: Problem, n_iter: int) -> float:
    """Several starts side by side."""
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf] * LANES), problem.start)
    starts = starts._replace(means=starts.means * jnp.linspace(1, 1.1, LANES, dtype=jnp.float32)[:, None, None])
    with jax.set_mesh(cores()):
        run: Any = jax.vmap(lambda start: jaxgmm.em(start, problem.rows, ridge=RIDGE, tol=0.0, max_iter=n_iter))
        result = run(starts)
    if (result.n_iter != n_iter).any():
        raise RuntimeError(f"took {result.n_iter} iterations of {n_iter}")
    return float(result.log_likelihood[0]) / len(problem.x)


def measure(shape: tuple[int, int, int], fits: dict[str, Callable[[Problem, int], float]], repeats: int) -> Row:
    """One row of the table."""
    problem = make_problem("full", *shape, np.float32)
    n, d, k = shape
    row: Row = {"n, d, k": "{}, {}, {}".format(*shape)}
    for fit in fits.values():
        fit(problem, 2)
        fit(problem, ITERATIONS)
    rate = matrix_rate()
    times = {
        name: [seconds_per_iteration(fit, problem, ITERATIONS) for _ in range(repeats)] for name, fit in fits.items()
    }
    for name in fits:
        row[f"{name} ms"] = 1e3 * float(np.median(times[name]))
    lanes = LANES if fit_lanes in fits.values() else 1
    reached = 4 * n * (1 + d + d * (d + 1) // 2) * k * lanes / float(np.median(next(iter(times.values()))))
    return row | {"gigaflop/s": reached / 1e9, "of the rate of products": reached / rate}


def plot(rows: dict[str, list[Row]], path: Path) -> None:
    """Milliseconds per iteration against each of n, d and k, in logarithms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(1, 3, sharey=True), SERIES.items(), strict=True):
        for library, label, marker in (("sklearn", "scikit-learn", "s"), ("jaxgmm", "jaxgmm", "o")):
            axes.loglog(values, [row[f"{library} ms"] for row in rows[name]], marker=marker, label=label)
        fixed = ", ".join(f"{other} = {value}" for other, value in BASE.items() if other != name)
        axes.set(xlabel=f"{name}  ({fixed})", xticks=values, xticklabels=values)
        axes.minorticks_off()
        axes.tick_params(axis="x", rotation=45)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("ms per EM iteration, float32")
    figure.axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure all series and what part of the machine they reach, and write tables and a picture beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", os.cpu_count())

    def measured(shape: tuple[int, int, int], **fits: Callable[[Problem, int], float]) -> Row:
        row = measure(shape, fits, arguments.repeats)
        print(json.dumps(row), flush=True)
        return row

    rows = {}
    for name, values in SERIES.items():
        shapes = [tuple({**BASE, name: value}.values()) for value in values]
        rows[name] = [measured(shape, jaxgmm=fit_jaxgmm, sklearn=fit_sklearn) for shape in shapes]
    write(
        arguments.output / "growth.md",
        "Growth of the time per EM iteration, full, float32",
        list(chain(*rows.values())),
    )
    plot(rows, arguments.output / "growth.png")
    rates = [
        measured(s, **{name: fit})
        for s in WIDE
        for name, fit in (("jaxgmm", fit_jaxgmm), ("eight restarts", fit_lanes))
    ]
    write(arguments.output / "rates.md", "Part of the machine's rate of matrix products, full, float32", rates)


if __name__ == "__main__":
    main()
