import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    ALL_FAMILIES,
    DATA,
    FAITHFUL,
    FAMILIES,
    eps,
    family_id,
    mclust_fits,
    mclust_params,
    random_params,
)
from sklearn.mixture import GaussianMixture

import jaxgmm

PARAMETERS = [15, 17, 18, 20, 24, 26, 24, 26, 30, 32, 36, 38, 42, 44]


@pytest.mark.parametrize(("family", "expected"), list(zip(ALL_FAMILIES, PARAMETERS, strict=True)))
def test_free_parameters(family, expected):
    """Weights, means and covariances of 3 components in 4 features, by the table in docs/choosing.md."""
    params = random_params(family, k=3, d=4, dtype=np.float32)
    assert jaxgmm.n_parameters(params, family) == expected
    if not family.constrained:  # then the shape says it all
        assert jaxgmm.n_parameters(params) == expected


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("family", ALL_FAMILIES, ids=family_id)
def test_parameters_and_bic_agree_with_mclust(data, family, x64):
    for fit in mclust_fits(data, family):
        params = mclust_params(family, fit)
        assert jaxgmm.n_parameters(params, family) == fit["n_params"]
        assert -float(jaxgmm.bic(params, DATA[data], family=family)) == pytest.approx(fit["bic"], rel=1e-10)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_criteria_agree_with_scikit_learn(family, x64):
    """And so does everything else, from the same start."""
    labels = np.digitize(FAITHFUL[:, 0], [2.5, 4.2])
    start = jaxgmm.seeding.from_labels(FAITHFUL, labels, 3, family=family)
    precisions = {
        "full": np.linalg.inv,
        "tied": lambda c: np.linalg.inv(c[0]),
        "diag": lambda c: 1 / c,
        "spherical": lambda c: 1 / c[:, 0],
    }
    model = GaussianMixture(
        3,
        covariance_type=family.name,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=precisions[family.name](np.asarray(start.covariances)),
        tol=1e-13,
        max_iter=5000,
        reg_covar=0,
    ).fit(FAITHFUL)
    params = jaxgmm.em(start, FAITHFUL, family=family, tol=1e-13, max_iter=5000).params
    np.testing.assert_allclose(params.means, model.means_, rtol=1e-5)
    np.testing.assert_allclose(jaxgmm.log_prob(params, FAITHFUL), model.score_samples(FAITHFUL), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jaxgmm.responsibilities(params, FAITHFUL), model.predict_proba(FAITHFUL), atol=1e-4)
    for ours, theirs in ((jaxgmm.score, model.score), (jaxgmm.aic, model.aic), (jaxgmm.bic, model.bic)):
        assert float(ours(params, FAITHFUL)) == pytest.approx(theirs(FAITHFUL), rel=1e-8)


def test_icl_charges_for_rows_between_components(dtype):
    x = FAITHFUL.astype(dtype)
    params = jaxgmm.seeding.from_labels(x, np.digitize(x[:, 0], [3.0]), 2)
    certainty = np.log(np.asarray(jaxgmm.responsibilities(params, x), np.float64).max(1)).sum()
    expected = float(jaxgmm.bic(params, x)) - 2 * certainty
    assert float(jaxgmm.icl(params, x)) == pytest.approx(expected, rel=20 * eps(dtype))
    assert jaxgmm.icl(params, x) > jaxgmm.bic(params, x)


def test_weights_count_as_repetition(dtype):
    x, weights = FAITHFUL.astype(dtype), np.arange(len(FAITHFUL)) % 3
    params = jaxgmm.seeding.from_labels(x, np.digitize(x[:, 0], [3.0]), 2)
    dirty = np.where(weights[:, None] == 0, np.nan, x).astype(dtype)
    repeated = np.repeat(x, weights, axis=0)
    for criterion in (jaxgmm.score, jaxgmm.aic, jaxgmm.bic, jaxgmm.icl):
        weighted = float(criterion(params, dirty, weights))
        assert weighted == pytest.approx(float(criterion(params, repeated)), rel=50 * eps(dtype))


@pytest.mark.parametrize("criterion", [jaxgmm.aic, jaxgmm.bic, jaxgmm.icl], ids=lambda criterion: criterion.__name__)
def test_weights_that_are_no_counts_are_named(criterion):
    """The number of observations is the sum of the weights: for shares one, whose logarithm charges nothing."""
    x = FAITHFUL.astype(np.float32)
    n = len(x)
    params = jaxgmm.seeding.from_labels(x, np.digitize(x[:, 0], [3.0]), 2)
    relative = np.random.default_rng(0).dirichlet(np.ones(n)).astype(np.float32)
    for weights, total in ((relative, 1), (1000 * relative, 1000)):
        with pytest.warns(UserWarning, match=rf"sum of {total}. Unless .* pass weights \* {n} / weights.sum") as caught:
            criterion(params, x, weights)
        assert caught[0].filename == __file__
    expected = float(criterion(params, x, relative * n / relative.sum()))  # warnings are errors here
    criterion(params, x, np.arange(n) % 3)
    assert float(jax.jit(criterion)(params, x, 1000 * relative)) > 3 * expected  # what is traced is not looked at


def test_composes_with_jit_and_grad(x64):
    params = jaxgmm.seeding.from_labels(FAITHFUL, np.digitize(FAITHFUL[:, 0], [3.0]), 2)
    for criterion in (jaxgmm.score, jaxgmm.aic, jaxgmm.bic, jaxgmm.icl):
        assert float(jax.jit(criterion)(params, FAITHFUL)) == pytest.approx(float(criterion(params, FAITHFUL)))
        assert all(jnp.isfinite(leaf).all() for leaf in jax.grad(criterion)(params, FAITHFUL))
