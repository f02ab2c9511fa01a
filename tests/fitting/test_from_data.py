import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import DATA, FAITHFUL, FAMILIES, IRIS, MCLUST_FITS, blobs, eps, mclust_id, oracle_log_prob

import jaxgmm
from jaxgmm import Status
from jaxgmm.fitting import starts
from jaxgmm.fitting.standard import order_of

KEY = jax.random.key(0)
FLOAT64_IS_SLOW = pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)], indirect=True
)


def gains(result):
    history = np.asarray(result.history, np.float64)
    return np.diff(history[~np.isnan(history)])


def assert_honest(result, x, ridge=1e-6):
    """Finite, monotone, consistent with its own parameters, and the best usable restart."""
    best, n = result.best, len(x)
    dtype = best.log_likelihood.dtype
    assert all(np.isfinite(leaf).all() for leaf in best.params)
    # Rounding in standardised units, where scales do not enter. A step loses no more than the penalty of a ridge can
    # fall by, half of ridge sum_j N_j tr Sigma_j^-1: the order of the ridge, or nd / 2 where covariances are all ridge.
    scale = abs(float(best.log_likelihood)) + 40 * x.size
    dip = x.size / 2 if best.status in (Status.DEGENERATE, Status.ISOLATED) else 10 * ridge * n
    assert (gains(best) >= -4 * eps(dtype) * scale - dip).all()
    usable = jaxgmm.is_usable(np.asarray(result.statuses))
    if usable.any():
        assert jaxgmm.is_usable(best.status)
    if usable.any() and best.status != Status.ISOLATED:  # restarts are compared without the excess of components
        assert float(best.log_likelihood) == pytest.approx(float(np.max(result.log_likelihoods[usable])))


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("full", -1130.2705),
        ("tied", -1140.1945),
        pytest.param("diag", -1147.8088, marks=pytest.mark.slow),
        pytest.param("spherical", -1709.5293, marks=pytest.mark.slow),
    ],
)
def test_float32_far_from_the_origin(family, expected):
    """Squares of such rows leave no digit for the variances; the reference is float64 EM on the same float32 rows."""
    result = jaxgmm.fit(KEY, (FAITHFUL + 1e4).astype(np.float32), 2, family=family)
    assert result.best.log_likelihood.dtype == jnp.float32
    assert float(result.best.log_likelihood) == pytest.approx(expected, abs=2e-3)


def test_two_rows_a_million_from_the_origin():
    """The variance is exact, although the square of a row, 1e12, is rounded to multiples of 65,536 in float32."""
    params = jaxgmm.fit(KEY, np.array([[1e6], [1e6 + 2]], np.float32), 1, ridge=0).best.params
    assert (float(params.means[0, 0]), float(params.covariances[0, 0, 0])) == (1000001, 1)


@FLOAT64_IS_SLOW
def test_the_global_maximum_of_old_faithful_tied(dtype):
    """Restarts reach the maximum with three components, not a plateau below it, so that BIC chooses three."""
    x = FAITHFUL.astype(dtype)
    bics = {}
    for k in (2, 3, 4):
        best = jaxgmm.fit(KEY, x, k, family="tied", ridge=0).best
        bics[k] = float(jaxgmm.bic(best.params, x, family=jaxgmm.TIED))
        if k == 3:
            assert float(best.log_likelihood) == pytest.approx(-1126.315928, abs=5e-3)
    assert bics[3] == pytest.approx(2314.296, abs=2e-2)
    assert min(bics, key=bics.get) == 3


@FLOAT64_IS_SLOW
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_units_and_origin_change_nothing_but_units(family, dtype):
    """Features are shifted and scaled, each by its own factor; by a common one if the family shares a variance."""
    scale = np.array([1e-4, 1e4, 1.0, 1e2]) if family.scale_equivariant else np.full(4, 1e-4)
    x = IRIS.astype(dtype)
    moved = ((IRIS + np.array([1.0, -2.0, 3.0, 0.0])) * scale).astype(dtype)
    a, b = (jaxgmm.fit(KEY, rows, 3, family=family).best for rows in (x, moved))
    shift = len(x) * np.log(scale).sum()
    tolerance = 1e-6 if dtype == np.float64 else 2e-2  # the rows themselves are rounded differently
    assert float(b.log_likelihood) + shift == pytest.approx(float(a.log_likelihood), abs=tolerance)
    np.testing.assert_array_equal(jaxgmm.predict(a.params, x), jaxgmm.predict(b.params, moved))


