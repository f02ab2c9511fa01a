"""Two classic data sets that come with the package: Old Faithful and iris."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np

__all__ = ["Dataset", "load_faithful", "load_iris"]


class Dataset(NamedTuple):
    """A data set: rows, and the names of their features."""

    x: np.ndarray  # (n, d) float64
    feature_names: tuple[str, ...]  # d names


def load_faithful() -> Dataset:
    """Old Faithful geyser: eruption duration and waiting time, both in minutes, ``(272, 2)``.

    Returns:
        :class:`Dataset`.

    Example:
        >>> load_faithful().x.shape
        (272, 2)

    Reference:
        Azzalini & Bowman (1990), A look at some data on the Old Faithful geyser, Applied Statistics 39.
    """
    return _load("faithful.csv")


def load_iris() -> Dataset:
    """Iris: sepal and petal length and width in centimetres, 50 flowers of each of three species in turn, ``(150, 4)``.

    Returns:
        :class:`Dataset`.

    Example:
        >>> load_iris().feature_names
        ('Sepal.Length', 'Sepal.Width', 'Petal.Length', 'Petal.Width')

    Reference:
        Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7.
    """
    return _load("iris.csv")


def _load(name: str) -> Dataset:
    lines = files(__package__).joinpath(name).read_text().splitlines()
    return Dataset(np.loadtxt(lines[1:], delimiter=","), tuple(lines[0].split(",")))
