"""What is shown of a computation: a line with a clock that is gone after it, or in a pipe a line for each phase."""

import re
import sys
import threading
import time

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm import progress
from jaxgmm.programs import with_callers_settings
from jaxgmm.progress import is_shown


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.01)
    monkeypatch.setattr(progress, "_is_live", lambda: True)


def test_a_clock_ticks_while_the_body_works_and_leaves_nothing(capsys):
    before = threading.active_count()
    with progress.show("fitting"):
        deadline = time.monotonic() + 10
        printed = ""
        while printed.count("fitting [00:0") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
            printed += capsys.readouterr().err
    assert printed.count("fitting [00:0") >= 3
    assert threading.active_count() <= before + 1  # tqdm keeps a monitor of its own
    assert re.fullmatch(r"[\r ]*(\rfitting \[00:0\d\])*[\r ]*", capsys.readouterr().err)


def test_a_clock_that_is_not_shown_needs_nothing_and_prints_nothing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress.show("fitting", shown=False):
        pass
    assert capsys.readouterr().err == ""


def test_what_goes_wrong_in_the_body_is_not_hidden(capsys):
    before = threading.active_count()
    with pytest.raises(ValueError, match="no"), progress.show("fitting"):
        raise ValueError("no")
    assert threading.active_count() <= before + 1


def test_what_one_thread_shows_is_not_of_others(capsys):
    seen = []
    with progress.show("fitting"):
        threads = [
            threading.Thread(target=function)
            for function in (lambda: seen.append(is_shown()), with_callers_settings(lambda: seen.append(is_shown())))
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert seen == [False, True]  # another computation, and a part of this one
    assert not is_shown()


def test_in_a_pipe_there_is_a_line_for_each_phase(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_is_live", lambda: False)
    with progress.show("fitting"):
        for phase in ("seeding", "restarts", "restarts"):
            assert progress.run(phase, max, 1, 2) == 2
            progress.say("3 iterations")
        with progress.compiling("compete"):
            pass
    progress.say("nobody looks")
    assert capsys.readouterr().err == "fitting: seeding\nfitting: restarts\nfitting: compiling compete\n"


def test_a_fit_that_shows_how_far_it_is_has_the_same_result(capsys):
    x = jaxgmm.datasets.load_faithful().x
    silent, shown = (jaxgmm.fit(jax.random.key(0), x, 2, n_init=4, progress=flag) for flag in (False, True))
    for one, other in zip(jax.tree.leaves(silent), jax.tree.leaves(shown), strict=True):
        np.testing.assert_array_equal(one, other)
    printed = capsys.readouterr().err
    for part in ("seeding", "compiling", "4 of 4 restarts, ", " a second, gain ", "last run"):
        assert part in printed


def test_a_search_says_how_many_models_it_has_fitted(capsys):
    x = jaxgmm.datasets.load_faithful().x[:50]
    jaxgmm.select(jax.random.key(0), x, [1, 2], families=["EII"], n_init=1, progress=True)
    printed = capsys.readouterr().err
    assert "compiling search_family" in printed
    assert "/2 [" in printed
