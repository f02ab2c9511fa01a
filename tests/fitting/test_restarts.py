import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import blobs

import jaxgmm
from jaxgmm import Status
from jaxgmm.acceleration import momentum
from jaxgmm.fitting.restarts import Rules, successive_halving
from jaxgmm.fitting.spurious import lies_on_few_rows
from jaxgmm.fitting.standard import gaussian_task, standard_problem
from jaxgmm.loop.batching import axes_of

X = blobs(120)
FAMILY = jaxgmm.DIAG
RULES = Rules(first=5, keep=2, n_lanes=4)
ALL = jnp.ones(3, bool)


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        x, weights = jnp.asarray(X), jnp.ones(len(X))
        return standard_problem(x, weights, jnp.asarray(1e-6), None, FAMILY.structure(3, 2), FAMILY.scale_equivariant)


@pytest.fixture(scope="module")
def starts(problem):
    """Six starts of three components and six of two, in room for three; the first of each is broken."""
    rng = np.random.default_rng(0)

    def start(k):
        labels = rng.integers(k, size=len(X))
        return jaxgmm.seeding.from_labels(problem.observations.x, labels, 3, family=FAMILY)

    with jax.enable_x64(True):
        models = [[start(k) for _ in range(6)] for k in (3, 2)]
        stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *model) for model in models]
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked)
        return both._replace(means=both.means.at[:, 0].set(jnp.nan))


@pytest.fixture(scope="module")
def run(problem):
    def halve(starts, max_iter):
        task = gaussian_task(problem, FAMILY, jnp.asarray(1e-8), 120)
        return successive_halving(task, axes_of(task, None), starts, max_iter, RULES, momentum())

    return jax.jit(halve, static_argnums=1)


def test_the_best_starts_run_to_the_end_and_the_best_of_them_wins(run, starts, problem, x64):
    result = run(starts, 500)
    assert (result.statuses[:, 0] == Status.NON_FINITE).all()
    assert result.best.status.tolist() == [Status.CONVERGED, Status.CONVERGED]
    for model in range(2):
        statuses, reached = np.asarray(result.statuses[model]), np.asarray(result.log_likelihoods[model])
        assert 1 <= (statuses == Status.CONVERGED).sum() <= 3  # half of six are resumed, and one to the end
        assert np.nanargmax(reached) in np.flatnonzero(statuses == Status.CONVERGED)
        assert float(result.best.log_likelihood[model]) == np.nanmax(reached)
        best = jax.tree.map(lambda leaf, model=model: leaf[model], result.best.params)
        rows = problem.observations.x
        assert float(jaxgmm.log_prob(best, rows).sum()) == pytest.approx(np.nanmax(reached), rel=1e-10)
        again = jaxgmm.em(best, rows, family=FAMILY, ridge=problem.ridge, tol=1e-10, max_iter=500)
        assert float(again.log_likelihood) == pytest.approx(np.nanmax(reached), abs=1e-3)  # nothing is left to gain
    assert result.best.params.weights[1, 2] == 0


@pytest.mark.parametrize("max_iter", [0, 7])
def test_no_start_goes_beyond_max_iter(max_iter, run, starts, x64):
    result = run(starts, max_iter)
    assert (result.best.n_iter <= max_iter).all()
    assert np.isfinite(result.best.log_likelihood).all()
    assert set(np.unique(result.statuses)) <= {Status.CONVERGED, Status.MAX_ITER, Status.NON_FINITE}


def test_a_handful_of_nearly_collinear_rows_is_spurious(x64):
    thin = np.diag([1.0, 1e-3])
    for share, covariance, expected in [(0.03, thin, True), (0.3, thin, False), (0.03, np.eye(2) / 100, False)]:
        params = jaxgmm.GMMParams(
            jnp.asarray([1 - share, share]), jnp.zeros((2, 2)), jnp.asarray(np.stack([np.eye(2), covariance]))
        )
        assert bool(lies_on_few_rows(params, jnp.asarray(272.0), ALL[:2]).any()) is expected
    shared = params._replace(covariances=params.covariances[1:])
    assert not lies_on_few_rows(shared, jnp.asarray(272.0), ALL[:2]).any()


def test_beside_a_component_of_large_volume_others_are_not_thin(x64):
    """Standard deviations of three groups of patients' hormones: the second feature's differ fiftyfold."""
    deviations = jnp.asarray([[2.2, 0.27], [0.5, 1.8], [0.5, 15.0]])
    params = jaxgmm.GMMParams(jnp.asarray([0.03, 0.67, 0.3]), jnp.zeros((3, 2)), deviations**2)
    assert not lies_on_few_rows(params, jnp.asarray(215.0), ALL).any()
    thin = params._replace(covariances=params.covariances.at[0, 1].set(0.01**2))
    np.testing.assert_array_equal(lies_on_few_rows(thin, jnp.asarray(215.0), ALL), [True, False, False])
