"""Other libraries' distributions agree with ours, and gradients reach the maximum that EM does."""

import importlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import FAITHFUL, FAMILIES, blobs, eps, random_params

import jaxgmm
from jaxgmm import interop


@pytest.fixture
def as_it_comes():
    """JAX's own rules of promotion: other libraries promise no stricter ones."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def imported(name):
    """A library that may be missing; what it warns of while it loads is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.partition(".")[0])
        return importlib.import_module(name)


LIBRARIES = {
    interop.to_numpyro: "numpyro.distributions",
    interop.to_distrax: "distrax",
    interop.to_tfp: "tensorflow_probability.substrates.jax.distributions",
}


@pytest.fixture(params=LIBRARIES, ids=lambda convert: convert.__name__)
def convert(request, as_it_comes):
    imported(LIBRARIES[request.param])
    return request.param


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_log_prob_is_the_same_elsewhere(convert, family, x64):
    params, x = random_params(family), jnp.asarray(blobs(50))
    theirs = convert(params)
    assert theirs.event_shape == (2,)
    np.testing.assert_allclose(theirs.log_prob(x), jaxgmm.log_prob(params, x), rtol=0, atol=1e-12)


def test_a_component_of_weight_zero_is_none_elsewhere(convert, x64):
    alive, x = random_params(jaxgmm.FULL), jnp.asarray(blobs(50))
    dead = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:1]]), alive)
    dead = dead._replace(weights=dead.weights.at[-1].set(0))
    np.testing.assert_allclose(convert(dead).log_prob(x), jaxgmm.log_prob(alive, x), rtol=0, atol=1e-12)


def test_a_noise_component_is_refused(convert):
    noisy = jaxgmm.with_noise(random_params(jaxgmm.FULL, dtype=np.float32), jaxgmm.box_noise(blobs()))
    with pytest.raises(TypeError, match="params: expected GMMParams, got NoisyGMMParams"):
        convert(noisy)


def test_traced_parameters_and_gradients_pass_through_numpyro(x64, as_it_comes):
    imported("numpyro.distributions")
    params, x = random_params(jaxgmm.FULL), jnp.asarray(blobs(20))
    theirs = jax.jit(jax.grad(lambda params: interop.to_numpyro(params).log_prob(x).sum()))(params)
    ours = jax.grad(lambda params: jaxgmm.log_prob(params, x).sum())(params)
    np.testing.assert_allclose(theirs.means, ours.means, rtol=1e-10)
    np.testing.assert_allclose(theirs.covariances, ours.covariances, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_unconstrained_coordinates_there_and_back(family, dtype):
    params = random_params(family, dtype=dtype)
    back = interop.from_unconstrained(interop.to_unconstrained(params))
    for leaf, given in zip(back, params, strict=True):
        assert leaf.dtype == dtype
        np.testing.assert_allclose(leaf, given, rtol=50 * eps(dtype), atol=20 * eps(dtype))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_any_numbers_are_a_mixture(family, dtype):
    rng = np.random.default_rng(0)
    free = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), dtype), random_params(family, dtype=dtype)
    )
    params = interop.from_unconstrained(free)
    assert float(params.weights.sum()) == pytest.approx(1, abs=10 * eps(dtype))
    eigenvalues = np.linalg.eigvalsh(params.covariances) if params.covariances.ndim == 3 else params.covariances
    assert (eigenvalues > 0).all()


def test_a_dead_component_stays_dead_and_makes_no_nan(x64):
    params = random_params(jaxgmm.FULL)._replace(weights=jnp.array([0.25, 0.75, 0.0]))
    free = interop.to_unconstrained(params)
    gradient = jax.grad(lambda free: jaxgmm.log_prob(interop.from_unconstrained(free), blobs(20)).sum())(free)
    assert all(np.isfinite(leaf).all() for leaf in gradient)
    assert interop.from_unconstrained(free).weights[2] == 0


def test_optax_climbs_to_the_maximum_of_em(x64, as_it_comes):
    x = (FAITHFUL - FAITHFUL.mean(0)) / FAITHFUL.std(0)
    start = jaxgmm.seeding.from_labels(x, (x[:, 0] > 0).astype(int), 2)
    optimiser = optax.adam(0.03)

    def loss(free):
        return -jaxgmm.score(interop.from_unconstrained(free), x)

    def step(carried, _):
        free, state = carried
        updates, state = optimiser.update(jax.grad(loss)(free), state)
        return (optax.apply_updates(free, updates), state), None

    free = interop.to_unconstrained(start)
    (free, _), _ = jax.lax.scan(step, (free, optimiser.init(free)), length=400)
    assert loss(interop.to_unconstrained(start)) - loss(free) > 1e-3
    best = jaxgmm.em(start, x).log_likelihood / len(x)
    assert float(-loss(free)) == pytest.approx(float(best), abs=1e-5)


def test_sits_in_a_module_as_any_pytree():
    equinox = imported("equinox")

    class Model(equinox.Module):
        mixture: jaxgmm.GMMParams
        scale: jax.Array

    model = Model(random_params(jaxgmm.DIAG, dtype=np.float32), jnp.ones(2))
    x = blobs(20).astype(np.float32)
    gradient = equinox.filter_grad(lambda m: jaxgmm.score(m.mixture, x * m.scale[None]))(model)
    assert isinstance(gradient.mixture, jaxgmm.GMMParams)
    assert float(abs(gradient.mixture.means).max()) > 0


def test_is_a_parameter_of_flax():
    nnx = imported("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, mixture):
            self.mixture = nnx.Param(mixture)

    model, x = Model(random_params(jaxgmm.DIAG, dtype=np.float32)), blobs(20).astype(np.float32)
    gradient = nnx.grad(lambda model: jaxgmm.score(model.mixture.get_value(), x))(model)
    assert float(abs(gradient.mixture.get_value().means).max()) > 0