@FLOAT64_IS_SLOW
@pytest.mark.parametrize("k", [1, 2, 3])
def test_identical_rows(k, dtype):
    """Rows without any spread: the variances are the least there are, and nothing becomes NaN."""
    x = np.full((10, 2), 3.0, dtype)
    result = jaxgmm.fit(KEY, x, k)
    deviation = max(1e-9, 4 * eps(dtype))
    expected = -2 * np.log(deviation) - np.log(2 * np.pi)
    assert float(jaxgmm.score(result.best.params, x)) == pytest.approx(expected, abs=1e-4)
    np.testing.assert_array_equal(result.best.params.means, 3)
    assert result.best.status == Status.DEGENERATE


def test_weights_are_repetition_deletion_and_scale_free(dtype):
    """Integer weights are copies of rows, weight zero drops a row (here of NaN), a common factor changes nothing."""
    x, weights = FAITHFUL.astype(dtype), np.arange(len(FAITHFUL)) % 3
    dirty = np.where(weights[:, None] == 0, np.nan, x).astype(dtype)
    repeated = jaxgmm.fit(KEY, np.repeat(x, weights, axis=0), 2, tol=1e-12).best
    # The likelihood is flat at its top: parameters are known to the square root of what it resolves.
    tolerance = 1e-5 if dtype == np.float64 else 15 * np.sqrt(eps(dtype))
    for factor in (1, 7):
        weighted = jaxgmm.fit(KEY, dirty, 2, weights=factor * weights, tol=1e-12).best
        assert float(weighted.log_likelihood) == pytest.approx(factor * float(repeated.log_likelihood), rel=tolerance)
        for a, b in zip(weighted.params, repeated.params, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_row_order_changes_nothing(dtype):
    x = FAITHFUL.astype(dtype)
    shuffled = np.random.default_rng(0).permutation(x)
    a, b = (jaxgmm.fit(KEY, rows, 2).best for rows in (x, shuffled))
    assert float(a.log_likelihood) == pytest.approx(float(b.log_likelihood), rel=1e-5)
    np.testing.assert_allclose(a.params.means, b.params.means, rtol=1e-3)


def test_iris_in_units_of_ten_kilometres(dtype):
    """No limit on variances is absolute: these are of the order of 1e-9."""
    near, far = (jaxgmm.fit(KEY, x.astype(dtype), 3).best for x in (IRIS, IRIS * 1e-4))
    expected = float(near.log_likelihood) - IRIS.size * np.log(1e-4)
    assert float(far.log_likelihood) == pytest.approx(expected, abs=1e-5 if dtype == np.float64 else 5e-3)
    labels = [jaxgmm.predict(best.params, x.astype(dtype)) for best, x in ((near, IRIS), (far, IRIS * 1e-4))]
    np.testing.assert_array_equal(*labels)


def test_rejects_the_spurious_maximum_of_iris(dtype):
    """A component on equal petal widths sends the likelihood to infinity; the sane optimum is -306.861."""
    result = jaxgmm.fit(KEY, IRIS.astype(dtype), 3, family="diag", ridge=0, tol=1e-10)
    assert float(result.best.log_likelihood) == pytest.approx(-306.861, abs=2e-3)
    assert result.best.params.weights.min() > 0.29  # the spurious one has .14, .19, .67


# Faithful with 6 full components has dozens of maxima within a few nats: more restarts for those who want the top.
THREE = [fit for fit in MCLUST_FITS if fit[1] in FAMILIES and fit[2]["G"] == 3]
DIAGONAL = [pytest.param(*fit, marks=pytest.mark.slow) for fit in THREE if fit[1] in (jaxgmm.DIAG, jaxgmm.SPHERICAL)]
MATRICES = [fit for fit in THREE if fit[1] in (jaxgmm.FULL, jaxgmm.TIED)]


@pytest.mark.parametrize(("data", "family", "fit", "labels"), [*MATRICES, *DIAGONAL], ids=mclust_id)
def test_at_least_as_good_as_mclust(data, family, fit, labels, x64):
    result = jaxgmm.fit(KEY, DATA[data], fit["G"], family=family)
    assert_honest(result, DATA[data])
    assert result.best.status == Status.CONVERGED
    assert float(result.best.log_likelihood) > fit["loglik"] - 1e-3
    assert (result.best.params.weights * len(DATA[data])).min() > 5


def hard_data():
    two = blobs(300, k=2)
    outlier = np.r_[two, [[1e6, 1e6]]]
    return {
        "a million from the origin": (two + 1e6, 2, {}),
        "features scaled 1e-8 and 1e8": (two * [1e-8, 1e8], 2, {}),
        "constant column": (np.c_[two, np.full(300, 7.0)], 2, {}),
        "collinear columns": (np.c_[two, 2 * two[:, 0] + 1], 2, {}),
        "n barely above d": (blobs(6, 5, 1), 1, {}),
        "n barely above d, two components": (blobs(7, 5, 1), 2, {}),
        "more components than distinct points": (np.repeat(np.arange(3.0)[:, None], 20, axis=0), 5, {}),
        "a far outlier": (outlier, 2, {}),
        "a far outlier, one component more": (outlier, 3, {}),
        "200 components": (blobs(800, 2, 50), 200, {"n_init": 2, "max_iter": 20}),
        "200 features": (blobs(600, 200, 2), 2, {"n_init": 2, "max_iter": 20}),
    }


LIKE_OTHERS = ("collinear columns", "n barely above d", "a far outlier", "200 features")


@FLOAT64_IS_SLOW
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LIKE_OTHERS)) for n in hard_data()])
def test_hard_data_end_finite_monotone_and_truthful(name, dtype):
    x, k, options = hard_data()[name]
    x = x.astype(dtype)
    result = jaxgmm.fit(KEY, x, k, **options)
    assert_honest(result, x)
    collapses = {"n barely above d, two components", "more components than distinct points", "200 components"}
    collapses |= {"constant column", "collinear columns"}
    if name in collapses:  # every restart has a component without a spread of its own
        assert result.best.status == Status.DEGENERATE
    elif "outlier" in name:
        assert result.best.status == Status.ISOLATED
    else:
        assert result.best.status <= Status.MAX_ITER


