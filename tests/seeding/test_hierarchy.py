import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import DATA, blobs
from scipy.cluster.hierarchy import cut_tree

from jaxgmm.fitting.selection import _partitions
from jaxgmm.seeding import hierarchy


def classification_cost(x, clusters, overall):
    """What the tree minimises, from its definition."""
    cost = 0.0
    for rows in clusters:
        spread = np.cov(x[rows].T, bias=True) if len(rows) > 1 else np.zeros((x.shape[1],) * 2)
        volume = np.linalg.det(spread) if len(rows) > x.shape[1] else 0
        cost += len(rows) * np.log(volume + np.trace(spread) + overall / len(rows))
    return cost


def test_one_feature_begins_between_quantiles():
    """As mclust's ``qclass`` has them."""
    x = np.array([1, 1, 1, 1, 2, 2, 3, 5, 5, 8, 9, 9.0])
    expected = {2: "000000111111", 3: "000011122222", 4: "000011122333", 5: "000011233344"}
    for k, labels in expected.items():
        groups = hierarchy.quantile_groups(x, k)
        assert "".join(map(str, groups)) == labels
        np.testing.assert_array_equal(hierarchy.partitions(x[:, None], [k], seed=0)[0, 0], groups)
    assert hierarchy.quantile_groups(np.ones(5), 3).tolist() == [0] * 5


def test_the_tree_merges_what_costs_least():
    x = np.random.default_rng(0).normal(size=(14, 2))
    overall = x.var(0).mean()
    clusters, n = {i: [i] for i in range(14)}, 14
    for left, right, _, size in hierarchy.gaussian_linkage(x):
        costs = {
            (a, b): classification_cost(x, [clusters[a] + clusters[b]], overall)
            - classification_cost(x, [clusters[a], clusters[b]], overall)
            for a in clusters
            for b in clusters
            if a < b
        }
        assert costs[min(left, right), max(left, right)] == pytest.approx(min(costs.values()), abs=1e-9)
        clusters[n] = clusters.pop(left) + clusters.pop(right)
        assert len(clusters[n]) == size
        n += 1


@pytest.mark.parametrize("rows", [60, 1200])
def test_partitions_have_as_many_clusters_as_asked(rows):
    x = blobs(rows, d=3)
    labels = hierarchy.partitions(x, [1, 4], seed=0)
    assert labels.shape == (2, 2, rows)
    assert [[len(set(tree)) for tree in number] for number in labels.tolist()] == [[1, 1], [4, 4]]
    tree = hierarchy.gaussian_linkage(np.ones((5, 2)))
    assert len(set(cut_tree(tree, 3)[:, 0])) == 3


@pytest.mark.parametrize("data", DATA)
def test_the_first_tree_is_mclusts(data):
    """Also for Old Faithful, whose rows lie on a grid: ties are broken as mclust breaks them."""
    reference = json.loads((Path(__file__).parents[1] / "reference" / f"mclust_{data}.json").read_text())
    for k in range(2, 7):
        theirs = reference["init_class_1based"][str(k)]
        ours = hierarchy.partitions(DATA[data], [k], seed=0)[0, 0].tolist()
        assert len({*zip(ours, theirs, strict=True)}) == k  # the same clusters, by other numbers


def test_the_seed_decides_which_of_many_rows_the_trees_see():
    few, many = (np.random.default_rng(0).normal(size=(n, 2)) for n in (1000, 1200))
    first, again, other = (hierarchy.partitions(many, [4], seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(hierarchy.partitions(few, [4], 0), hierarchy.partitions(few, [4], 1))


def test_a_search_samples_the_rows_of_its_trees_by_the_users_key():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1200, 2)), jnp.float32)

    def trees(seed, rows):
        return _partitions(jax.random.split(jax.random.key(seed), 3), rows, jnp.ones(len(rows)), (4,), 2)[1]

    np.testing.assert_array_equal(trees(0, x), trees(0, x))
    assert (trees(0, x) != trees(1, x)).any()
    np.testing.assert_array_equal(trees(0, x[:100]), trees(1, x[:100]))
