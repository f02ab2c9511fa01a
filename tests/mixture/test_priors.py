import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import FAITHFUL, IRIS, blobs, eps, matrices, random_params

import jaxgmm

KEY = jax.random.key(0)


def mode(x, counts, means, scatters, letters, prior_mean, shrinkage, dof, scale, k):
    """Posterior modes as Fraley & Raftery (2007), table 3, give them: covariances ``(k, d, d)``."""
    n, d = x.shape
    away = means - prior_mean
    shrunk = (shrinkage * counts / (shrinkage + counts))[:, None, None] * away[:, :, None] * away[:, None, :]
    w = scatters + shrunk
    trace, diagonal = np.trace(w, axis1=1, axis2=2), np.einsum("kdd->kd", w)
    identity = np.broadcast_to(np.eye(d), w.shape)
    return {
        "EII": identity * ((scale + trace.sum()) / (dof + (n + k) * d + 2)),
        "VII": identity * ((scale + trace) / (dof + (counts + 1) * d + 2))[:, None, None],
        "EEI": identity * ((scale + diagonal.sum(0)) / (dof + n + k + 2)),
        "VVI": identity * ((scale + diagonal) / (dof + counts[:, None] + 3))[:, :, None],
        "EEE": np.broadcast_to((scale + w.sum(0)) / (dof + d + n + k + 1), w.shape),
        "VVV": (scale + w) / (dof + d + counts + 2)[:, None, None],
    }[letters]


@pytest.mark.parametrize("letters", ["EII", "VII", "EEI", "VVI", "EEE", "VVV"])
def test_the_default_prior_has_mclusts_modes(letters, x64):
    family, x, k = jaxgmm.get_family(letters), blobs(d=3), 3
    labels = np.arange(300) % k
    params = jaxgmm.seeding.from_labels(x, labels, k, family=family)
    one_hot = jaxgmm.Stats(*jaxgmm.e_step(params, x))  # any responsibilities will do
    responsibilities = np.asarray(jaxgmm.responsibilities(params, x))
    stepped = jaxgmm.m_step(params, one_hot, family=family, prior=jaxgmm.default_prior(x, k, family=family))
    counts = responsibilities.sum(0)
    means = responsibilities.T @ x / counts[:, None]
    scatters = np.stack([(responsibilities[:, j] * (x - m).T) @ (x - m) for j, m in enumerate(means)])
    scale = np.cov(x.T) / k ** (2 / 3)
    scale = scale if letters in ("EEE", "VVV") else np.trace(scale) / 3
    expected = mode(x, counts, means, scatters, letters, x.mean(0), 0.01, 5, scale, k)
    np.testing.assert_allclose(matrices(stepped), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stepped.means, (counts[:, None] * means + 0.01 * x.mean(0)) / (counts[:, None] + 0.01))
    np.testing.assert_allclose(stepped.weights, counts / 300)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("VEI", "VVE")]


@pytest.mark.parametrize("name", ["VVV", "EEE", "VEV", *SLOW])
def test_the_log_posterior_never_falls(name, dtype):
    family = jaxgmm.get_family(name)
    x = blobs(n=90, d=3).astype(dtype)
    start = jaxgmm.seeding.from_labels(x, np.arange(90) % 3, 3, family=family)
    prior = jaxgmm.default_prior(x, 3, family=family)
    result = jaxgmm.em(start, x, family=family, prior=prior, max_iter=200)
    assert jaxgmm.is_usable(result.status)
    history = np.asarray(result.history, np.float64)
    gains = np.diff(history[~np.isnan(history)])[1:]  # the start need not lie in the family
    assert gains.min() > -100 * eps(dtype) * abs(float(result.log_likelihood))
    assert float(result.log_likelihood) == pytest.approx(
        float(jaxgmm.log_prob(result.params, x).sum()), rel=100 * eps(dtype)
    )


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["EII", "VII", "EEI", "VVI", "EEE", "VVV"])
def test_the_fixed_point_is_a_stationary_point_of_the_log_posterior(letters, x64):
    family, x = jaxgmm.get_family(letters), blobs(n=90)
    prior = jaxgmm.default_prior(x, 3, family=family)._replace(concentration=jnp.asarray(2.0))
    start = jaxgmm.seeding.from_labels(x, np.arange(90) % 3, 3, family=family)
    params = jaxgmm.em(start, x, family=family, prior=prior, tol=1e-14, max_iter=20000).params

    def log_posterior(logits, means, covariances):
        params = jaxgmm.GMMParams(jax.nn.softmax(logits), means, covariances)
        return jaxgmm.log_prob(params, x).sum() + jaxgmm.log_prior(params, prior)

    slopes = jax.grad(log_posterior, (0, 1, 2))(jnp.log(params.weights), params.means, params.covariances)
    for slope in slopes:
        assert abs(slope).max() < 2e-3


