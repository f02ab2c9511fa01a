"""Programs of public functions called on arrays: shared by data sets of about as many rows, freed, compiled as pays."""

import gc
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import padding, programs

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """No programs of other tests."""
    monkeypatch.setattr(programs, "PROGRAMS", programs.Programs())


def rows(n, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) + 6 * rng.integers(0, 2, (n, 1))).astype(np.float32)


def mixture(k=2, d=2):
    means = jnp.tile(jnp.linspace(0.0, 6.0, k)[:, None], (1, d))
    return jaxgmm.GMMParams(jnp.full(k, 1 / k), means, jnp.tile(jnp.eye(d), (k, 1, 1)))


@programs.program("power")
def total(x, power):
    return (x**power).sum()


def test_lengths_grow_and_waste_little_where_rows_are_many():
    lengths = [padding.padded_length(n) for n in range(1, 2**18 + 1)]
    assert all(n <= length for n, length in enumerate(lengths, 1))
    assert lengths == sorted(lengths)
    assert len(set(lengths)) < 40
    assert max(length / n for n, length in enumerate(lengths, 1) if n > 4096) < 1.26
    assert max(length / n for n, length in enumerate(lengths, 1) if n > 2**16) < 1.13
    assert padding.padded_length(1_000_003) == 1_000_003


@pytest.mark.parametrize(
    "n", [300, pytest.param(40, marks=pytest.mark.slow), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_padding_changes_no_answer_beyond_rounding(x64, n):
    """Under ``jit`` nothing is padded."""
    x, params = rows(n).astype(float), mixture()
    calls = {
        "e_step": lambda x: jaxgmm.e_step(params, x),
        "em": lambda x: jaxgmm.em(params, x).params,
        "log_prob": lambda x: jaxgmm.log_prob(params, x),
        "responsibilities": lambda x: jaxgmm.responsibilities(params, x),
        "predict": lambda x: jaxgmm.predict(params, x),
        "bic": lambda x: jaxgmm.bic(params, x),
        "icl": lambda x: jaxgmm.icl(params, x),
    }
    for name, call in calls.items():
        padded, exact = call(x), jax.jit(call)(x)
        for one, other in zip(jax.tree.leaves(padded), jax.tree.leaves(exact), strict=True):
            assert one.shape == other.shape, name
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12 * n, err_msg=name)


@pytest.mark.parametrize("n", [60, pytest.param(9000, marks=pytest.mark.slow)])
def test_a_fit_draws_the_same_starts_padded_and_not(n):
    x = rows(n)
    padded, exact = (
        f(KEY, x, 3, n_init=4) for f in (jaxgmm.fit, jax.jit(jaxgmm.fit, static_argnums=2, static_argnames="n_init"))
    )
    np.testing.assert_allclose(padded.log_likelihoods, exact.log_likelihoods, rtol=1e-4)
    assert jax.tree.map(jnp.shape, padded) == jax.tree.map(jnp.shape, exact)
    np.testing.assert_allclose(padded.best.params.means, exact.best.params.means, atol=1e-3)


def test_small_data_sets_and_numbers_of_components_share_programs():
    for n, k in ((70, 3), (100, 3), (180, 4), (250, 4)):
        assert jaxgmm.fit(KEY, rows(n), k, n_init=2).best.params.means.shape == (k, 2)
        jaxgmm.predict(mixture(), rows(n))
    names = [program.name for program in programs.PROGRAMS.kept.values()]
    assert sorted(names) == sorted(set(names)), names


COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: COMPILED.append(event) if event.endswith("backend_compile_duration") else None
)

FITTED = jaxgmm.GMMParams(jnp.ones(2) / 2, 6 * jnp.eye(2), jnp.ones((2, 2)))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda x: jaxgmm.fit(KEY, x, 2, n_init=2, max_iter=5), id="fit"),
        pytest.param(lambda x: jaxgmm.fit(KEY, x, 2, start=FITTED, family=jaxgmm.DIAG), id="fit from a start"),
        pytest.param(lambda x: jaxgmm.em(FITTED, x, family=jaxgmm.DIAG, max_iter=5), id="em"),
        pytest.param(lambda x: jaxgmm.predict(FITTED, x), id="predict"),
        pytest.param(lambda x: jaxgmm.log_prob(FITTED, x), id="log_prob"),
        pytest.param(lambda x: jaxgmm.responsibilities(FITTED, x), id="responsibilities"),
        pytest.param(lambda x: jaxgmm.score(FITTED, x), id="score"),
        pytest.param(lambda x: jaxgmm.bic(FITTED, x), id="bic"),
        pytest.param(lambda x: jaxgmm.icl(FITTED, x), id="icl"),
        pytest.param(
            lambda x: jaxgmm.select(KEY, x, [1, 2], families=["diag"], n_init=2, max_iter=5),
            marks=pytest.mark.slow,
            id="select",
        ),
    ],
)
def test_another_number_of_rows_of_the_same_class_compiles_nothing(call):
    """Not even ``jnp.ones(n)``: JAX compiles it for each n, takes a megabyte, and never lets it go."""
    COMPILED.clear()
    call(rows(306))
    assert COMPILED
    COMPILED.clear()
    call(rows(307))
    assert not COMPILED


