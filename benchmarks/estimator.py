"""The estimator against scikit-learn's: one changed import, default arguments.

Run ``python -m benchmarks.estimator``. Both fit the same data in float64 with the same ``random_state``, so from the
same starts, taking turns; the ratio reported is the median over seeds of the ratios of times. ``first s`` is the first
call, which compiles. ``least gain`` is over the seeds too: by how much jaxgmm ends higher, in nats a row; a row where
it is negative beyond rounding is marked as failed.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import sklearn.datasets
import sklearn.mixture
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

import jaxgmm
from jaxgmm.sklearn import GaussianMixture, from_sklearn

from .tables import write

ROUNDING = 1e-9  # relative


def problems() -> dict[str, tuple[np.ndarray, int]]:
    """Rows, and how many components to fit to them."""
    rng = np.random.default_rng(0)
    mixing = np.eye(8) + rng.normal(size=(8, 8, 8)) / 8
    labels = rng.integers(8, size=100_000)
    overlapping = rng.normal(size=(8, 8))[labels] + np.einsum(
        "nde,ne->nd", mixing[labels], rng.normal(size=(100_000, 8))
    )
    return {
        "faithful": (jaxgmm.datasets.load_faithful().x, 2),
        "iris": (jaxgmm.datasets.load_iris().x, 3),
        "wine": (sklearn.datasets.load_wine().data, 3),
        "digits, 16 principal components": (PCA(16).fit_transform(sklearn.datasets.load_digits().data), 10),
        "100,000 x 8, overlapping": (overlapping, 8),
    }


def timed_fit(kind: type, x: np.ndarray, **arguments: Any) -> tuple[float, float]:
    """Seconds to fit, and the mean log-likelihood reached, scored the same way for both."""
    model = kind(**arguments)
    begin = time.perf_counter()
    model.fit(x)
    seconds = time.perf_counter() - begin
    with jax.enable_x64(True):
        return seconds, float(jaxgmm.score(from_sklearn(model), x))


def measure(name: str, x: np.ndarray, n_components: int, n_init: int, n_seeds: int) -> dict[str, Any]:
    """One row of the table."""
    arguments = {"n_components": n_components, "n_init": n_init}
    first = timed_fit(GaussianMixture, x, random_state=0, **arguments)[0]
    pairs = [
        [
            timed_fit(kind, x, random_state=seed, **arguments)
            for kind in (GaussianMixture, sklearn.mixture.GaussianMixture)
        ]
        for seed in range(n_seeds)
    ]
    seconds, reached = np.moveaxis(np.array(pairs), 2, 0)  # (2, n_seeds, 2)
    gain = float(np.min(reached[:, 0] - reached[:, 1]))
    ratio = float(np.median(seconds[:, 1] / seconds[:, 0]))
    failed = gain < -ROUNDING * np.abs(reached).max()
    return {
        "data": name,
        "k": n_components,
        "n_init": n_init,
        "first s": first,
        "jaxgmm ms": 1e3 * float(np.median(seconds[:, 0])),
        "sklearn ms": 1e3 * float(np.median(seconds[:, 1])),
        "over sklearn": f"failed: {gain:.6f} a row" if failed else ratio,
        "least gain": gain,
        "median gain": float(np.median(reached[:, 0] - reached[:, 1])),
    }


def main() -> None:
    """Measure all data sets with one start and with ten, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="of which the large data set takes the first three")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("estimator.md"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    for name, (x, n_components) in problems().items():
        n_seeds = arguments.seeds if len(x) < 10_000 else min(arguments.seeds, 3)
        for n_init in (1, 10):
            rows.append(measure(name, x, n_components, n_init, n_seeds))
            print(json.dumps(rows[-1]), flush=True)
    write(arguments.output, "The estimator against scikit-learn's, default arguments", rows)


if __name__ == "__main__":
    main()
