"""Starting partitions by agglomerative clustering, on the host: every number of clusters from one tree."""

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_ROWS = 1000  # whose tree takes half a second; other rows go with the nearest of these


def partitions(x: np.ndarray, n_clusters: Sequence[int], seed: int) -> np.ndarray:
    """Two partitions of rows for each number of clusters, from different trees.

    The likelihood of a Gaussian per cluster (:func:`gaussian_linkage`) on rows in singular directions, each scaled by
    the root of its standard deviation, or of one feature between quantiles (:func:`quantile_groups`), which is where
    mclust starts; and Ward's criterion on the same rows.

    Args:
        x: ``(n, d)`` rows; more than 1,000 are sampled.
        n_clusters: numbers of clusters, each at most n.
        seed: non-negative int, decides which rows are sampled; without effect on up to 1,000 rows.

    Returns:
        ``(len(n_clusters), 2, n)`` int labels.

    Example:
        >>> partitions(np.array([[0.0], [0.1], [5.0], [5.1]]), [2], seed=0)[0, 0].tolist()
        [0, 0, 1, 1]

    Reference:
        Scrucca & Raftery (2015), Improved initialisation of model-based clustering using Gaussian hierarchical
        partitions, for clustering transformed rows.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial import KDTree

    rows = x
    if len(x) > MOST_ROWS:
        size = max(MOST_ROWS, 2 * max(n_clusters))
        rows = x[np.random.default_rng(seed).choice(len(x), min(size, len(x)), replace=False)]
    spread = rows.std(0)
    standard = (rows - rows.mean(0)) / np.where(spread > 0, spread, 1)
    _, sizes, directions = np.linalg.svd(standard, full_matrices=False)
    turned = standard @ directions.T / np.sqrt(np.where(sizes > 1e-8 * sizes[0], sizes, 1))

    def cut(tree: np.ndarray) -> list[np.ndarray]:
        tree[:, 2] = np.arange(len(tree))  # the order of merging: no ties, so a cut gives as many as asked for
        return [fcluster(tree, k, "maxclust") - 1 for k in n_clusters]

    first = [quantile_groups(rows[:, 0], k) for k in n_clusters] if x.shape[1] == 1 else cut(gaussian_linkage(turned))
    labels = np.stack([first, cut(linkage(turned, "ward"))], axis=1)
    nearest = KDTree(rows).query(x)[1] if len(x) > len(rows) else slice(None)
    return labels[:, :, nearest]


def quantile_groups(values: np.ndarray, n_groups: int) -> np.ndarray:
    """Labels ``(n,)`` of values ``(n,)`` between quantiles, as many as there are groups and far enough apart.

    Where quantiles coincide there are more of them, the closest of which are left out, as in mclust.
    """
    for number in range(n_groups, len(values) + 1):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, number + 1)))
        if len(edges) > n_groups:
            break
    closest = np.argsort(np.diff(edges), kind="stable")[: max(len(edges) - 1 - n_groups, 0)]
    return np.searchsorted(np.delete(edges, closest)[1:-1], values, side="right")


def gaussian_linkage(x: np.ndarray) -> np.ndarray:
    r"""Merge, time and again, the two clusters whose union costs least likelihood, each cluster a Gaussian of its own.

    .. math::
        \min \sum_c n_c \log \left( \left| \frac{W_c}{n_c} \right|
        + \frac{1}{n_c} \left[ \mathrm{tr}(W_c) + \frac{\mathrm{tr}(W)}{n d} \right] \right)

    with :math:`W_c` the scatter about the mean of cluster c and :math:`W` that of all rows; what is added to the
    determinant, which only clusters of more than d rows have, makes small ones comparable. It is what mclust minimises,
    and as there, of pairs that cost the same (identical rows do) the last is merged first.

    Args:
        x: ``(n, d)`` rows; time and memory grow with n squared.

    Returns:
        ``(n - 1, 4)`` as scipy's ``linkage``, its distances the order of merging.

    Reference:
        Banfield & Raftery (1993), Model-based Gaussian and non-Gaussian clustering; Fraley (1998), Algorithms for
        model-based Gaussian hierarchical clustering.
    """
    n, d = x.shape
    size, mean, scatter = np.ones(n), x.T.astype(float), np.zeros((d, d, n))
    overall = x.var(0).sum() / d

    def cost(size: np.ndarray, scatter: np.ndarray) -> np.ndarray:
        volume, full = np.zeros(len(size)), np.flatnonzero(size > d)  # of fewer rows there is none
        volume[full] = np.maximum(np.linalg.det((scatter.take(full, 2) / size[full]).T), 0)
        return size * np.log(volume + (scatter.trace() + overall) / size + TINY)

    def merged(i: Any, others: Any) -> tuple[np.ndarray, np.ndarray]:
        total, apart = size[i] + size[others], mean.take(others, 1) - mean.take(i, 1)
        between = size[i] * size[others] / total * apart
        return total, scatter.take(i, 2) + scatter.take(others, 2) + between[:, None] * apart

    def increase(i: Any, others: np.ndarray) -> np.ndarray:
        return cost(*merged(i, others)) - own[i] - own[others]

    own = cost(size, scatter)
    price, pairs = np.full((n, n), np.inf), np.tril_indices(n, -1)
    price[pairs] = increase(*pairs)  # of merging i with j < i
    alive, name, tree = np.ones(n, bool), np.arange(n), np.empty((n - 1, 4))
    partner = _last_least(price)
    for step in range(n - 1):
        j = int(_last_least(price[np.arange(n), partner]))
        i = int(partner[j])
        total, union = merged([i], [j])
        mean[:, i] += (size[j] / total[0]) * (mean[:, j] - mean[:, i])
        size[i], scatter[:, :, i], own[i] = total[0], union[:, :, 0], cost(total, union)[0]
        tree[step], name[i], alive[j] = (name[i], name[j], step + 1, total[0]), n + step, False
        price[j], price[:, j] = np.inf, np.inf
        others = np.flatnonzero(alive & (np.arange(n) != i))
        price[np.maximum(i, others), np.minimum(i, others)] = increase([i], others)
        stale = np.flatnonzero(alive & ((partner == i) | (partner == j)) | (np.arange(n) == i))
        partner[stale] = _last_least(price[stale])
        new, old = price[others, i], price[others, partner[others]]
        cheaper = others[(others > i) & ((new < old) | (new == old) & (i > partner[others]))]
        partner[cheaper] = i
    return tree


def _last_least(values: np.ndarray) -> Any:
    """Where the least of the last axis is, the last of equals."""
    return values.shape[-1] - 1 - values[..., ::-1].argmin(-1)


TINY = np.finfo(float).tiny  # identical rows have no spread at all
