"""The rounds of a search: every family side by side, then again from where the other families ended."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait

import jax
import numpy as np

from ..covariance.families import Family
from ..programs import current_mesh, with_callers_settings
from ..progress import Display
from ..types import is_usable
from .search import FamilyModels

SearchOne = Callable[[np.ndarray, list[Family], int], FamilyModels]  # (labels, families of a program, which of them)


def in_parallel(
    search: SearchOne, groups: list[list[Family]], labels: dict[Family, np.ndarray], display: Display | None
) -> dict[Family, FamilyModels]:
    """``search`` of every family, side by side; the first of each group compiles a program for the others.

    One after another where the devices of a mesh share the rows: they would wait for each other in unlike orders.
    """
    n_threads = os.cpu_count() if current_mesh() is None else 1
    search, pool = with_callers_settings(search), ThreadPoolExecutor(n_threads)

    def after(first: Future[FamilyModels], group: list[Family], which: int) -> FamilyModels:
        wait([first])  # it is running or done, as the pool takes tasks in turn
        return search(labels[group[which]], group, which)

    try:
        futures = {group[0]: pool.submit(search, labels[group[0]], group, 0) for group in groups}
        for group in groups:
            for which in range(len(group) - 1, 0, -1):  # those with most parameters, which take longest, early
                futures[group[which]] = pool.submit(after, futures[group[0]], group, which)
        for future in as_completed(futures.values()):
            future.result()
            if display is not None:
                display.update(len(labels[groups[0][0]]))
    finally:  # after an error or an interruption what has begun ends by itself, and the rest never begins
        pool.shutdown(wait=False, cancel_futures=True)
    return {family: future.result() for family, future in futures.items()}


def where_others_ended(
    models: dict[Family, FamilyModels],
    numbers: Sequence[int],
    ranking: list[tuple[Family, int]],
    fallback: np.ndarray,
) -> dict[Family, np.ndarray]:
    """For each family partitions ``(K, starts, m)``: those of the best other families with as many components.

    Where there are too few, those of ``fallback``. A family that a change of one feature's units leaves alone starts
    only from families of which the same is true.
    """
    labels = {family: fallback.copy() for family in models}
    for column, k in enumerate(numbers):
        ranked = [family for family, number in ranking if number == k]
        for family, starts in labels.items():
            others = [
                other for other in ranked if other is not family and other.scale_equivariant >= family.scale_equivariant
            ]
            for place, other in enumerate(others[: starts.shape[1]]):
                starts[column, place] = models[other].labels[column]
    return labels


def better_of(one: FamilyModels, other: FamilyModels) -> FamilyModels:
    """For each number of components the better of two models."""

    def value(models: FamilyModels) -> np.ndarray:
        return np.where(is_usable(models.statuses), models.objectives, -np.inf)

    takes_other = value(other) > value(one)
    better: FamilyModels = jax.tree.map(lambda a, b: np.where(takes_other, b.T, a.T).T, one, other)
    return better._replace(failed=one.failed + other.failed)
