"""Every ``Steps`` goes through one table of contract tests: a new model is a new row."""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import blobs, random_params

import jaxgmm
from jaxgmm import Status

N = 120


class Counts(NamedTuple):
    events: jax.Array
    exposure: jax.Array


class Rates(NamedTuple):
    weights: jax.Array
    rates: jax.Array


class RateStats(NamedTuple):
    log_likelihood: jax.Array
    counts: jax.Array
    events: jax.Array
    exposure: jax.Array


def expect_rates(params, rows, weights):
    means = rows.exposure[:, None] * params.rates[None]
    joint = jnp.log(params.weights)[None] + jax.scipy.stats.poisson.logpmf(rows.events[:, None], means)
    shares = weights[:, None] * jax.nn.softmax(joint, axis=1)
    log_likelihood = jnp.sum(weights * jax.nn.logsumexp(joint, axis=1))
    return RateStats(log_likelihood, shares.sum(0), rows.events @ shares, rows.exposure @ shares)


def maximize_rates(params, stats):
    return Rates(stats.counts / stats.counts.sum(), stats.events / stats.exposure)


POISSON = jaxgmm.Steps(prepare=lambda params: params, expect=expect_rates, maximize=maximize_rates)


def draw_rates(key, rows, weights, n_components):
    return Rates(jnp.ones(n_components) / n_components, 10 * jax.random.uniform(key, (n_components,)))


def poisson_problem():
    rng = np.random.default_rng(0)
    exposure = rng.uniform(1, 5, N)
    events = rng.poisson(exposure * np.array([0.5, 6.0])[rng.integers(2, size=N)]).astype(float)
    return (
        POISSON,
        Rates(jnp.array([0.5, 0.5]), jnp.array([1.0, 3.0])),
        Counts(jnp.asarray(events), jnp.asarray(exposure)),
    )


def gaussian_problem(family):
    ridge = jnp.asarray(1e-6)
    return jaxgmm.gaussian_steps(family, ridge), random_params(family), jaxgmm.Observations(jnp.asarray(blobs(N)))


def noisy_problem():
    steps, params, rows = gaussian_problem(jaxgmm.FULL)
    params = jaxgmm.with_noise(params, jaxgmm.box_noise(rows.x), 0.1)
    return jaxgmm.noisy_steps(steps), params, rows


def frozen_problem():
    steps, params, rows = gaussian_problem(jaxgmm.DIAG)
    frozen = lambda params, stats: steps.maximize(params, stats)._replace(means=params.means)  # noqa: E731
    return steps._replace(maximize=frozen, coordinates=None), params, rows


PROBLEMS = {
    "full": lambda: gaussian_problem(jaxgmm.FULL),
    "spherical": lambda: gaussian_problem(jaxgmm.SPHERICAL),
    "VEV": lambda: gaussian_problem(jaxgmm.get_family("VEV")),
    "noisy": noisy_problem,
    "frozen means": frozen_problem,
    "Poisson": poisson_problem,
}


SLOW = ("spherical", "VEV", "frozen means")  # the others have a row of each kind


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PROBLEMS])
def problem(request, x64):
    return PROBLEMS[request.param]()


def part(rows, index):
    return jax.tree.map(lambda leaf: leaf[index], rows)


def test_statistics_add_over_any_split(problem):
    steps, params, rows = problem
    prepared, weights = steps.prepare(params), jnp.asarray(np.random.default_rng(1).uniform(size=N))
    whole = steps.expect(prepared, rows, weights)
    halves = [steps.expect(prepared, part(rows, s), weights[s]) for s in (slice(None, 50), slice(50, None))]
    chex.assert_trees_all_close(jax.tree.map(jnp.add, *halves), whole, rtol=1e-9, atol=1e-9)


def test_the_objective_never_falls(problem):
    steps, params, rows = problem
    result = jaxgmm.em(params, rows, steps=steps, max_iter=60, tol=1e-8)
    history = jaxgmm.trimmed_history(result)
    first = 1 if steps.first_step_may_fall else 0  # the start may lie outside of the family
    assert (np.diff(history)[first:] > -1e-3).all()  # of the order of the ridge
    assert jaxgmm.is_usable(result.status)
    stats = steps.expect(steps.prepare(result.params), rows, jnp.ones(N))
    assert float(result.log_likelihood) == pytest.approx(float(stats.log_likelihood), rel=1e-9)


