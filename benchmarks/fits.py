"""Whole fits against scikit-learn's: one of ten restarts, and thousands of small data sets in one call.

Run ``python -m benchmarks.fits``. Both libraries fit the same rows in float64 on all cores, taking turns, after a first
call that compiles (at once to run fast, as many calls do) and is shown for itself; the ratio is the median over
repeats. scikit-learn stops when the last gain is below 1e-3 nats a row, jaxgmm when what remains is below 1e-6: each
library's default. ``gain`` is by how much its log-likelihood ends higher, in nats a row, at least over the repeats, and
where that is negative beyond rounding the row is marked as failed. Of the small data sets scikit-learn fits one in a
hundred, and its time is multiplied; their ``gain`` is the mean.
"""

import argparse
import json
import os
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from sklearn.mixture import GaussianMixture

import jaxgmm
from jaxgmm import programs

from .per_iteration import cores, spread
from .tables import write

ROUNDING = 1e-9  # nats a row
MANY_ROWS = 50_000  # that are worth spreading over cores
SHARE = 100  # one in so many small data sets is scikit-learn's


def drawn(n: int, d: int, k: int, seed: int) -> np.ndarray:
    """Rows of overlapping correlated components, which tell restarts apart."""
    rng = np.random.default_rng(seed)
    means, mixing = 1.5 * rng.normal(size=(k, d)), np.eye(d) + rng.normal(size=(k, d, d)) / (2 * d)
    labels = rng.integers(k, size=n)
    return means[labels] + np.einsum("nde,ne->nd", mixing[labels], rng.normal(size=(n, d)))


def problems() -> dict[str, tuple[np.ndarray, int]]:
    """Rows, and how many components to fit to them."""
    shapes = [(10_000, 2, 5), (100_000, 8, 8), (200_000, 16, 16)]
    return {"iris": (jaxgmm.datasets.load_iris().x, 3)} | {
        f"{n} x {d}, k = {k}": (drawn(n, d, k, seed), k) for seed, (n, d, k) in enumerate(shapes)
    }


def with_sklearn(x: np.ndarray, k: int, seed: int, n_init: int) -> tuple[float, float]:
    """Seconds, and the log-likelihood a row."""
    model = GaussianMixture(k, n_init=n_init, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that end at max_iter
        begin = time.perf_counter()
        model.fit(x)
    return time.perf_counter() - begin, model.score(x)


def timed(fit: Any, *arguments: Any) -> tuple[float, jaxgmm.EMResult]:
    """Seconds, and the best."""
    begin = time.perf_counter()
    result = jax.block_until_ready(fit(*arguments))
    return time.perf_counter() - begin, result.best


def summary(name: str, first: float, ours: list[float], theirs: list[float], gains: list[float]) -> dict[str, Any]:
    """One row of the table."""
    ratio = float(np.median(np.array(theirs) / np.array(ours)))
    row = {"problem": name, "first s": first, "jaxgmm s": float(np.median(ours)), "sklearn s": float(np.median(theirs))}
    lower = min(gains) < -ROUNDING
    return row | {"gain": min(gains), "over sklearn": f"failed: {min(gains):.3g}" if lower else ratio}


def one_of_ten(name: str, x: np.ndarray, k: int, repeats: int) -> dict[str, Any]:
    """A fit with ten restarts."""
    many = len(x) >= MANY_ROWS
    rows = spread(x) if many else jnp.asarray(x)

    def fit(key: jax.Array) -> jaxgmm.FitResult:
        with jax.set_mesh(cores()) if many else nullcontext():
            return jaxgmm.fit(key, rows, k, n_init=10)

    first, _ = timed(fit, jax.random.key(0))
    ours, theirs, gains = [], [], []
    for seed in range(1, repeats + 1):
        seconds, best = timed(fit, jax.random.key(seed))
        peer_seconds, peer = with_sklearn(x, k, seed, 10)
        ours.append(seconds)
        theirs.append(peer_seconds)
        gains.append(float(best.log_likelihood) / len(x) - peer)
    return summary(name, first, ours, theirs, gains)


def many_small(n_sets: int, repeats: int) -> dict[str, Any]:
    """Data sets of 200 rows and two features, each fitted from one start."""
    sets = np.stack([drawn(200, 2, 3, seed) for seed in range(n_sets)])

    def fit(key: jax.Array, x: jax.Array) -> jaxgmm.FitResult:
        return jaxgmm.fit(key, x, 3, n_init=1)

    each = PartitionSpec("rows")
    share = jax.shard_map(jax.vmap(fit), mesh=cores(), in_specs=(each, each), out_specs=each, check_vma=False)

    @jax.jit
    def fit_all(key: jax.Array, sets: jax.Array) -> jaxgmm.FitResult:
        return share(jax.random.split(key, n_sets), sets)

    first, _ = timed(fit_all, jax.random.key(0), jnp.asarray(sets))
    ours, theirs, gains = [], [], []
    for seed in range(1, repeats + 1):
        seconds, best = timed(fit_all, jax.random.key(seed), jnp.asarray(sets))
        peers = [with_sklearn(x, 3, seed, 1) for x in sets[::SHARE]]
        ours.append(seconds)
        theirs.append(SHARE * sum(seconds for seconds, _ in peers))
        gains.append(float(np.mean(best.log_likelihood[::SHARE] / 200 - np.array([score for _, score in peers]))))
    return summary(f"{n_sets} sets of 200 x 2, k = 3, one start each", first, ours, theirs, gains)


def main() -> None:
    """Measure, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("fits.md"))
    arguments = parser.parse_args()
    programs.MUCH_WORK = 0
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    rows = []
    with jax.enable_x64(True):
        for name, (x, k) in problems().items():
            rows.append(one_of_ten(name, x, k, arguments.repeats))
            print(json.dumps(rows[-1]), flush=True)
        rows.append(many_small(10_000, arguments.repeats))
        print(json.dumps(rows[-1]), flush=True)
    write(arguments.output, "Seconds per fit: the best of ten restarts, and many small data sets", rows)


if __name__ == "__main__":
    main()
