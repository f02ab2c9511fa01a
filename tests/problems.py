"""The table of families under test, data, and a plain numpy transcription of the formulas as oracle."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import scipy.linalg

import jaxgmm

FAMILIES = [jaxgmm.FULL, jaxgmm.TIED, jaxgmm.DIAG, jaxgmm.SPHERICAL]  # every structure of stored covariances
ALL_FAMILIES = list(jaxgmm.FAMILIES)

FAITHFUL = jaxgmm.datasets.load_faithful().x
IRIS = jaxgmm.datasets.load_iris().x
DATA = {"faithful": FAITHFUL, "iris": IRIS}


def eps(dtype):
    return float(np.finfo(dtype).eps)


def blobs(n=300, d=2, k=3, seed=0):
    """Overlapping, correlated components in float64."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    mixing = np.eye(d) + rng.normal(size=(k, d, d)) / (2 * np.sqrt(d))
    return 2.5 * rng.normal(size=(k, d))[labels] + np.einsum("nde,ne->nd", mixing[labels], rng.normal(size=(n, d)))


def random_params(family, k=3, d=2, seed=0, dtype=np.float64):
    """A mixture stored as the family stores it."""
    rng = np.random.default_rng(seed)
    shape = family.structure(k, d)
    if len(shape) == 3:
        a = rng.normal(size=(*shape[:2], d + 2))
        covariances = np.einsum("kde,kfe->kdf", a, a) / d
    else:
        covariances = rng.uniform(0.5, 2, shape)
    params = jaxgmm.GMMParams(rng.dirichlet(np.full(k, 5.0)), 2 * rng.normal(size=(k, d)), covariances)
    return jaxgmm.GMMParams(*(jnp.asarray(leaf, dtype) for leaf in params))


def matrices(params):
    """Covariances as ``(k, d, d)`` float64, whatever their structure."""
    covariances = np.asarray(params.covariances, np.float64)
    k, d = params.means.shape
    if covariances.ndim == 2:
        covariances = np.einsum("kd,de->kde", np.broadcast_to(covariances, (len(covariances), d)), np.eye(d))
    return np.broadcast_to(covariances, (k, d, d))


def oracle_joint(params, x):
    """log phi_j N(x_i | mu_j, Sigma_j), from the definition, in float64."""
    weights, means, x = (np.asarray(a, np.float64) for a in (params.weights, params.means, x))
    joint = np.empty((len(x), len(weights)))
    for j, covariance in enumerate(matrices(params)):
        residuals = x - means[j]
        distance = np.einsum("nd,nd->n", residuals, np.linalg.solve(covariance, residuals.T).T)
        joint[:, j] = np.log(weights[j]) - 0.5 * (
            distance + x.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1]
        )
    return joint


def oracle_log_prob(params, x):
    joint = oracle_joint(params, x)
    top = joint.max(1)
    return top + np.log(np.exp(joint - top[:, None]).sum(1))


def oracle_responsibilities(params, x):
    return np.exp(oracle_joint(params, x) - oracle_log_prob(params, x)[:, None])


def oracle_m_step(family, x, expected, ridge=0.0):
    """Closed-form maximisers given weighted responsibilities, as (weights, means, covariances (k, d, d))."""
    x, expected = np.asarray(x, np.float64), np.asarray(expected, np.float64)
    counts = expected.sum(0)
    means = expected.T @ x / counts[:, None]
    scatter = np.stack([(expected[:, j] * (x - m).T) @ (x - m) for j, m in enumerate(means)])
    d = x.shape[1]
    if family.name == "tied":
        covariances = np.broadcast_to(scatter.sum(0) / counts.sum(), scatter.shape)
    else:
        covariances = scatter / counts[:, None, None]
    if family.name == "diag":
        covariances = covariances * np.eye(d)
    if family.name == "spherical":
        covariances = np.trace(covariances, axis1=1, axis2=2)[:, None, None] / d * np.eye(d)
    return counts / counts.sum(), means, covariances * (1 + ridge * np.eye(d))


def _mclust_fits():
    for data in DATA:
        reference = json.loads((Path(__file__).parent / "reference" / f"mclust_{data}.json").read_text())
        for fit in reference["fits"]:
            if fit["ok"]:
                start = reference["init_class_1based"].get(str(fit["G"]), [1] * reference["n"])
                yield data, jaxgmm.get_family(fit["model"]), fit, np.array(start) - 1


# (data set, family, fit, labels of its start) for every fit of mclust's that succeeded.
MCLUST_FITS = list(_mclust_fits())


def mclust_fits(data, family):
    """mclust's fits of one data set in one family, of every number of components."""
    return [fit for name, f, fit, _ in MCLUST_FITS if (name, f) == (data, family)]


def mclust_id(value):
    return value if isinstance(value, str) else f"{value['model']}{value['G']}" if isinstance(value, dict) else ""


def mclust_params(family, fit):
    """mclust's parameters, stored as the family stores them."""
    weights = np.atleast_1d(np.array(fit["pro"], float))
    sigma = np.array(fit["sigma"], float).reshape(len(weights), *2 * (np.array(fit["sigma"]).shape[-1],))
    means = np.array(fit["mean"], float).reshape(len(weights), -1)
    return jaxgmm.GMMParams(weights / weights.sum(), means, stored(family, sigma))


def family_id(family):
    return family.letters


def factors(family, k=3, d=3, seed=0, size=1.0):
    """Variances ``(k, d)`` along axes ``(k, d, d)``: drawn for each component, or once for all where equal."""
    rng = np.random.default_rng(seed)

    def draw(letter, *shape):
        drawn = size * rng.normal(size=(k if letter == "V" else 1, *shape))
        return np.zeros((k, *shape)) if letter == "I" else np.broadcast_to(drawn, (k, *shape))

    volume, shape, orientation = family.letters
    log_volume, log_shape, turn = draw(volume, 1), draw(shape, d), draw(orientation, d, d)
    variances = np.exp(log_volume + log_shape - log_shape.mean(1, keepdims=True))
    return variances, np.stack([scipy.linalg.expm(t - t.T) for t in turn])


def composed(variances, axes):
    """``D_j diag(v_j) D_j^T``."""
    return np.einsum("kda,ka,kea->kde", axes, variances, axes)


def member(family, k=3, d=3, seed=0):
    """Covariances ``(k, d, d)`` of the family."""
    return composed(*factors(family, k, d, seed))


def stored(family, matrices):
    """Covariances ``(k, d, d)`` of the family, stored as it stores them."""
    shape = family.structure(len(matrices), matrices.shape[-1])
    values = matrices if len(shape) == 3 else np.diagonal(matrices, axis1=1, axis2=2)
    return values[tuple(map(slice, shape))]