def test_chunks_devices_lanes_and_batches_change_nothing(problem):
    steps, params, rows = problem
    options = {"steps": steps, "max_iter": 6, "tol": 0.0}  # before gains are within rounding
    whole = jaxgmm.em(params, rows, **options)
    in_chunks = jaxgmm.em(params, rows, chunk_size=32, **options)
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        spread = jaxgmm.em(params, jax.device_put(rows, jax.P("rows")), chunk_size=16, **options)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), params)
    in_lanes = jaxgmm.em_batch(stacked, rows, n_lanes=2, **options)
    by_vmap = jax.vmap(lambda start: jaxgmm.em(start, rows, **options))(stacked)
    for other in (in_chunks, spread, part(in_lanes, 2), part(by_vmap, 1)):
        assert (other.n_iter, other.status) == (whole.n_iter, whole.status)
        chex.assert_trees_all_close(other.params, whole.params, rtol=1e-7, atol=1e-9)


def test_rows_on_a_mesh_of_explicit_axes():
    """What jax.make_mesh makes by default: its rows are taken, but a program cannot run under it."""
    x, params = blobs(N).astype(np.float32), random_params(jaxgmm.FULL, dtype=np.float32)
    mesh = jax.make_mesh((4,), ("rows",))
    rows = jaxgmm.Observations(jax.device_put(x, jax.NamedSharding(mesh, jax.P("rows"))))
    run = partial(jaxgmm.em, params, steps=jaxgmm.gaussian_steps(), max_iter=3)
    np.testing.assert_allclose(run(rows).log_likelihood, run(x).log_likelihood, rtol=1e-5)
    for steps in (None, jaxgmm.gaussian_steps()):
        with jax.set_mesh(mesh), pytest.raises(ValueError, match=r"expected a mesh of automatic axes.*AxisType.Auto"):
            jaxgmm.em(params, rows.x, steps=steps)


def test_weight_zero_is_deletion_even_of_nan(problem):
    steps, params, rows = problem
    kept = np.arange(N) % 3 > 0
    is_poisson = isinstance(rows, Counts)  # a model of the user's own sees to NaN by itself
    dirty = rows if is_poisson else jax.tree.map(lambda leaf: jnp.where(kept[:, None], leaf, jnp.nan), rows)
    weighted = jaxgmm.em(params, dirty, kept.astype(float), steps=steps, max_iter=5, tol=0.0)
    deleted = jaxgmm.em(params, part(rows, np.flatnonzero(kept)), steps=steps, max_iter=5, tol=0.0)
    chex.assert_trees_all_close(weighted.params, deleted.params, rtol=1e-8, atol=1e-10)


def test_restarts_of_a_model_of_ones_own():
    steps, _, rows = poisson_problem()
    result = jaxgmm.fit(jax.random.key(0), rows, 2, steps=steps, seeding=draw_rates, n_init=6)
    assert result.statuses.shape == (6,)
    assert result.best.status == Status.CONVERGED
    np.testing.assert_allclose(np.sort(result.best.params.rates), [0.5, 6.0], rtol=0.2)
    again = jaxgmm.fit(jax.random.key(0), rows, 2, steps=steps, start=result.best.params)
    assert float(again.best.log_likelihood) >= float(result.best.log_likelihood) - 1e-3
    keys = jax.random.split(jax.random.key(1), 3)
    many = jax.vmap(lambda key: jaxgmm.fit(key, rows, 2, steps=steps, seeding=draw_rates, n_init=3))(keys)
    np.testing.assert_allclose(many.best.log_likelihood, float(result.best.log_likelihood), atol=0.05)


def test_steps_take_plain_arrays_too():
    params, x = random_params(jaxgmm.FULL, dtype=np.float32), blobs(N).astype(np.float32)
    plain = jaxgmm.em(params, x, steps=jaxgmm.gaussian_steps(), max_iter=5)
    np.testing.assert_allclose(plain.log_likelihood, jaxgmm.em(params, x, max_iter=5).log_likelihood, rtol=1e-5)


def test_noise_goes_beside_steps_of_plain_functions():
    params, x = jaxgmm.with_noise(GMM, jaxgmm.box_noise(X)), X
    plain = jaxgmm.gaussian_steps()
    plain = plain._replace(expect=lambda *arguments: jaxgmm.gaussian_steps().expect(*arguments))
    result = jaxgmm.em(params, x, steps=jaxgmm.noisy_steps(plain), max_iter=3)
    np.testing.assert_allclose(result.log_likelihood, jaxgmm.em(params, x, max_iter=3).log_likelihood, rtol=1e-5)


