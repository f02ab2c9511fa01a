"""How the two rounds of a search hand over, without a search."""

import threading
import time

import numpy as np
import pytest

import jaxgmm
from jaxgmm import Status
from jaxgmm.fitting.rounds import better_of, in_parallel, where_others_ended
from jaxgmm.fitting.search import FamilyModels
from jaxgmm.fitting.selection import Selection

EEE, VVV, VVI, EEV = (jaxgmm.get_family(name) for name in ("EEE", "VVV", "VVI", "EEV"))


def models_of(objectives, statuses, labels, name="model"):
    k = range(len(objectives))
    models = np.array([f"{name} {i}" for i in k])  # stands for results with a leading axis
    columns = (
        np.array(objectives),
        labels,
        np.array(objectives),
        np.array(statuses),
        np.ones(len(k), int),
        np.zeros(len(k)),
    )
    return FamilyModels(models, *columns)


def test_starts_are_partitions_of_other_families_by_rank_then_random_ones():
    """A family that a change of one feature's units leaves alone starts only from such families."""
    families, numbers = (EEE, VVV, VVI, EEV), (2, 3)
    table = np.array([[3.0, np.nan], [2.0, 5.0], [1.0, 6.0], [0.0, 7.0]])
    ends = {
        family: models_of([0, 0], [0, 0], np.full((2, 5), 10 * row + np.arange(2)[:, None]))
        for row, family in enumerate(families)
    }
    rest = np.zeros_like(table, int)
    selection = Selection("bic", families, numbers, table, table, rest, rest, {})
    chance = np.full((2, 3, 5), -1)
    labels = where_others_ended(ends, numbers, selection.ranking, chance)
    first = {family: labels[family][:, :, 0].tolist() for family in families}
    assert first[EEV] == [[20, 10, 0], [11, 21, -1]]  # EEE came to no usable end with three
    assert first[EEE] == [[20, 10, -1], [11, 21, -1]]
    assert first[VVV] == [[20, 0, -1], [21, -1, -1]]
    assert (chance == -1).all()


def test_the_better_model_of_two_rounds_stays_and_failures_add_up():
    labels = np.zeros((3, 4), int)
    one = models_of([1.0, 5.0, 9.0], [Status.CONVERGED, Status.CONVERGED, Status.DEGENERATE], labels, "one")
    other = models_of([2.0, 4.0, 3.0], [Status.CONVERGED, Status.CONVERGED, Status.MAX_ITER], labels + 1, "other")
    better = better_of(one, other)
    assert better.models.tolist() == ["other 0", "one 1", "other 2"]
    assert better.objectives.tolist() == [2, 5, 3]
    assert better.labels[:, 0].tolist() == [1, 0, 1]
    assert better.statuses.tolist() == [Status.CONVERGED, Status.CONVERGED, Status.MAX_ITER]
    assert better.failed.tolist() == [2, 2, 2]


def test_an_interruption_begins_no_further_search(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    begun, may_end = [], threading.Event()

    class Interrupted:
        def update(self, count):
            raise KeyboardInterrupt

    def search(labels, group, which):
        begun.append(group[which])
        if len(begun) > 1:
            may_end.wait(60)

    families = [EEE, VVV, VVI, EEV]
    with pytest.raises(KeyboardInterrupt):  # after the first of them, and without waiting for the others
        in_parallel(
            search, [[family] for family in families], dict.fromkeys(families, np.zeros((1, 1, 1))), Interrupted()
        )
    n_begun = len(begun)
    may_end.set()
    time.sleep(0.1)
    assert n_begun <= 3
    assert len(begun) == n_begun
