"""Classification: against Bayes' rule in numpy, against scikit-learn, and family against family."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    ALL_FAMILIES,
    FAMILIES,
    IRIS,
    eps,
    family_id,
    matrices,
    oracle_log_prob,
    oracle_m_step,
    oracle_responsibilities,
    random_params,
)
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB

import jaxgmm
from jaxgmm import FitError, GMMParams
from jaxgmm.fitting.class_validation import _folds, cross_validated_error
from jaxgmm.fitting.classification import (
    Classifier,
    class_probabilities,
    fit_classes,
    predict_class,
)

KEY = jax.random.key(0)
pytestmark = pytest.mark.slow
SPECIES = np.repeat([0, 1, 2], 50)
COUNTS = np.array([30, 70, 50])
LABELS = np.repeat([0, 1, 2], COUNTS)


def rows(seed=0):
    """Three overlapping classes of unequal sizes, volumes, shapes and orientations."""
    rng = np.random.default_rng(seed)
    spread = np.eye(2) + rng.normal(size=(3, 2, 2)) / 2
    return 1.5 * rng.normal(size=(3, 2))[LABELS] + np.einsum("nde,ne->nd", spread[LABELS], rng.normal(size=(150, 2)))


X = rows()


def oracle(family, x, labels, weights):
    """The maximum-likelihood Gaussian of every class, as one mixture whose components are the classes."""
    return GMMParams(*oracle_m_step(family, x, np.eye(labels.max() + 1)[labels] * weights[:, None]))


def as_mixture(classifier):
    """A Gaussian per class as one mixture, its covariances as matrices."""
    means = np.concatenate([mixture.means for mixture in classifier.mixtures])
    return GMMParams(classifier.priors, means, np.concatenate([matrices(mixture) for mixture in classifier.mixtures]))


def complete_data_log_likelihood(classifier, x, labels):
    scores = np.stack([oracle_log_prob(mixture, x) for mixture in classifier.mixtures], axis=1)
    return (scores + np.log(classifier.priors))[np.arange(len(x)), labels].sum()


@functools.cache
def fitted(family):
    with jax.enable_x64(True):
        return fit_classes(KEY, X, LABELS, family=family, ridge=0.0, tol=1e-13)


every_family = pytest.mark.parametrize("family", ALL_FAMILIES, ids=family_id)


@pytest.mark.parametrize("family", FAMILIES, ids=family_id)
def test_is_bayes_rule_with_maximum_likelihood_gaussians(family, x64):
    expected = oracle(family, X, LABELS, np.ones(150))
    for ours, theirs in zip(as_mixture(fitted(family)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(class_probabilities(fitted(family), X), oracle_responsibilities(expected, X), atol=1e-11)


@pytest.mark.parametrize(
    ("family", "rival"),
    [(jaxgmm.TIED, LinearDiscriminantAnalysis(solver="lsqr")), (jaxgmm.DIAG, GaussianNB(var_smoothing=0))],
    ids=["LDA", "naive Bayes"],
)
def test_agrees_with_scikit_learn(family, rival, x64):
    rival.fit(X, LABELS)
    np.testing.assert_allclose(class_probabilities(fitted(family), X), rival.predict_proba(X), atol=1e-11)
    np.testing.assert_array_equal(predict_class(fitted(family), X), rival.predict(X))


@every_family
def test_classes_share_what_the_family_shares(family, x64):
    result = as_mixture(fitted(family)).covariances
    volumes = np.exp(np.linalg.slogdet(result)[1] / 2)
    values = np.linalg.eigvalsh(result) / volumes[:, None]
    volume, shape, orientation = family.letters
    assert (np.ptp(volumes) < 1e-9) == (volume == "E")
    assert (np.ptp(values, axis=0).max() < 1e-9) == (shape in "EI")
    assert (abs(result[0] @ result[1] - result[1] @ result[0]).max() < 1e-9) == (orientation in "EI")


@every_family
def test_is_no_less_likely_than_any_family_inside_it(family, x64):
    def inside(other):
        return all("IEV".index(a) <= "IEV".index(b) for a, b in zip(other.letters, family.letters, strict=True))

    reached = complete_data_log_likelihood(fitted(family), X, LABELS)
    for other in filter(inside, ALL_FAMILIES):
        assert reached > complete_data_log_likelihood(fitted(other), X, LABELS) - 1e-8


def test_float32_agrees_with_float64():
    family = jaxgmm.get_family("EVE")
    with jax.enable_x64(False):
        single = fit_classes(KEY, X.astype(np.float32), LABELS, family=family)
        assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {np.dtype("float32")}
        probabilities = class_probabilities(single, X.astype(np.float32))
    np.testing.assert_allclose(probabilities, class_probabilities(fitted(family), X), atol=1e-3)


def test_units_and_origin_change_nothing(x64):
    unit, origin = np.array([1e-3, 1e4]), np.array([-50.0, 1e6])
    moved = fit_classes(KEY, X * unit + origin, LABELS, family="diag")
    expected = class_probabilities(fit_classes(KEY, X, LABELS, family="diag"), X)
    np.testing.assert_allclose(class_probabilities(moved, X * unit + origin), expected, atol=1e-9)


def test_weights_are_repetition_deletion_and_scale_free(x64):
    weights = np.arange(150) % 3
    dirty = np.where(weights[:, None] == 0, np.nan, X)
    fit = functools.partial(fit_classes, KEY, family="VEI", tol=1e-14)
    repeated = fit(np.repeat(X, weights, axis=0), np.repeat(LABELS, weights))
    for scale in (1, 7.0):
        weighted = fit(dirty, LABELS, weights=scale * weights)
        for ours, theirs in zip(jax.tree.leaves(weighted), jax.tree.leaves(repeated), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_order_of_rows_and_names_of_classes_change_nothing(x64):
    order, renamed = np.random.default_rng(0).permutation(150), np.array([2, 0, 1])
    expected = class_probabilities(fitted(jaxgmm.DIAG), X)
    other = fit_classes(KEY, X[order], renamed[LABELS[order]], family="diag", ridge=0.0)
    np.testing.assert_allclose(class_probabilities(other, X)[:, renamed], expected, atol=1e-11)


def test_given_priors_replace_the_shares(x64):
    priors = np.array([0.5, 0.5, 0.0])
    classifier = fit_classes(KEY, X, LABELS, family="diag", priors=priors, ridge=0.0)
    expected = np.asarray(class_probabilities(fitted(jaxgmm.DIAG), X)) / COUNTS * priors
    np.testing.assert_allclose(
        class_probabilities(classifier, X), expected / expected.sum(1, keepdims=True), atol=1e-11
    )


MIXED = [(jaxgmm.FULL, 2), (jaxgmm.DIAG, 3), (jaxgmm.TIED, 2), (jaxgmm.SPHERICAL, 1)]


def mixed(dtype=np.float64):
    """Classes of different families and numbers of components."""
    mixtures = (random_params(family, k, d=2, seed=j, dtype=dtype) for j, (family, k) in enumerate(MIXED))
    return Classifier(jnp.asarray([0.1, 0.2, 0.3, 0.4], dtype), tuple(mixtures))


def test_probabilities_of_any_mixtures_follow_bayes_rule(dtype):
    classifier = mixed(dtype)
    joint = np.stack([oracle_log_prob(mixture, X) for mixture in classifier.mixtures], axis=1)
    joint = np.exp(joint) * np.asarray(classifier.priors, np.float64)
    probabilities = class_probabilities(classifier, X.astype(dtype))
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities, joint / joint.sum(1, keepdims=True), atol=500 * eps(dtype))
    np.testing.assert_array_equal(predict_class(classifier, X.astype(dtype)), joint.argmax(1))


def test_a_row_that_says_nothing_gets_the_priors_and_nan_stays_nan(dtype):
    classifier = mixed(dtype)
    x = np.array([[np.finfo(dtype).max / 1e6, 0], [np.nan, 0], [0, 0]], dtype)
    probabilities = np.asarray(class_probabilities(classifier, x))
    np.testing.assert_array_equal(probabilities[0], classifier.priors)
    assert np.isnan(probabilities[1]).all()
    assert np.isfinite(probabilities[2]).all()
    assert predict_class(classifier, x).tolist()[:2] == [3, -1]


def test_composes_with_jit_vmap_and_grad(x64):
    priors, mixtures = mixed()
    classifier = Classifier(priors[:2], mixtures[:2])
    expected = class_probabilities(classifier, X)
    batches = jax.jit(jax.vmap(class_probabilities, in_axes=(None, 0)))(classifier, X.reshape(3, 50, 2))
    np.testing.assert_allclose(batches.reshape(150, -1), expected, rtol=1e-10)

    @jax.jit
    def certainty(step, classifier, x):
        moved = jax.tree.map(lambda leaf: leaf * (1 + step), (classifier, x))
        return jnp.where(expected > 0.5, class_probabilities(*moved), 0).mean()

    slope = jax.grad(certainty)(0.1, classifier, X)
    difference = certainty(0.1 + 1e-6, classifier, X) - certainty(0.1 - 1e-6, classifier, X)
    assert float(slope) == pytest.approx(float(difference) / 2e-6, rel=1e-5)


def test_fits_under_jit_and_vmap(x64):
    weights = np.random.default_rng(0).uniform(0.5, 2, (3, 150))
    fit = functools.partial(fit_classes, KEY, labels=LABELS, family="VEI")
    batch = jax.jit(jax.vmap(lambda weights: fit(X, weights=weights)))(weights)
    alone = fit(X, weights=weights[1])
    for ours, theirs in zip(jax.tree.leaves(batch), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours[1], theirs, rtol=1e-6, atol=1e-9)


CLUMPS = np.arange(400) % 4  # two classes that alternate along a line
LINE = 3.0 * CLUMPS + np.random.default_rng(0).normal(size=400)


def test_a_mixture_of_its_own_is_fitted_to_the_rows_of_the_class(x64):
    labels, weights = CLUMPS % 2, np.arange(400) // 4 % 4
    x = np.where(weights == 0, np.nan, LINE)
    options = {"family": "spherical", "n_init": 4, "tol": 1e-12}
    classifier = fit_classes(KEY, x, labels, weights=weights, n_components=(2, 1), **options)
    np.testing.assert_allclose(classifier.priors, [0.5, 0.5])
    for j, k in enumerate((2, 1)):
        alone = jaxgmm.fit(KEY, x[j::2], k, weights=weights[j::2], **options).best.params
        for ours, theirs in zip(classifier.mixtures[j], alone, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(jnp.sort(ours, 0), jnp.sort(theirs, 0), rtol=1e-4)


def test_mixtures_classify_what_no_gaussian_can(x64):
    """The truth itself as judge."""
    halves, ones, labels = jnp.ones(2) / 2, jnp.ones((2, 1)), CLUMPS % 2
    truth = Classifier(halves, tuple(GMMParams(halves, jnp.array([[m], [m + 6.0]]), ones) for m in (0.0, 3.0)))
    least = np.mean(np.asarray(predict_class(truth, LINE)) != labels)
    error = cross_validated_error(KEY, LINE, labels, family="spherical", n_components=2, n_folds=5, n_init=4)
    assert float(error.mean()) < least + 0.02
    gaussians = oracle(jaxgmm.FULL, LINE[:, None], labels, np.ones(400))
    assert np.mean(oracle_responsibilities(gaussians, LINE[:, None]).argmax(1) != labels) > least + 0.2


@pytest.mark.parametrize("letters", ["EEE", "VVV"])
def test_cross_validated_error_of_iris(letters, x64):
    """Fold by fold as Bayes' rule from the other folds says; rows without weight are not even looked at."""
    family = jaxgmm.get_family(letters)
    for weights in (np.ones(150), np.random.default_rng(3).integers(0, 4, 150)):
        x = np.where(weights[:, None] == 0, np.nan, IRIS)
        errors, again = (
            cross_validated_error(KEY, x, SPECIES, weights=weights, family=family, ridge=0.0) for _ in range(2)
        )
        np.testing.assert_array_equal(errors, again)
        folds = np.asarray(_folds(jax.random.split(KEY)[0], SPECIES, jnp.asarray(weights), 10))
        for fold, error in enumerate(errors):
            left = oracle(family, IRIS, SPECIES, weights * (folds != fold))
            wrong = oracle_responsibilities(left, IRIS).argmax(1) != SPECIES
            assert float(error) == pytest.approx(np.average(wrong, weights=weights * (folds == fold)), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_alike_random_and_the_same_for_the_same_key(seed):
    rng = np.random.default_rng(seed)
    labels, weights = rng.integers(0, 3, 101), rng.integers(0, 3, 101)
    drawn = []
    for key, enabled in ((seed, False), (seed, True), (seed + 1, True)):
        with jax.enable_x64(enabled):
            drawn.append(np.asarray(_folds(jax.random.key(key), labels, jnp.asarray(weights), 7)))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[1] != drawn[2]).any()
    for chosen in (weights > 0, *((labels == j) & (weights > 0) for j in range(3))):
        assert np.ptp(np.bincount(drawn[0][chosen], minlength=7)) <= 1


