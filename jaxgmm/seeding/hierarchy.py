"""Starting partitions by agglomerative clustering, on the host: one tree, cut into every number of clusters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Rows in a tree; beyond so many a sample is clustered. More rows give better partitions of small clusters, while time
# grows with their square and with that of the features: for 1,000 rows .6 s with 2 features, 4 s with 10.
MAX_ROWS = 1000
TINY = np.finfo(float).tiny  # keeps the logarithm finite for identical rows, which have no scatter


def partitions(x: np.ndarray, n_clusters: Sequence[int], seed: int) -> np.ndarray:
    """Two partitions of rows for each number of clusters, one from each of two agglomerative clusterings.

    The first is where mclust starts. Clusters are merged by the likelihood of one Gaussian for each
    (:func:`gaussian_linkage`), on rows in the coordinates of their singular vectors, each divided by the root of its
    singular value; one feature is divided at quantiles instead (:func:`quantile_groups`). For the second, clusters are
    merged by Ward's criterion in the same coordinates.

    Args:
        x: ``(n, d)`` rows; of more than 1,000 a sample is clustered, and each row has the labels of the nearest in it.
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

    # Sample rows where there are many
    sample = x
    if len(x) > MAX_ROWS:
        size = max(MAX_ROWS, 2 * max(n_clusters))
        sample = x[np.random.default_rng(seed).choice(len(x), min(size, len(x)), replace=False)]

    # Rotate to singular vectors and divide by the roots of singular values
    spread = sample.std(0)
    standard = (sample - sample.mean(0)) / np.where(spread > 0, spread, 1)
    _, singular, directions = np.linalg.svd(standard, full_matrices=False)
    transformed = standard @ directions.T / np.sqrt(np.where(singular > 1e-8 * singular[0], singular, 1))

    # Build two trees and cut each into every number of clusters
    def cut(tree: np.ndarray) -> list[np.ndarray]:
        tree[:, 2] = np.arange(len(tree))  # order of merging for height: without ties each cut has exactly k clusters
        return [fcluster(tree, k, "maxclust") - 1 for k in n_clusters]

    if x.shape[1] == 1:
        by_likelihood = [quantile_groups(sample[:, 0], k) for k in n_clusters]
    else:
        by_likelihood = cut(gaussian_linkage(transformed))
    labels = np.stack([by_likelihood, cut(linkage(transformed, "ward"))], axis=1)

    # Give each row the labels of the nearest row of the sample
    nearest = KDTree(sample).query(x)[1] if len(x) > len(sample) else slice(None)
    return labels[:, :, nearest]


def quantile_groups(values: np.ndarray, n_groups: int) -> np.ndarray:
    """Labels ``(n,)`` of values ``(n,)``, divided into groups at equally spaced quantiles.

    Where quantiles coincide, more of them are computed until enough differ, and those that are closest to the next are
    left out, as in mclust.
    """
    for number in range(n_groups, len(values) + 1):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, number + 1)))
        if len(edges) > n_groups:
            break
    closest = np.argsort(np.diff(edges), kind="stable")[: max(len(edges) - 1 - n_groups, 0)]
    return np.searchsorted(np.delete(edges, closest)[1:-1], values, side="right")


def gaussian_linkage(x: np.ndarray) -> np.ndarray:
    r"""The tree of an agglomerative clustering by likelihood, with a Gaussian of its own for each cluster.

    Each step merges the two clusters whose union raises this cost least:

    .. math::
        \min \sum_c n_c \log \left( \left| \frac{W_c}{n_c} \right|
        + \frac{1}{n_c} \left[ \mathrm{tr}(W_c) + \frac{\mathrm{tr}(W)}{n d} \right] \right)

    with :math:`W_c` the scatter about the mean of cluster c and :math:`W` that of all rows. The determinant counts only
    for clusters of more than d rows; the term in brackets makes smaller clusters comparable. It is the cost that mclust
    minimises, and ties, which identical rows cause, are broken as in mclust: the last pair is merged first.

    Args:
        x: ``(n, d)`` rows; time and memory grow with n squared.

    Returns:
        ``(n - 1, 4)`` as from scipy's ``linkage``, with the order of merging in place of distances.

    Reference:
        Banfield & Raftery (1993), Model-based Gaussian and non-Gaussian clustering; Fraley (1998), Algorithms for
        model-based Gaussian hierarchical clustering.
    """
    n, d = x.shape
    size, mean, scatter = np.ones(n), x.T.astype(float), np.zeros((d, d, n))
    overall = x.var(0).sum() / d

    def union(i: Any, others: Any) -> tuple[np.ndarray, np.ndarray]:
        total, difference = size[i] + size[others], mean.take(others, 1) - mean.take(i, 1)
        between = size[i] * size[others] / total * difference
        return total, scatter.take(i, 2) + scatter.take(others, 2) + between[:, None] * difference

    def increase(i: Any, others: np.ndarray) -> np.ndarray:
        return _costs(*union(i, others), overall) - cost[i] - cost[others]

    # Increases of the cost for every pair i > j, and for each i the j that raises it least
    cost = _costs(size, scatter, overall)
    increases, pairs = np.full((n, n), np.inf), np.tril_indices(n, -1)
    increases[pairs] = increase(*pairs)
    is_cluster, node, tree = np.ones(n, bool), np.arange(n), np.empty((n - 1, 4))
    partner = _last_minimum(increases)
    for step in range(n - 1):
        # Merge cluster j into cluster i
        j = int(_last_minimum(increases[np.arange(n), partner]))
        i = int(partner[j])
        total, merged_scatter = union([i], [j])
        mean[:, i] += (size[j] / total[0]) * (mean[:, j] - mean[:, i])
        size[i], scatter[:, :, i] = total[0], merged_scatter[:, :, 0]
        cost[i] = _costs(total, merged_scatter, overall)[0]
        tree[step] = (node[i], node[j], step + 1, total[0])
        node[i], is_cluster[j] = n + step, False
        # Update the increases of pairs with i, and the best partners that this changes
        increases[j], increases[:, j] = np.inf, np.inf
        others = np.flatnonzero(is_cluster & (np.arange(n) != i))
        increases[np.maximum(i, others), np.minimum(i, others)] = increase([i], others)
        stale = np.flatnonzero(is_cluster & ((partner == i) | (partner == j)) | (np.arange(n) == i))
        partner[stale] = _last_minimum(increases[stale])
        new, old = increases[others, i], increases[others, partner[others]]
        cheaper = others[(others > i) & ((new < old) | (new == old) & (i > partner[others]))]
        partner[cheaper] = i
    return tree


def _costs(size: np.ndarray, scatter: np.ndarray, overall: float) -> np.ndarray:
    """The terms ``(m,)`` of the cost of :func:`gaussian_linkage` for sizes ``(m,)`` and scatters ``(d, d, m)``."""
    volume, of_full_rank = np.zeros(len(size)), np.flatnonzero(size > len(scatter))
    covariances = (scatter.take(of_full_rank, 2) / size[of_full_rank]).T
    volume[of_full_rank] = np.maximum(np.linalg.det(covariances), 0)
    return size * np.log(volume + (scatter.trace() + overall) / size + TINY)


def _last_minimum(values: np.ndarray) -> Any:
    """Indices of the minima along the last axis, of equal ones the last."""
    return values.shape[-1] - 1 - values[..., ::-1].argmin(-1)
