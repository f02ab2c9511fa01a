"""What people write, for ``mypy --strict``: every name has a type, so that editors help and mistakes are told."""

from pathlib import Path
from typing import assert_type

import jax
import numpy as np

import jaxgmm
from jaxgmm import io, plotting
from jaxgmm.sklearn import GaussianMixture


def cluster(x: np.ndarray, folder: Path) -> list[int]:
    """Fit, select, draw, keep and load again."""
    result = jaxgmm.fit(jax.random.key(0), x, 2, family="full", n_init=4)
    if not assert_type(result, jaxgmm.FitResult).converged:
        raise jaxgmm.FitError(str(result.status))
    plotting.clusters(result, x, feature_names=["a", "b"]).set_title("clusters")

    selection = jaxgmm.select(jax.random.key(0), x, [1, 2], families=["EEE"], n_init=2)
    assert_type(assert_type(selection, jaxgmm.Selection).best, jaxgmm.EMResult)
    plotting.criteria(selection).set_xlabel("clusters")
    print(selection.family.letters, selection.k, selection.params.means, jaxgmm.summary(selection, x))

    jaxgmm.save(folder / "model.npz", result)
    loaded = assert_type(io.load(folder / "model.npz"), jaxgmm.SavedFit)
    assert_type(jaxgmm.log_prob(result.params, x), jax.Array)
    print(jaxgmm.bic(result, x), jaxgmm.select(0, x.tolist(), [1], families=["EEE"], n_init=1).k)
    return [int(label) for label in assert_type(jaxgmm.predict(loaded, x), jax.Array)]


def estimate(x: np.ndarray) -> np.ndarray:
    """The same as in scikit-learn."""
    model = GaussianMixture(2, covariance_type="VEV", random_state=0).fit(x, sample_weight=x[:, 0])
    assert_type(model, GaussianMixture)
    assert_type(model.lower_bound_, float)
    assert_type(model.status_, jaxgmm.Status)
    rows, components = model.sample(3)
    print(model.means_.shape, model.status_.name, model.bic(x), rows.shape, components.tolist(), model.converged_)
    return model.predict_proba(x)


if __name__ == "__main__":
    import tempfile

    import matplotlib

    matplotlib.use("agg")
    data = jaxgmm.datasets.load_faithful().x
    with tempfile.TemporaryDirectory() as place:
        print(len(cluster(data, Path(place))), estimate(data).shape)
