"""Lowered programs on disk: found by the call, and by nothing that may change under the same name."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import lowered, programs

X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
PARAMS = jaxgmm.GMMParams(jnp.ones(2) / 2, jnp.eye(2), jnp.ones((2, 2)))


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """A folder of the test's own, and no programs of other tests."""
    monkeypatch.setattr(lowered, "folder", tmp_path)
    monkeypatch.setattr(programs, "PROGRAMS", programs.Programs())
    return tmp_path


@pytest.fixture
def traced(monkeypatch):
    """What was lowered, by the shapes of its arguments."""
    calls, write = [], lowered._write

    def count(path, function, shapes):
        calls.append([leaf.shape for leaf in shapes])
        return write(path, function, shapes)

    monkeypatch.setattr(lowered, "_write", count)
    return calls


def as_in_a_new_process():
    programs.PROGRAMS.kept.clear()


def test_a_later_process_does_not_trace_again(traced, folder):
    first = jaxgmm.em(PARAMS, X, family=jaxgmm.DIAG, max_iter=5)
    assert len(traced) == len(list(folder.iterdir())) > 0
    traced.clear()
    as_in_a_new_process()
    second = jaxgmm.em(PARAMS, X, family=jaxgmm.DIAG, max_iter=5)
    assert traced == []
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_differs_is_lowered_apart(traced):
    jaxgmm.predict(PARAMS, X)
    for call in (
        lambda: jaxgmm.predict(PARAMS, X.tolist()),  # the same
        lambda: jaxgmm.predict(PARAMS._replace(covariances=jnp.ones((1, 2))), X),
        lambda: jaxgmm.log_prob(PARAMS, X),
        lambda: jaxgmm.predict(PARAMS, np.tile(X, (2, 1))),
    ):
        as_in_a_new_process()
        call()
    assert len(traced) == 4
    with jax.default_matmul_precision("highest"):
        as_in_a_new_process()
        jaxgmm.predict(PARAMS, X)
    assert len(traced) == 5


def test_settings_of_a_context_count():
    first, *others = [jaxgmm.sample(jax.random.key(0), PARAMS, 3)[0] for _ in range(2)]
    with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
        others.append(jaxgmm.sample(jax.random.key(0), PARAMS, 3)[0])
    same, another = (np.array_equal(first, other) for other in others)
    assert same
    assert not another


def test_results_are_on_no_device_in_particular():
    for _ in range(2):
        result = jaxgmm.em(PARAMS, X, family=jaxgmm.DIAG, max_iter=5)
        assert not any(leaf.committed for leaf in jax.tree.leaves(result))
        as_in_a_new_process()


def test_functions_from_elsewhere_are_not_kept(folder):
    """One of the same name may have another body in the next process."""
    steps = jaxgmm.gaussian_steps(jaxgmm.DIAG)
    own = steps._replace(maximize=lambda params, stats: steps.maximize(params, stats))
    result = jaxgmm.em(PARAMS, X, steps=own, max_iter=5)
    assert np.isfinite(result.log_likelihood)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        lambda _: b"",
        lambda _: pickle.dumps((1, 2)),
    ],
    ids=["cut off", "one bit", "empty", "of another program"],
)
def test_what_is_damaged_is_replaced(folder, traced, damage):
    expected = jaxgmm.log_prob(PARAMS, X)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    for n_traced in (2, 2):
        as_in_a_new_process()
        np.testing.assert_array_equal(jaxgmm.log_prob(PARAMS, X), expected)
        assert len(traced) == n_traced


def test_where_nothing_can_be_written_answers_are_the_same(monkeypatch, folder):
    expected = jaxgmm.log_prob(PARAMS, X)
    (folder / "file").touch()
    monkeypatch.setattr(lowered, "folder", folder / "file")
    as_in_a_new_process()
    np.testing.assert_array_equal(jaxgmm.log_prob(PARAMS, X), expected)


def test_errors_are_those_of_tracing():
    steps = jaxgmm.gaussian_steps()._replace(coordinates=None)
    full = PARAMS._replace(covariances=jnp.tile(jnp.eye(2), (2, 1, 1)))
    with pytest.raises(ValueError, match="accelerate: expected None for steps without coordinates"):
        jaxgmm.em(full, X, steps=steps, accelerate=jaxgmm.acceleration.momentum())