def test_keeps_covariances_from_collapsing(dtype):
    """Iris, diagonal, without a ridge: the spurious maximum is gone, and the posterior has its own."""
    x = IRIS.astype(dtype)
    prior = jaxgmm.default_prior(x, 3, family=jaxgmm.DIAG)
    result = jaxgmm.fit(KEY, x, 3, family="diag", ridge=0, prior=prior)
    assert jaxgmm.is_usable(result.statuses).all()
    assert result.best.params.weights.min() > 0.2


def test_units_change_nothing(x64):
    scale, shift = np.array([1e-3, 1e4]), np.array([5.0, -7.0])
    moved = FAITHFUL * scale + shift
    priors = [jaxgmm.default_prior(x, 3) for x in (FAITHFUL, moved)]
    a, b = (jaxgmm.fit(KEY, x, 3, prior=p, n_init=4) for x, p in zip((FAITHFUL, moved), priors, strict=True))
    np.testing.assert_allclose(b.params.means, np.asarray(a.params.means) * scale + shift, rtol=1e-5)
    for result, prior in zip((a, b), priors, strict=True):  # what EM climbs, in the units of the rows
        log_posterior = float(result.log_likelihood) + float(jaxgmm.log_prior(result, prior))
        assert jaxgmm.trimmed_history(result)[-1] == pytest.approx(log_posterior, rel=1e-10)


def test_a_prior_counts_rows():
    with pytest.raises(ValueError, match=r"weights: expected a sum above one, as a prior counts rows, got 0\.907"):
        jaxgmm.default_prior(FAITHFUL, 2, np.full(272, 1 / 300))


def test_bad_priors_are_named(x64):
    params, x = random_params(jaxgmm.FULL), blobs()
    good = jaxgmm.default_prior(x, 3)
    for field, value, message in [
        ("mean", np.zeros(3), r"prior.mean: expected shape \(2,\)"),
        ("scale", -np.eye(2), "prior.scale: expected positive semi-definite"),
        ("concentration", 0.5, "prior.concentration: expected at least 1"),
        ("shrinkage", -1.0, "prior.shrinkage: expected a finite number >= 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            jaxgmm.em(params, x, prior=good._replace(**{field: value}))
    with pytest.raises(TypeError, match="prior: expected a Prior"):
        jaxgmm.em(params, x, prior=3)


def test_a_scale_that_is_singular_but_for_rounding_is_taken():
    """The covariance of fewer rows than features has eigenvalues of zero, and of either sign in float32."""
    x = np.random.default_rng(0).normal(size=(40, 60)).astype(np.float32)
    prior = jaxgmm.default_prior(x, 2)
    assert np.linalg.eigvalsh(np.asarray(prior.scale))[0] < 0
    params = jaxgmm.GMMParams(np.ones(1, np.float32), x[:1], np.eye(60, dtype=np.float32)[None])
    assert np.isfinite(jaxgmm.em(params, x, prior=prior, max_iter=2).log_likelihood)
