"""Seconds per EM iteration, by structure of the covariances, against scikit-learn and, where installed, torch and gmmx.

Run ``python -m benchmarks.per_iteration``. Rows are spread over all cores. Every library starts from the same
parameters, and a row whose log-likelihoods after as many iterations differ is marked as failed. With ``--large`` one
larger problem takes the grid's place, in float32 and without peers: what a GPU is for. Time per iteration is the
difference between a long and a short run over the difference in iterations, so that set-up, compilation and the last
scoring pass drop out; libraries take turns within a repeat, and the ratio is the median of the repeats' ratios.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

os.environ["SCIPY_ARRAY_API"] = "1"  # read when scipy is first imported

import sklearn
from sklearn.mixture import GaussianMixture

import jaxgmm

from .tables import write

GRID = [
    (524288, 2, 5),
    (100000, 4, 3),
    (100000, 8, 8),
    (131072, 8, 64),
    (262144, 16, 16),
    (32768, 64, 32),
    (32768, 128, 8),
]
LARGE = [(1_000_000, 128, 1024)]  # for which Flash-GMM, a hand-fused kernel, publishes 152 ms on an A100
STRUCTURES = ("full", "tied", "diag", "spherical")
SHORT = 2  # iterations of the short run; of the long one the more, the less they take
LONG, LONG_IF_DIAGONAL, LONG_IF_SMALL, LONG_ON_GPU = 6, 12, 32, 62
RIDGE = 1e-6


class Problem(NamedTuple):
    """Rows and a common start."""

    structure: str
    x: np.ndarray  # (n, d)
    rows: jax.Array  # the same on the devices
    start: jaxgmm.GMMParams


Fit = Callable[[Problem, int], float]  # iterations -> mean log-likelihood per row of the parameters reached


@cache
def cores() -> jax.sharding.Mesh:
    """All of them, or all accelerators."""
    automatic = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((jax.device_count(),), ("rows",), axis_types=automatic)


def spread(x: np.ndarray) -> jax.Array:
    """Rows, on all of them."""
    return jax.device_put(x, jax.NamedSharding(cores(), PartitionSpec("rows")))


def make_problem(structure: str, n: int, d: int, k: int, dtype: Any) -> Problem:
    """A mixture of correlated, overlapping components, and a start at true means displaced by a standard deviation."""
    rng = np.random.default_rng(0)
    means = 1.5 * rng.normal(size=(k, d)) / np.sqrt(d)  # two standard deviations apart, whatever d is
    mixing = np.eye(d) + rng.normal(size=(k, d, d)) / (2 * d)  # alike enough to overlap in many dimensions too
    labels = rng.integers(k, size=n)
    x = np.empty((n, d))
    for j in range(k):
        x[labels == j] = means[j] + rng.normal(size=(np.sum(labels == j), d)) @ mixing[j].T
    covariances = np.stack([m @ m.T for m in mixing])
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    stored = {
        "full": covariances,
        "tied": covariances.mean(0, keepdims=True),
        "diag": variances,
        "spherical": variances.mean(1, keepdims=True),
    }[structure]
    start = (np.full(k, 1 / k), means + rng.normal(size=(k, d)) / np.sqrt(d), stored)
    params = jaxgmm.GMMParams(*(jnp.asarray(array, dtype) for array in start))
    x = x.astype(dtype)
    return Problem(structure, x, spread(x), params)


def fit_jaxgmm(problem: Problem, n_iter: int) -> float:
    """This library."""
    family = jaxgmm.get_family(problem.structure)
    with jax.set_mesh(cores()):
        result = jaxgmm.em(problem.start, problem.rows, family=family, ridge=RIDGE, tol=0.0, max_iter=n_iter)
    if int(result.n_iter) != n_iter:
        raise RuntimeError(f"took {int(result.n_iter)} iterations of {n_iter}: {jaxgmm.describe(result.status)}")
    return float(result.log_likelihood) / len(problem.x)


def fit_sklearn(problem: Problem, n_iter: int, as_array: Callable[[Any], Any] = np.asarray) -> float:
    """scikit-learn's GaussianMixture on numpy arrays."""
    weights, means, covariances = jax.tree.map(np.asarray, problem.start)
    precisions = np.linalg.inv(covariances) if covariances.ndim == 3 else 1 / covariances
    theirs = {"full": (-1, *covariances.shape[1:]), "tied": covariances.shape[1:], "diag": covariances.shape}
    model = GaussianMixture(
        len(weights),
        covariance_type=problem.structure,
        weights_init=as_array(weights),
        means_init=as_array(means),
        precisions_init=as_array(precisions.reshape(theirs.get(problem.structure, -1))),
        reg_covar=RIDGE,
        tol=0,
        max_iter=n_iter,
        init_params="random_from_data",
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: that is the point
        model.fit(as_array(problem.x))
    fitted: Any = [on_host(leaf) for leaf in (model.weights_, model.means_, model.covariances_)]
    fitted[2] = fitted[2].reshape(covariances.shape)
    return float(jaxgmm.score(jaxgmm.GMMParams(*fitted), problem.x))


def on_gpu() -> bool:
    """Whether that is what JAX computes on."""
    return jax.default_backend() == "gpu"


def on_host(array: Any) -> np.ndarray:
    """A numpy array of one of theirs."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)


def fit_torch(problem: Problem, n_iter: int) -> float:
    """The same on torch tensors, on a GPU where there is one."""
    import torch

    device = "cuda" if on_gpu() else "cpu"
    with sklearn.config_context(array_api_dispatch=True):
        return fit_sklearn(problem, n_iter, lambda array: torch.from_numpy(np.array(array)).to(device))


def fit_gmmx(problem: Problem, n_iter: int) -> float:
    """The gmmx library's EMFitter."""
    import gmmx

    weights, means, covariances = problem.start
    model = gmmx.GaussianMixtureModelJax.from_squeezed(
        means=means, covariances=covariances, weights=weights, covariance_type="full"
    )
    fitter = gmmx.EMFitter(tol=0.0, max_iter=n_iter, reg_covar=RIDGE)
    fitted = fitter.fit(x=jnp.asarray(problem.x), gmm=model).gmm
    return float(
        jaxgmm.score(
            jaxgmm.GMMParams(fitted.weights_numpy, fitted.means_numpy, fitted.covariances.values_numpy), problem.x
        )
    )


def seconds_per_iteration(fit: Fit, problem: Problem, most: int) -> float:
    """One estimate from a short and a long run."""
    taken = []
    for n_iter in (SHORT, most):
        begin = time.perf_counter()
        fit(problem, n_iter)
        taken.append(time.perf_counter() - begin)
    return (taken[1] - taken[0]) / (most - SHORT)


def measure(
    structure: str, shape: tuple[int, int, int], dtype: Any, peers: dict[str, Fit], repeats: int
) -> dict[str, Any]:
    """One row of the table."""
    problem = make_problem(structure, *shape, dtype)
    fits = {"jaxgmm": fit_jaxgmm, **peers}
    row: dict[str, Any] = {"n, d, k": "{}, {}, {}".format(*shape), "dtype": np.dtype(dtype).name}
    long = LONG_IF_DIAGONAL if structure in ("diag", "spherical") else LONG
    most = LONG_ON_GPU if on_gpu() else LONG_IF_SMALL if problem.x.size < 10**6 else long
    reached = {}
    for name, fit in fits.items():  # compiles, and shows that all do the same work
        fit(problem, SHORT)
        reached[name] = fit(problem, most)
    times: dict[str, list[float]] = {name: [] for name in fits}
    for _ in range(repeats):
        for name, fit in fits.items():
            times[name].append(seconds_per_iteration(fit, problem, most))
    agreed = 1e-4 if dtype == np.float32 else 1e-8
    for name in fits:
        row[f"{name} ms"] = 1e3 * float(np.median(times[name]))
    for name in peers:
        same = abs(reached[name] - reached["jaxgmm"]) <= agreed * abs(reached["jaxgmm"])
        ratio = float(np.median(np.array(times[name]) / np.array(times["jaxgmm"])))
        row[f"over {name}"] = ratio if same else f"failed: {reached[name]:.6f} against {reached['jaxgmm']:.6f}"
    return row


def available_peers(structure: str, dtype: Any, n_features: int) -> dict[str, Fit]:
    """scikit-learn always; on torch tensors in float32; gmmx for full covariances in the only dtype it takes.

    With 64 features and more gmmx takes minutes an iteration: it is not measured there. Beside a GPU scikit-learn on
    torch tensors alone, which are there too.
    """
    if on_gpu():
        return {"torch": fit_torch} if find_spec("torch") else {}
    peers: dict[str, Fit] = {"sklearn": fit_sklearn}
    if find_spec("torch") and dtype == np.float32:
        peers["torch"] = fit_torch
    if find_spec("gmmx") and structure == "full" and dtype == np.float32 and n_features <= 16:
        peers["gmmx"] = fit_gmmx
    return peers


def main() -> None:
    """Measure the grid in both dtypes, print a table for each structure and write them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    for structure in arguments.structures:
        rows = []
        for dtype in (np.float32,) if arguments.large else (np.float64, np.float32):
            with jax.enable_x64(dtype == np.float64):
                for shape in LARGE if arguments.large else GRID:
                    peers = {} if arguments.large else available_peers(structure, dtype, shape[1])
                    rows.append(measure(structure, shape, dtype, peers, arguments.repeats))
                    print(json.dumps(rows[-1]), flush=True)
        path = arguments.output / f"{'large' if arguments.large else 'per_iteration'}_{structure}.md"
        write(path, f"Seconds per EM iteration, {structure} covariances", rows)


if __name__ == "__main__":
    main()