@pytest.mark.parametrize("name", ["ridge", pytest.param("tol", marks=pytest.mark.slow)])
def test_under_jit_an_option_out_of_range_becomes_a_status(name):
    x, params = blobs(30).astype(np.float32), random_params(jaxgmm.FULL, dtype=np.float32)
    key = jax.random.key(0)
    by_em = jax.jit(lambda value: jaxgmm.em(params, x, max_iter=3, **{name: value}))
    by_fit = jax.jit(lambda value: jaxgmm.fit(key, x, 2, n_init=2, **{name: value}).best)
    for run in (by_em, by_fit):
        assert [int(run(value).status) for value in (-1.0, np.nan)] == [Status.NON_FINITE] * 2
        assert jaxgmm.is_usable(run(1e-3).status)


def test_unusable_parameters_have_an_unusable_status():
    x, zeros = blobs(30).astype(np.float32), np.zeros(30, np.float32)
    params = random_params(jaxgmm.FULL, dtype=np.float32)
    noisy = jaxgmm.with_noise(params, jaxgmm.box_noise(x))
    unweighted = jaxgmm.em(noisy, x, zeros)
    start = (jnp.ones(1), jnp.ones(1), jnp.ones(1, int))  # the log-likelihood never looks at the second

    def maximize(params, stats):
        return (jnp.ones(1), jnp.full(1, jnp.nan), params[2])

    def expect(params, x, weights):
        return jaxgmm.Stats(-jnp.sum(weights * x), weights.sum(), weights.sum(), weights.sum())

    steps = jaxgmm.Steps(prepare=lambda params: params, expect=expect, maximize=maximize)
    made_nan = jaxgmm.em(start, jnp.ones(30), steps=steps)
    no_weight = jaxgmm.em(start, jnp.ones(30), zeros, steps=steps, max_iter=0)
    for result, params in ((unweighted, noisy), (made_nan, start), (no_weight, start)):
        assert result.status == Status.NON_FINITE
        chex.assert_trees_all_equal(result.params, params)


X = blobs(30).astype(np.float32)
GMM = random_params(jaxgmm.FULL, dtype=np.float32)
ONE_FEATURE = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)))
M_STEP = lambda params, stats: params  # noqa: E731
E_STEP = lambda params, x, weights: jaxgmm.e_step(params, x, weights)  # noqa: E731


def fit_with_penalty(strength):
    steps = jaxgmm.gaussian_steps()._replace(log_prior=lambda params: -strength * (params.means**2).sum())
    return jaxgmm.fit(jax.random.key(0), X, 3, steps=steps, start=GMM)