def test_a_fit_that_fails_says_so(x64):
    flat = X * np.array([1.0, 0.0])
    options = {"family": "diag", "ridge": 0.0}
    with pytest.raises(FitError, match="a covariance collapsed"):
        fit_classes(KEY, flat, LABELS, **options)
    unseen = fitted(jaxgmm.DIAG)._replace(priors=jnp.full(3, jnp.nan))  # what is left where nothing can be raised
    assert (predict_class(unseen, X) == -1).all()
    assert np.isnan(cross_validated_error(KEY, flat, LABELS, n_folds=2, **options)).all()


def changed(value):
    return np.where(np.arange(150) == 4, value, LABELS)


BAD_FITS = {
    "labels' dtype": ({"labels": LABELS / 1}, TypeError, "labels: expected integers 0, 1, ..., got dtype float64"),
    "labels' names": (
        {"labels": LABELS.astype(str)},
        TypeError,
        "labels: expected an array of real numbers, got",
    ),
    "labels' length": ({"labels": LABELS[1:]}, ValueError, "labels: expected shape (150,), .* got (149,)"),
    "negative label": ({"labels": changed(-2)}, ValueError, "labels: expected 0, 1, ..., got -2.."),
    "empty class": ({"labels": changed(4)}, ValueError, "labels: .* every class 0..4, got none in class 3"),
    "enormous label": ({"labels": changed(10**12)}, ValueError, "labels: .* got none in class 3"),
    "class without weight": ({"weights": LABELS != 1}, ValueError, "labels: .* got none in class 1"),
    "components' number": ({"n_components": (1, 2)}, ValueError, "n_components: .* 3 classes, got [1, 2]"),
    "components' type": ({"n_components": (1, 2.5, 1)}, TypeError, "n_components: expected an integer, got 2.5"),
    "no components": ({"n_components": 0}, ValueError, "n_components: expected at least 1, got 0"),
    "too many": ({"n_components": (31, 1, 1)}, ValueError, "n_components: expected at most 30, .* class 0, got 31"),
    "family's name": ({"family": "round"}, ValueError, "family: expected one of .* got 'round'"),
    "family's type": ({"family": 3}, ValueError, "family: expected one of .* got 3"),
    "priors' shape": ({"priors": np.ones(2) / 2}, ValueError, "priors: expected shape (3,), .* got (2,)"),
    "priors' sum": ({"priors": np.ones(3)}, ValueError, "priors: .* sum to one, got [1. 1. 1.]"),
    "negative prior": ({"priors": np.array([-1.0, 1, 1])}, ValueError, "priors: expected values >= 0"),
    "NaN prior": ({"priors": np.full(3, np.nan)}, ValueError, "priors: .* got [nan nan nan]"),
    "ridge": ({"ridge": -1.0}, ValueError, "ridge: expected a finite number >= 0, got -1.0"),
    "tol": ({"tol": np.nan}, ValueError, "tol: expected a finite number >= 0, got nan"),
    "n_init": ({"n_init": 0}, ValueError, "n_init: expected at least 1, got 0"),
    "max_iter": ({"max_iter": -1}, ValueError, "max_iter: expected at least 0, got -1"),
    "NaN row": ({"x": X * np.nan}, ValueError, "x: expected finite values"),
}


