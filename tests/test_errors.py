"""Bad input: an error that names the argument, what was expected and what came."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import blobs

import jaxgmm
from jaxgmm import GMMParams
from jaxgmm.sklearn import GaussianMixture, to_sklearn

X = blobs(30).astype(np.float32)
KEY = jax.random.key(0)
START = GMMParams(np.ones(2) / 2, np.array([[0.0, 0.0], [1.0, 1.0]]), np.stack([np.eye(2)] * 2))


def fit(x=X, n_components=2, **options):
    return jaxgmm.fit(KEY, x, n_components, **options)


def with_value(array, value):
    return np.where(np.arange(len(array))[:, None] == 4, value, array)


WIDE = np.random.default_rng(0).normal(size=(5, 3000)).astype(np.float32)
SINGULAR = r"expected diagonal covariances, such as 'diag', for 5 rows of 3000 features, got "
BAD_FITS = {
    "singular": (lambda: fit(WIDE, 1), ValueError, f"family: {SINGULAR}'full': no more rows"),
    "singular, tied": (lambda: fit(WIDE, 1, family="tied"), ValueError, f"family: {SINGULAR}'tied'"),
    "singular in a search": (
        lambda: jaxgmm.select(KEY, WIDE, [1], families=["VVE"]),
        ValueError,
        f"families: {SINGULAR}'VVE'",
    ),
    "singular estimator": (lambda: GaussianMixture(1).fit(WIDE), ValueError, f"covariance_type: {SINGULAR}'full'"),
    "NaN": (lambda: fit(with_value(X, np.nan)), ValueError, r"x: expected finite values, got \[nan nan\] at row 4"),
    "infinite": (lambda: fit(with_value(X, np.inf)), ValueError, r"x: expected finite .* at row 4"),
    "empty": (lambda: fit(np.empty((0, 2))), ValueError, r"x: expected at least one row .* got shape \(0, 2\)"),
    "no features": (lambda: fit(np.empty((3, 0))), ValueError, r"x: expected at least one .* got shape \(3, 0\)"),
    "3-D": (lambda: fit(np.ones((2, 2, 2))), ValueError, r"x: expected shape \(n, d\).* got \(2, 2, 2\)"),
    "scalar": (lambda: fit(1.0), ValueError, r"x: expected shape \(n, d\).* got \(\)"),
    "object": (lambda: fit(np.array([[{}, 1]])), TypeError, r"x: expected numbers, got \{\} at row 0"),
    "string": (lambda: fit(np.array([["a", "b"]])), TypeError, r"x: expected .* real numbers, got dtype <U1"),
    "complex": (lambda: fit(X * 1j), TypeError, r"x: expected .* real numbers, got dtype complex"),
    "negative weight": (lambda: fit(weights=-np.ones(30)), ValueError, r"weights: .* >= 0, got -1.0 at row 0"),
    "NaN weight": (lambda: fit(weights=np.full(30, np.nan)), ValueError, r"weights: .* got nan at row 0"),
    "zero weights": (lambda: fit(weights=np.zeros(30)), ValueError, r"weights: .* got all zero"),
    "too few weights": (lambda: fit(weights=np.ones(3)), ValueError, r"weights: expected shape \(30,\).* got \(3,\)"),
    "k = 0": (lambda: fit(n_components=0), ValueError, r"n_components: expected at least 1, got 0"),
    "k = 1.5": (lambda: fit(n_components=1.5), TypeError, r"n_components: expected an integer, got 1.5"),
    "k > n": (lambda: fit(n_components=31), ValueError, r"n_components: expected at most 30, .* got 31"),
    "k > weighted n": (
        lambda: fit(n_components=3, weights=np.arange(30) < 2),
        ValueError,
        r"n_components: expected at most 2, .* got 3",
    ),
    "tol": (lambda: fit(tol=-1.0), ValueError, r"tol: expected a finite number >= 0, got -1.0"),
    "ridge": (lambda: fit(ridge=-1.0), ValueError, r"ridge: expected a finite number >= 0, got -1.0"),
    "NaN ridge": (lambda: fit(ridge=np.nan), ValueError, r"ridge: expected a finite number >= 0, got nan"),
    "text ridge": (lambda: fit(ridge="big"), TypeError, r"ridge: expected a number, got 'big'"),
    "n_init": (lambda: fit(n_init=0), ValueError, r"n_init: expected at least 1, got 0"),
    "max_iter": (lambda: fit(max_iter=-1), ValueError, r"max_iter: expected at least 0, got -1"),
    "family": (lambda: fit(family="round"), ValueError, r"family: expected one of full, tied, .* got 'round'"),
    "start sum": (
        lambda: fit(start=START._replace(weights=np.ones(2))),
        ValueError,
        r"start.weights: .* sum to one, got \[1. 1.\]",
    ),
    "start NaN": (
        lambda: fit(start=START._replace(means=START.means * np.nan)),
        ValueError,
        r"start.means: expected finite values",
    ),
    "start not positive definite": (
        lambda: fit(start=START._replace(covariances=START.covariances - np.array([[[0.0]], [[2.0]]]))),
        ValueError,
        r"(?s)start.covariances: expected positive definite, got .* for component 1",
    ),
    "start noise weight": (
        lambda: fit(start=jaxgmm.NoisyGMMParams(START, np.ones(2), jaxgmm.box_noise(X))),
        ValueError,
        r"params.noise_weight: expected one number, got shape \(2,\)",
    ),
    "noise": (lambda: fit(noise=3), TypeError, r"noise: expected a Noise \(see jaxgmm.box_noise\), got int"),
    "noise beside start": (
        lambda: fit(start=START, noise=jaxgmm.box_noise(X)),
        ValueError,
        r"start: expected without noise, got both",
    ),
    "seeding beside start": (
        lambda: fit(start=START, seeding=jaxgmm.seeding.kmeans),
        ValueError,
        r"start: expected without seeding, got both",
    ),
    "seeding name": (
        lambda: fit(seeding="kmeans"),
        TypeError,
        r"seeding: expected functions such as those of jaxgmm.seeding, got 'kmeans'",
    ),
    "noise features": (
        lambda: fit(noise=jaxgmm.box_noise(blobs(30, 3))),
        ValueError,
        r"noise: expected a region of 2 features, got lower \(3,\)",
    ),
    "start components": (lambda: fit(start=START, n_components=3), ValueError, r"start: expected 3 components, got 2"),
    "start structure": (
        lambda: fit(start=START, family="diag"),
        ValueError,
        r"start.covariances: expected shape \(2, 2\) for the diag family",
    ),
    "seeding components": (
        lambda: fit(n_components=3, seeding=lambda *_: START),
        ValueError,
        r"seeding: expected means of shape \(3, 2\), got \(2, 2\)",
    ),
    "seeding structure": (
        lambda: fit(family="diag", seeding=lambda *_: START),
        ValueError,
        r"seeding.covariances: expected shape \(2, 2\) for the diag family, got \(2, 2, 2\)",
    ),
    "seeding responsibilities": (
        lambda: fit(seeding=lambda *_: jnp.ones((30, 3)) / 3),
        ValueError,
        r"seeding: expected responsibilities of shape \(30, 2\), got \(30, 3\)",
    ),
    "seeding noise": (
        lambda: fit(seeding=lambda *_: jaxgmm.with_noise(START, jaxgmm.box_noise(X))),
        TypeError,
        r"seeding: expected responsibilities or GMMParams, got NoisyGMMParams",
    ),
    "start features": (
        lambda: fit(blobs(30, 3), start=START),
        ValueError,
        r"x: expected 2 features .* got shape \(30, 3\)",
    ),
}


@pytest.mark.parametrize("name", BAD_FITS)
def test_fit_refuses(name):
    call, error, message = BAD_FITS[name]
    with pytest.raises(error, match=message):
        call()


BAD_CALLS = {
    "features": (lambda: jaxgmm.log_prob(START, np.ones((3, 5))), ValueError, r"x: expected 2 features .* \(3, 5\)"),
    "params": (lambda: jaxgmm.log_prob("model", X), TypeError, r"params: expected GMMParams.* got str"),
    "means": (
        lambda: jaxgmm.log_prob(START._replace(means=np.zeros(2)), X),
        ValueError,
        r"params.means: .*\(k, d\), got \(2,\)",
    ),
    "noisy mixture": (
        lambda: jaxgmm.log_prob(jaxgmm.NoisyGMMParams("model", 0.1, jaxgmm.box_noise(X)), X),
        TypeError,
        r"params.mixture: expected GMMParams.* got str",
    ),
    "noise": (
        lambda: jaxgmm.log_prob(jaxgmm.NoisyGMMParams(START, 0.1, None), X),
        TypeError,
        r"noise: expected a Noise .* got NoneType",
    ),
    "mixing": (
        lambda: jaxgmm.predict(START._replace(weights=np.ones(3)), X),
        ValueError,
        r"params.weights: expected shape \(2,\)",
    ),
    "NaN among mixing weights": (
        lambda: jaxgmm.predict(START._replace(weights=np.array([np.nan, 1.0])), X),
        ValueError,
        r"params.weights: .* sum to one, got \[nan  1.\]",
    ),
    **{
        f"proportions in {name}": (
            partial(call, START._replace(weights=np.array([0.33, 0.33]))),
            ValueError,
            r"params.weights: .* sum to one, got \[0.33 0.33\]: divide them by their sum",
        )
        for name, call in {
            "log_prob": lambda params: jaxgmm.log_prob(params, X),
            "score": lambda params: jaxgmm.score(params, X),
            "bic": lambda params: jaxgmm.bic(params, X),
            "sample": lambda params: jaxgmm.sample(KEY, params, 5),
            "to_sklearn": to_sklearn,
        }.items()
    },
    "covariances": (
        lambda: jaxgmm.sample(KEY, START._replace(covariances=np.ones((3, 2))), 5),
        ValueError,
        r"params.covariances: expected",
    ),
    "n": (lambda: jaxgmm.sample(KEY, START, -1), ValueError, r"n: expected at least 0, got -1"),
    "chunk": (lambda: jaxgmm.e_step(START, X, chunk_size=0), ValueError, r"chunk_size: expected at least 1, got 0"),
    "em start": (
        lambda: jaxgmm.em(START, X, family=jaxgmm.TIED),
        ValueError,
        r"params.covariances: .*\(1, 2, 2\) for the tied family",
    ),
    "em family": (lambda: jaxgmm.em(START, X, family="full"), TypeError, r"family: expected a Family .* got 'full'"),
    "em tol": (lambda: jaxgmm.em(START, X, tol=-1), ValueError, r"tol: expected a finite number >= 0"),
    "em object": (
        lambda: jaxgmm.em(START, np.array([["a", 1]], object)),
        TypeError,
        r"x: expected numbers, got .a. at",
    ),
    "m_step ridge": (
        lambda: jaxgmm.m_step(START, jaxgmm.e_step(START, X), ridge=-1.0),
        ValueError,
        r"ridge: expected a finite number >= 0",
    ),
    "responsibilities": (
        lambda: jaxgmm.from_responsibilities(X, np.ones((3, 2))),
        ValueError,
        r"responsibilities: expected shape \(30, k\)",
    ),
    "labels": (
        lambda: jaxgmm.seeding.from_labels(X, np.full(30, 2), 2),
        ValueError,
        r"labels: expected 0..1, got 2..2",
    ),
    "float labels": (lambda: jaxgmm.seeding.from_labels(X, np.ones(30), 2), TypeError, r"labels: expected integers"),
    "few labels": (lambda: jaxgmm.seeding.from_labels(X, [0, 1], 2), ValueError, r"labels: expected shape \(30,\)"),
    "criterion family": (
        lambda: jaxgmm.bic(START, X, family=jaxgmm.DIAG),
        ValueError,
        r"params.covariances: expected shape \(2, 2\)",
    ),
    "select nothing": (
        lambda: jaxgmm.select(KEY, X, np.int64(0)),
        ValueError,
        r"n_components: expected at least 1, got 0",
    ),
    "select one row": (
        lambda: jaxgmm.select(KEY, X[:1], [1], families=["EII"]),
        ValueError,
        r"x: expected at least 2 rows with weight, got 1",
    ),
    "select prior": (
        lambda: jaxgmm.select(KEY, X, [1], prior="weak"),
        TypeError,
        r"prior: expected a Prior \(see jaxgmm.default_prior\), got str",
    ),
    **{
        f"{name} {kind}": (lambda function=function, w=w: function(START, X, w), ValueError, message)
        for name, function in {"score": jaxgmm.score, "aic": jaxgmm.aic, "bic": jaxgmm.bic, "icl": jaxgmm.icl}.items()
        for kind, w, message in (
            ("negative", -np.ones(30), r"weights: expected finite values >= 0, got -1.0 at row 0"),
            ("zero", np.zeros(30), r"weights: expected at least one above zero, got all zero"),
        )
    },
    "get_family": (lambda: jaxgmm.get_family("VVZ"), ValueError, r"expected one of full.*VEV.*, got 'VVZ'"),
    "history of a batch": (
        lambda: jaxgmm.trimmed_history(
            jaxgmm.EMResult(START, np.ones(3), np.ones((3, 4)), np.ones(3, int), np.ones(3))
        ),
        ValueError,
        r"result: expected one fit, got a batch of shape \(3,\)",
    ),
    "describe": (lambda: jaxgmm.describe(17), ValueError, r"17 is not a valid Status"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_functions_refuse(name):
    call, error, message = BAD_CALLS[name]
    with pytest.raises(error, match=message):
        call()


NO_KEYS = {
    "NoneType": None,
    "Generator": np.random.default_rng(0),
    "bool": True,
    "float": 0.5,
    r"an array of shape \(3,\) and dtype key<fry>": jax.random.split(KEY, 3),
    r"an array of shape \(30, 2\) and dtype float32": X,
}


@pytest.mark.parametrize("came", NO_KEYS)
def test_what_is_no_key_is_refused(came):
    message = rf"key: expected a JAX random key, or a seed, got {came}: write jax\.random\.key\(0\)"
    with pytest.raises(TypeError, match=message):
        jaxgmm.sample(NO_KEYS[came], START, 3)


DRAWING = {
    "fit": lambda key: jaxgmm.fit(key, X, 2),
    "select": lambda key: jaxgmm.select(key, X, 2),
    "sample": lambda key: jaxgmm.sample(key, START, 3),
    "fit_classes": lambda key: jaxgmm.classification.fit_classes(key, X, np.arange(30) % 2),
    "cross_validated_error": lambda key: jaxgmm.classification.cross_validated_error(key, X, np.arange(30) % 2),
    "kmeans++": lambda key: jaxgmm.seeding.kmeans_plus_plus(key, jnp.asarray(X), jnp.ones(30), 2),
    "kmeans": lambda key: jaxgmm.seeding.kmeans(key, jnp.asarray(X), jnp.ones(30), 2),
    "random rows": lambda key: jaxgmm.seeding.random_rows(key, jnp.asarray(X), jnp.ones(30), 2),
    "at random": lambda key: jaxgmm.seeding.random_responsibilities(key, jnp.asarray(X), jnp.ones(30), 2),
}


@pytest.mark.parametrize("name", DRAWING)
def test_whatever_draws_asks_for_a_key(name):
    with pytest.raises(TypeError, match="key: expected a JAX random key, or a seed, got NoneType"):
        DRAWING[name](None)


@pytest.mark.parametrize("seed", [3, np.int64(3), np.uint8(3), jnp.int32(3)])
def test_a_whole_number_is_a_seed(seed):
    drawn, expected = (jaxgmm.sample(key, START, 3)[0] for key in (seed, jax.random.key(3)))
    np.testing.assert_array_equal(drawn, expected)


def test_raw_and_traced_keys_are_keys():
    expected = jaxgmm.sample(3, START, 3)[0]
    np.testing.assert_array_equal(jaxgmm.sample(jax.random.PRNGKey(3), START, 3)[0], expected)
    inside_jit = jax.jit(lambda seed: jaxgmm.sample(seed, START, 3)[0])(3)  # compiled otherwise, to other last digits
    np.testing.assert_allclose(inside_jit, expected, rtol=1e-5)


def test_a_result_stands_for_its_parameters():
    run = jaxgmm.EMResult(START, np.float32(-40.0), np.full(3, np.nan), np.int32(1), np.int32(0))
    for found in (run, jaxgmm.FitResult(run, np.array([-40.0]), np.array([0]))):
        np.testing.assert_array_equal(jaxgmm.predict(found, X), jaxgmm.predict(START, X))
        assert jaxgmm.score(found, X) == jaxgmm.score(START, X)
        with pytest.raises(ValueError, match="start: expected 3 components, got 2"):
            fit(start=found, n_components=3)
        with pytest.raises(ValueError, match=r"params.covariances: .*\(1, 2, 2\) for the tied family"):
            jaxgmm.em(found, X, family=jaxgmm.TIED)


def test_under_jit_shapes_still_raise_and_values_become_a_status():
    with pytest.raises(ValueError, match="x: expected 2 features"):
        jax.jit(jaxgmm.log_prob)(START, jnp.ones((3, 5)))
    result = jax.jit(lambda x: fit(x, n_init=2))(with_value(X, np.float32(np.nan)))
    assert result.best.status == jaxgmm.Status.NON_FINITE
