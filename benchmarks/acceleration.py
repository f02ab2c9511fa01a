"""E-steps to the maximum from the same starts, with each accelerator and without.

Run ``python -m benchmarks.acceleration``. What counts is the number of E-steps, those of refused guesses too, until the
estimated remaining gain is below 1e-10 nats per row. A row whose end is lower than plain EM's is marked as failed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm
from jaxgmm import acceleration

from .tables import write

ACCELERATORS = {
    "momentum": acceleration.momentum(),
    "squarem": acceleration.squarem(),
    "anderson": acceleration.anderson(),
}
MOST = 20_000  # iterations


def drawn(k: int, d: int, n: int, distance: float, seed: int) -> np.ndarray:
    """Rows of a mixture of standard normal components whose means are ``distance`` times as far apart."""
    rng = np.random.default_rng(seed)
    means = distance * rng.normal(size=(k, d))
    return means[rng.integers(k, size=n)] + rng.normal(size=(n, d))


def problems() -> list[tuple[str, np.ndarray, int, str]]:
    """Name, rows, number of components, family; from hopelessly overlapping to well separated."""
    faithful, iris = jaxgmm.datasets.load_faithful().x, jaxgmm.datasets.load_iris().x
    return [
        ("overlapping, 2000 x 2", drawn(4, 2, 2000, 1.5, 0), 4, "VVV"),
        ("overlapping, 2000 x 2", drawn(6, 2, 2000, 1.5, 1), 6, "VVV"),
        ("overlapping, 1000 x 5", drawn(3, 5, 1000, 1.0, 3), 3, "VVV"),
        ("overlapping, 1000 x 1", drawn(3, 1, 1000, 1.0, 5), 3, "VVV"),
        ("apart, 1000 x 3", drawn(5, 3, 1000, 3.0, 4), 5, "VVI"),
        ("apart, 1000 x 4", drawn(3, 4, 1000, 4.0, 1), 3, "VVV"),
        ("faithful", faithful, 2, "VVV"),
        ("faithful", faithful, 3, "VVV"),
        ("faithful", faithful, 3, "EEE"),
        ("faithful", faithful, 5, "EVE"),
        ("faithful", faithful, 6, "VVI"),
        ("iris", iris, 3, "VVV"),
        ("iris", iris, 4, "VEV"),
        ("iris", iris, 5, "EEE"),
    ]


def n_e_steps(start: jaxgmm.GMMParams, x: jax.Array, family: jaxgmm.Family, accelerate: Any) -> tuple[int, float]:
    """How many, and the log-likelihood at the end."""
    calls: list[int] = []

    def counted(params: jaxgmm.GMMParams, x: jax.Array, weights: jax.Array) -> jaxgmm.Stats:
        jax.debug.callback(lambda _: calls.append(1), params.weights[0])
        return jaxgmm.e_step(params, x, weights)

    options: dict[str, Any] = {"ridge": 1e-6, "tol": 1e-10, "max_iter": MOST}
    result = jaxgmm.em(start, x, family=family, e_step=counted, accelerate=accelerate, **options)
    jax.effects_barrier()
    return len(calls), float(result.log_likelihood)


def measure(name: str, x: np.ndarray, k: int, letters: str, seed: int) -> dict[str, Any]:
    """One row of the table."""
    rows, family = jnp.asarray((x - x.mean(0)) / x.std(0)), jaxgmm.get_family(letters)
    belonging = jaxgmm.seeding.kmeans_plus_plus(jax.random.key(seed), rows, jnp.ones(len(x)), k)
    start = jaxgmm.from_responsibilities(rows, belonging, family=family, ridge=1e-6)
    plain, reached = n_e_steps(start, rows, family, None)
    row: dict[str, Any] = {"data": name, "k": k, "family": letters, "start": seed, "plain": plain}
    for accelerator, accelerate in ACCELERATORS.items():
        row[accelerator], end = n_e_steps(start, rows, family, accelerate)
        is_lower = end < reached - 1e-6 * len(x)
        row[f"over {accelerator}"] = f"failed: {end - reached:.3f}" if is_lower else plain / row[accelerator]
    return row


def main() -> None:
    """Measure all problems from three starts each, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("acceleration.md"))
    arguments = parser.parse_args()
    rows = []
    with jax.enable_x64(True):
        for problem in problems():
            for seed in range(3):
                rows.append(measure(*problem, seed))
                print(json.dumps(rows[-1]), flush=True)
            jax.clear_caches()
    write(arguments.output, "E-steps to the maximum", rows)


if __name__ == "__main__":
    main()