@pytest.mark.parametrize("function", [fit_classes, functools.partial(cross_validated_error, n_folds=2)])
@pytest.mark.parametrize(("arguments", "error", "message"), BAD_FITS.values(), ids=BAD_FITS)
def test_errors_name_the_argument(function, arguments, error, message):
    if arguments.get("n_components") == (31, 1, 1) and function is not fit_classes:
        message = message.replace("30", "15")  # the other half is held out
    with pytest.raises(error, match=re.escape(message).replace(r"\.\*", ".*").replace(r"\ ", " ")):
        function(KEY, **{"x": X, "labels": LABELS} | arguments)


@pytest.mark.parametrize(("n_folds", "message"), [(1, "at least 2, got 1"), (31, "at most 30, .* class 0, got 31")])
def test_the_number_of_folds_is_bounded(n_folds, message):
    with pytest.raises(ValueError, match=f"n_folds: expected {message}"):
        cross_validated_error(KEY, X, LABELS, n_folds=n_folds)


def test_labels_are_known_while_tracing():
    with pytest.raises(TypeError, match="labels: expected known values"):
        jax.jit(lambda labels: fit_classes(KEY, X, labels))(LABELS)


def test_a_classifier_is_checked():
    with pytest.raises(TypeError, match="classifier: expected a Classifier"):
        class_probabilities(random_params(jaxgmm.FULL, dtype=np.float32), X)
    good = mixed(np.float32)
    with pytest.raises(ValueError, match=r"classifier.priors: expected shape \(4,\), .* got \(3,\)"):
        class_probabilities(good._replace(priors=good.priors[:3]), X)
    with pytest.raises(TypeError, match=r"classifier.mixtures\[0\]: expected GMMParams"):
        class_probabilities(good._replace(mixtures=(None,) * 4), X)
    with pytest.raises(ValueError, match="x: expected 2 features"):
        class_probabilities(good, X[:, :1])