def test_float32_finds_what_float64_finds_a_million_from_the_origin():
    x = (blobs(300, k=2) + 1e6).astype(np.float32)
    single = jaxgmm.fit(KEY, x, 2).best
    with jax.enable_x64(True):
        double = jaxgmm.fit(KEY, x.astype(np.float64), 2).best
    assert float(single.log_likelihood) == pytest.approx(float(double.log_likelihood), rel=1e-4)


def test_collinear_columns_without_a_ridge_fail_with_a_name(dtype):
    x = blobs(300, k=2).astype(dtype)
    result = jaxgmm.fit(KEY, np.c_[x, 2 * x[:, 0] + 1].astype(dtype), 2, ridge=0)
    assert (np.asarray(result.statuses) == Status.DEGENERATE).all()
    with pytest.raises(jaxgmm.FitError, match="features that others determine"):
        jaxgmm.raise_if_failed(result)


def test_a_start_replaces_seeding_and_keeps_its_order(dtype):
    x = FAITHFUL.astype(dtype)
    start = jaxgmm.seeding.from_labels(x, (x[:, 0] > 3).astype(int), 2)
    best = jaxgmm.fit(KEY, x, 2, start=start, ridge=0).best
    assert float(best.log_likelihood) == pytest.approx(-1130.26396, abs=1e-3)
    assert best.params.means[0, 0] < best.params.means[1, 0]  # as in the start, though the second is larger
    largest_first = jaxgmm.fit(KEY, x, 2).best.params.weights
    assert largest_first[0] > largest_first[1]


def test_result_is_scored_by_its_own_parameters(dtype):
    x = IRIS.astype(dtype)
    best = jaxgmm.fit(KEY, x, 3).best
    assert float(best.log_likelihood) == pytest.approx(
        oracle_log_prob(best.params, x).sum(), abs=500 * eps(dtype) * len(x)
    )
    assert float(best.history[0]) < float(best.log_likelihood)
    assert np.isnan(best.history[int(best.n_iter) + 1 :]).all()
    assert not np.isnan(best.history[: int(best.n_iter)]).any()


@pytest.mark.parametrize("max_iter", [0, 50, *(pytest.param(n, marks=pytest.mark.slow) for n in (10, 60))])
def test_max_iter_is_the_limit_across_both_phases(max_iter, x64):
    best = jaxgmm.fit(KEY, FAITHFUL, 4, n_init=4, tol=0.0, max_iter=max_iter).best
    assert (best.status, best.n_iter, best.history.shape) == (Status.MAX_ITER, max_iter, (max_iter,))