def test_what_a_fit_does_on_a_sample_serves_all_large_data():
    for n in (9_000, 20_000):
        assert jaxgmm.fit(KEY, rows(n), 3, n_init=2).params.means.shape == (3, 2)
    names = [program.name for program in programs.PROGRAMS.kept.values()]
    assert names.count("draw_starts") == names.count("run_briefly") == 1
    assert names.count("compete") == 2


def test_few_programs_are_kept_and_the_others_are_freed(monkeypatch):
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 3)
    x = jnp.ones(8)
    for power in range(1, 9):
        assert float(total(x, power)) == 8
        assert len(programs.PROGRAMS.kept) <= 3
    assert [dict(key[1])["power"] for key in programs.PROGRAMS.kept] == [6, 7, 8]
    total(x, 6)  # used last, and so kept
    total(x, 9)
    assert [dict(key[1])["power"] for key in programs.PROGRAMS.kept] == [8, 6, 9]


@pytest.mark.skipif(programs.n_memory_maps() == 0, reason="this system does not say")
def test_memory_maps_are_bounded(monkeypatch):
    monkeypatch.setattr(programs, "MOST_MAPS", 400)
    counts = []
    for k in range(1, 7):
        jaxgmm.em(mixture(k), rows(50), max_iter=3)
        assert programs.PROGRAMS.n_maps() <= 400 or len(programs.PROGRAMS.kept) == 1
        gc.collect()
        counts.append(programs.n_memory_maps())
    assert counts[-1] - counts[2] < 200, counts


def test_what_is_called_often_is_compiled_again_to_run_fast(monkeypatch):
    if jax.default_backend() != "cpu" or not programs.knows_fast_compile():
        pytest.skip("one way to compile")
    monkeypatch.setattr(programs, "LITTLE_WORK", 25)
    monkeypatch.setattr(programs, "MUCH_WORK", 45)
    fastest, fast, full = programs.FASTEST_COMPILE, programs.FAST_COMPILE, programs.RUN_FAST
    for n, expected in ((10, [fastest, fastest, fastest, fastest, full, full]), (30, [fast, full]), (50, [full])):
        for options in expected:
            assert float(total(jnp.ones(n), 2)) == n
            assert list(programs.PROGRAMS.kept.values())[-1].options == options


def test_options_that_a_compiler_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(programs, "FASTEST_COMPILE", {"an_option_of_another_compiler": True})
    programs.knows_fast_compile.cache_clear()
    try:
        assert float(total(jnp.ones(4), 1)) == 4
    finally:
        programs.knows_fast_compile.cache_clear()


def test_under_jit_and_grad_it_is_a_part_of_the_callers_program():
    assert float(jax.jit(lambda: total(jnp.ones(4), 2))()) == 4
    np.testing.assert_array_equal(jax.grad(lambda x: total(x, 2))(jnp.ones(4)), 2 * np.ones(4))
    np.testing.assert_array_equal(jax.vmap(lambda x: total(x, 1))(jnp.ones((3, 4))), [4, 4, 4])
    assert not programs.PROGRAMS.kept


def test_debugging_without_jit_works():
    with jax.disable_jit():
        assert float(total(jnp.ones(4), 2)) == 4


def test_both_precisions_in_one_process():
    for flag, dtype in ((True, np.float64), (False, np.float32), (True, np.float64)):
        with jax.enable_x64(flag):
            assert jaxgmm.log_prob(mixture(), rows(30).astype(dtype)).dtype == dtype


@pytest.mark.slow
@pytest.mark.skipif(programs.n_memory_maps() == 0, reason="this system does not say")
def test_a_process_lives_through_hundreds_of_shapes():
    """Linux gives a process 65,530 memory maps; a program that was never let go took up to two thousand."""
    rng = np.random.default_rng(0)
    maps, resident = [], []
    for index in range(300):
        n, d, k = int(rng.integers(20, 4000)), int(rng.integers(1, 5)), int(rng.integers(1, 6))
        family = ["full", "tied", "diag", "spherical"][index % 4]
        result = jaxgmm.fit(jax.random.key(index), rows(n, d, index), k, family=family, n_init=2, max_iter=20)
        assert np.isfinite(result.best.log_likelihood)
        if index % 25 == 0:
            selection = jaxgmm.select(KEY, rows(n, d, index), range(1, 2 + index // 75), n_init=2, max_iter=20)
            assert selection.ranking
        gc.collect()
        maps.append(programs.n_memory_maps())
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    assert max(maps) < 25_000, max(maps)
    assert max(resident[200:]) < 1.25 * max(resident[:200]), (max(resident[:200]), max(resident[200:]))
