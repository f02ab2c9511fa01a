"""A clock that ticks while work is done, and is gone after it."""

import re
import sys
import threading
import time

import pytest

from jaxgmm import progress


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.01)


def test_a_clock_ticks_while_the_body_works_and_leaves_nothing(capsys):
    before = threading.active_count()
    with progress.clock("fitting"):
        deadline = time.monotonic() + 10
        printed = ""
        while printed.count("fitting: 00:0") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
            printed += capsys.readouterr().err
    assert printed.count("fitting: 00:0") >= 3
    assert threading.active_count() <= before + 1  # tqdm keeps a monitor of its own
    assert re.fullmatch(r"[\r ]*(\rfitting: 00:0\d)*[\r ]*", capsys.readouterr().err)


def test_a_clock_that_is_not_shown_needs_nothing_and_prints_nothing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress.clock("fitting", shown=False):
        pass
    assert capsys.readouterr().err == ""


def test_what_goes_wrong_in_the_body_is_not_hidden(capsys):
    before = threading.active_count()
    with pytest.raises(ValueError, match="no"), progress.clock("fitting"):
        raise ValueError("no")
    assert threading.active_count() <= before + 1
