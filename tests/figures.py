"""Mixtures and searches to draw, and what is drawn, read back from the artists."""

import io
from types import SimpleNamespace

import numpy as np
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from problems import blobs, matrices

from jaxgmm import GMMParams
from jaxgmm.plotting.ellipse import Ellipse

STORAGES = {"full": (3, 3, 3), "tied": (1, 3, 3), "diag": (3, 3), "1 x d": (1, 3), "spherical": (3, 1), "1 x 1": (1, 1)}
PLANE = (2, 0)
NAMES = ("length", "width", "height")


def mixture(storage="full", dtype=np.float64):
    """Three components in three features, all with weight."""
    rng = np.random.default_rng(1)
    shape = STORAGES[storage]
    covariances = rng.uniform(0.5, 2, shape)
    if len(shape) == 3:
        root = rng.normal(size=shape)
        covariances = root @ root.swapaxes(1, 2) + 0.1 * np.eye(3)
    params = GMMParams(np.array([0.5, 0.3, 0.2]), 3 * rng.normal(size=(3, 3)), covariances)
    return GMMParams(*(leaf.astype(dtype) for leaf in params))


def many(k):
    """k components in two features, each with a row at its mean."""
    return GMMParams(np.full(k, 1 / k), 9.0 * np.arange(2 * k).reshape(k, 2), np.ones((1, 1)))


def marginal(params, features):
    """The oracle's: plain slices of full matrices."""
    return GMMParams(params.weights, params.means[:, features], matrices(params)[np.ix_(range(3), features, features)])


def rows(dtype=np.float64, n=200):
    return blobs(n, 3).astype(dtype)


def selection(names, n_components=(1, 2, 3, 4)):
    """A search whose best is the second family with the third number of components."""
    families = tuple(SimpleNamespace(name=name, letters=name) for name in names)
    table = np.random.default_rng(0).uniform(100, 200, (len(names), len(n_components)))
    table[0, 1], table[1, 2] = np.nan, 50
    return SimpleNamespace(criterion="icl", families=families, n_components=n_components, table=table)


def axes():
    return Figure().subplots()


def rendered(figure):
    figure.savefig(io.BytesIO())
    return figure


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


def contour_of(ellipse, n=12):
    """Points of an ellipse, in the units of the axes."""
    angles = np.linspace(0, 2 * np.pi, n)
    return ellipse.get_patch_transform().transform(np.stack([np.cos(angles), np.sin(angles)], 1))


def points(ax):
    """The offsets of each scatter, by its label."""
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if not isinstance(c, ContourSet)}


def integral(line):
    return np.trapezoid(line.get_ydata(), line.get_xdata())


def entries(ax):
    """The texts of a legend, the line about it first."""
    legend = ax.get_legend()
    return [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]


def is_within(inner, outer):
    return outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1
