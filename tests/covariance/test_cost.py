"""Families stored as diagonals build no matrix of the features: their cost grows with d, not with its square."""

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm.fitting import selection
from jaxgmm.sklearn import estimator

D = 37
X = np.random.default_rng(0).normal(size=(60, D)).astype(np.float32)
KEY = jax.random.key(0)


def shapes(jaxpr):
    """Of all that a program computes, inner programs too."""
    for equation in jaxpr.eqns:
        yield from (getattr(value.aval, "shape", ()) for value in equation.outvars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from shapes(inner)


def has_matrices(function, *arguments):
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return any(sum(length > 0 and length % D == 0 for length in shape) > 1 for shape in shapes(jaxpr))


@pytest.mark.parametrize(("family", "expected"), [("EII", False), ("VVI", False), ("VVV", True)])
def test_fits(family, expected):
    chosen = jaxgmm.get_family(family)

    def fit(x):
        best = jaxgmm.fit(KEY, x, 2, family=chosen, n_init=2).best
        return jaxgmm.bic(best.params, x), jaxgmm.predict(best.params, x), jaxgmm.sample(KEY, best.params, 3)

    assert has_matrices(fit, X) == expected


class TracedError(Exception):
    """All that is asked of a program is known."""


def test_searches_and_the_estimator(monkeypatch):
    found = []

    def trace(program, static):
        def traced(*arguments):
            dynamic, options = arguments[:-static], arguments[-static:]
            found.append(has_matrices(lambda *dynamic: program(*dynamic, *options), *dynamic))
            raise TracedError

        return traced

    monkeypatch.setattr(selection, "search_family", trace(selection.search_family, 1))
    with pytest.raises(TracedError):
        jaxgmm.select(KEY, X, [1, 2], families=["EII", "VII"], n_init=1)
    with pytest.raises(TracedError):
        jaxgmm.select(KEY, X, [1, 2], families=["VEI", "EVI", "VVI"], n_init=1)
    monkeypatch.setattr(estimator, "best_of_starts", trace(estimator.best_of_starts, 3))
    with pytest.raises(TracedError):
        estimator.GaussianMixture(2, covariance_type="diag").fit(X)
    assert len(found) >= 3
    assert not any(found)


def test_a_search_of_few_rows_tries_the_diagonal_families():
    """As mclust does, where matrices would be singular."""
    families = [family.letters for family in selection._families(None, 60, 60)]
    assert families == ["EII", "VII", "EEI", "VEI", "EVI", "VVI"]
    assert len(selection._families(None, 60, 61)) == 14