@FLOAT64_IS_SLOW
@pytest.mark.parametrize("name", ["kmeans_plus_plus", "kmeans", "random_rows", "random_responsibilities"])
def test_every_seeding_fits_and_gives_responsibilities(name, dtype):
    seeding = getattr(jaxgmm.seeding, name)
    x = FAITHFUL.astype(dtype)
    responsibilities = seeding(KEY, jnp.asarray(x), jnp.ones(len(x), dtype), 3)
    np.testing.assert_allclose(responsibilities.sum(1), 1, rtol=10 * eps(dtype))
    assert responsibilities.shape == (len(x), 3)
    assert (responsibilities.sum(0) > 0).all()
    best = jaxgmm.fit(KEY, x, 2, seeding=seeding, n_init=4).best
    assert float(best.log_likelihood) == pytest.approx(-1130.264, abs=5e-3)


def test_seeding_never_looks_at_rows_without_weight():
    x = jnp.asarray(np.r_[blobs(50), 1e3 + blobs(50)], jnp.float32)
    weights = jnp.asarray(np.r_[np.ones(50), np.zeros(50)], jnp.float32)
    for seeding in (jaxgmm.seeding.kmeans_plus_plus, jaxgmm.seeding.random_rows):
        responsibilities = seeding(KEY, x, weights, 3) * weights[:, None]
        assert (responsibilities.sum(0) > 0).all()


def test_kmeans_plus_plus_finds_separated_clusters():
    centres = 100 * np.random.default_rng(0).normal(size=(20, 2))
    labels = np.arange(1000) % 20
    x = jnp.asarray(centres[labels] + 0.01 * blobs(1000, k=1), jnp.float32)
    found = jnp.argmax(jaxgmm.seeding.kmeans_plus_plus(KEY, x, jnp.ones(1000), 20), 1)
    assert len({(int(a), int(b)) for a, b in zip(labels, found, strict=True)}) == 20


def test_sampled_rows_seed_large_data():
    x = np.tile(FAITHFUL, (40, 1)).astype(np.float32)
    assert len(x) > starts.SAMPLE_ROWS
    best = jaxgmm.fit(KEY, x, 2, n_init=4).best
    assert float(best.log_likelihood) / 40 == pytest.approx(-1130.264, abs=1e-2)


def test_composes_with_jit_and_vmap_over_data_sets(x64):
    data = np.stack([blobs(seed=seed) for seed in range(3)])
    keys = jax.random.split(KEY, 3)
    fit = jax.jit(jax.vmap(lambda key, x, weights: jaxgmm.fit(key, x, 3, weights=weights, n_init=4)))
    batch = fit(keys, data, jnp.ones(data.shape[:2]))
    for i in range(3):
        single = jaxgmm.fit(keys[i], data[i], 3, n_init=4)
        assert float(batch.best.log_likelihood[i]) == pytest.approx(float(single.best.log_likelihood), rel=1e-6)


def test_the_same_shapes_never_compile_twice():
    x = blobs(60).astype(np.float32)
    counted = chex.assert_max_traces(lambda *arguments: jaxgmm.seeding.random_rows(*arguments), n=1)
    for seed in range(3):
        jaxgmm.fit(jax.random.key(seed), x + np.float32(seed), 2, seeding=counted, ridge=1e-6 * seed, n_init=2)
    with pytest.raises(AssertionError, match="traced"):
        jaxgmm.fit(KEY, x[:50], 2, seeding=counted, n_init=2)


def test_the_ridge_is_relative_to_each_feature(x64):
    """One component is one model in every family of matrices; under a common scale a feature may be small."""
    x = blobs(150, 3, 1) * [1.0, 1e-3, 30.0]
    full, common_axes = (jaxgmm.fit(KEY, x, 1, family=name, n_init=1).best.log_likelihood for name in ("VVV", "EVE"))
    assert float(common_axes) == pytest.approx(float(full), abs=1e-3)


# --------------------------------------------------------------------------------------------------------------- order


def test_components_that_tie_come_in_the_same_order_from_everywhere():
    """On a lattice, where weights tie, and single features of means too, but for what one restart differs by."""
    rng = np.random.default_rng(0)
    weights = np.array([0.3, 0.15, 0.15, 0.15, 0.15, 0.1, 0.0, 0.0])
    means = np.array([[5.0, 5], [0, 0], [0, 1], [1, 0], [1, 1], [-9, -9], [3, 3], [-20, -20]])
    for _ in range(20):
        shuffled = np.append(rng.permutation(6), [6, 7])  # dead components stay where they are, at the end
        noise = rng.uniform(-1, 1, 8)
        there = jaxgmm.GMMParams(weights * (1 + 3e-4 * noise), means + 1e-4 * noise[:, None], np.ones((8, 1)))
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf[shuffled], jnp.float32), there)  # noqa: B023
        assert shuffled[np.asarray(order_of(params))].tolist() == list(range(8))