REFUSED = {
    "steps and family": (
        lambda: jaxgmm.em(GMM, X, steps=POISSON, family=jaxgmm.FULL),
        "steps: expected without family",
    ),
    "steps and ridge": (lambda: jaxgmm.em(GMM, X, steps=POISSON, ridge=0.0), "steps: expected without ridge"),
    "steps and e_step": (lambda: jaxgmm.em(GMM, X, steps=POISSON, e_step=E_STEP), "steps: expected without e_step"),
    "m_step and ridge": (lambda: jaxgmm.em(GMM, X, m_step=M_STEP, ridge=1.0), "m_step: expected without ridge"),
    "m_step and family": (lambda: jaxgmm.em(GMM, X, m_step=M_STEP, family=jaxgmm.FULL), "m_step: .* without family"),
    "e_step and chunks": (
        lambda: jaxgmm.em(GMM, X, e_step=E_STEP, chunk_size=9),
        "e_step: .* without chunk_size",
    ),
    "fit, steps and prior": (
        lambda: jaxgmm.fit(jax.random.key(0), X, 2, steps=POISSON, prior=jaxgmm.default_prior),
        "steps: expected without prior",
    ),
    "fit without seeding": (lambda: jaxgmm.fit(jax.random.key(0), X, 2, steps=POISSON), "seeding: expected a function"),
    "ragged rows": (lambda: jaxgmm.em(GMM, (X, X[:3]), steps=POISSON), "x: expected arrays with the rows in front"),
    "no rows": (lambda: jaxgmm.em(GMM, X[:0], steps=POISSON), "x: expected at least one row, got none"),
    "no coordinates": (
        lambda: jaxgmm.em(*poisson_problem()[1:], steps=POISSON, accelerate=jaxgmm.acceleration.momentum()),
        "accelerate: expected None for steps without coordinates",
    ),
    "start of another family": (
        lambda: jaxgmm.em(GMM, X, steps=jaxgmm.gaussian_steps(jaxgmm.DIAG)),
        r"params.covariances: expected shape \(3, 2\) for the diag family, got \(3, 2, 2\)",
    ),
    "noisy start of another family": (
        lambda: jaxgmm.em(
            jaxgmm.with_noise(GMM, jaxgmm.box_noise(X)), X, steps=jaxgmm.noisy_steps(jaxgmm.gaussian_steps(jaxgmm.DIAG))
        ),
        r"params.covariances: expected shape \(3, 2\) for the diag family",
    ),
    "another number of features": (
        lambda: jaxgmm.em(ONE_FEATURE, X, steps=jaxgmm.gaussian_steps()),
        r"x: expected 1 features to go with params, got shape \(30, 2\)",
    ),
    "another number of features beside noise": (
        lambda: jaxgmm.em(
            jaxgmm.with_noise(ONE_FEATURE, jaxgmm.box_noise(X[:, 0])),
            X,
            steps=jaxgmm.noisy_steps(jaxgmm.gaussian_steps()),
        ),
        r"x: expected 1 features to go with params, got shape \(30, 2\)",
    ),
    "negative ridge": (lambda: jaxgmm.gaussian_steps(ridge=-1.0), "ridge: expected a finite number >= 0, got -1.0"),
    "empty chunks": (lambda: jaxgmm.gaussian_steps(chunk_size=0), "chunk_size: expected at least 1, got 0"),
    "letters": (lambda: jaxgmm.gaussian_steps("EEE"), "family: expected a Family .*get_family.*got 'EEE'"),
    "prior": (lambda: jaxgmm.gaussian_steps(prior=3), "prior: expected a Prior .*, got int"),
    "prior of other features": (
        lambda: jaxgmm.em(GMM, X, steps=jaxgmm.gaussian_steps(prior=jaxgmm.default_prior(X[:, 0], 3))),
        r"prior.mean: expected shape \(2,\) to go with 2 features, got \(1,\)",
    ),
    "closure over a lane": (
        lambda: jax.vmap(fit_with_penalty)(jnp.arange(2.0)),
        "steps.log_prior: expected arrays that vmap maps as arguments of jax.tree_util.Partial",
    ),
    "concentration": (
        lambda: jaxgmm.noisy_steps(jaxgmm.gaussian_steps(), 0.01),
        "concentration: expected at least 1, got 0.01",
    ),
    "noise without steps": (lambda: jaxgmm.noisy_steps(3), "steps: expected jaxgmm.Steps, got int"),
    "M-step of another structure": (
        lambda: jaxgmm.em(GMM, X, m_step=lambda params, stats: tuple(params[:2])),
        r"the M-step: expected parameters such as the start, GMMParams\(weights='float32\[3\]', .*got \('float32\[3\]'",
    ),
    "M-step of another shape": (
        lambda: jaxgmm.em(GMM, X, m_step=lambda params, stats: params._replace(means=stats.first[0])),
        r"the M-step: .* means='float32\[3,2\]', .*, got .* means='float32\[2\]'",
    ),
    "M-step of another dtype": (
        lambda: jaxgmm.em(GMM, X, m_step=lambda params, stats: params._replace(means=params.means > 0)),
        r"the M-step: .*, got .*means='bool\[3,2\]'",
    ),
    "no M-step": (lambda: jaxgmm.em(GMM, X, steps=POISSON._replace(maximize=None)), "steps.maximize: .* got None"),
    "accelerator that was not called": (
        lambda: jaxgmm.em(GMM, X, accelerate=jaxgmm.acceleration.momentum),
        r"accelerate: expected an Accelerator such as jaxgmm.acceleration.momentum\(\), got",
    ),
    "axes": (lambda: jaxgmm.em_batch(GMM, X, in_axes=(1, None, None)), r"in_axes: expected 0 or None .* got \(1,"),
    "no steps": (lambda: jaxgmm.em(GMM, X, steps=3), "steps: expected jaxgmm.Steps, got int"),
    "no function": (lambda: jaxgmm.em(GMM, X, steps=POISSON._replace(expect=3)), "steps.expect: expected a function"),
    "no log-likelihood": (
        lambda: jaxgmm.em(GMM, X, steps=POISSON._replace(expect=lambda *arguments: arguments)),
        "steps.expect: expected statistics with a field log_likelihood, got tuple",
    ),
    "integers": (lambda: jaxgmm.em(jnp.array(0), X, steps=POISSON), "params: expected at least one array of real"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call()
