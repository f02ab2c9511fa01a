"""Draws the README's picture, from the library itself: ``python docs/figures/make.py``."""

from pathlib import Path

import jax
import matplotlib.pyplot as plt

import jaxgmm


def main() -> None:
    """Old Faithful: the search over families and numbers of components, and the model that it chooses."""
    x, names = jaxgmm.datasets.load_faithful()
    names = [f"{name} [min]" for name in names]
    found = jaxgmm.select(jax.random.key(0), x)
    figure, (search, clusters, contours) = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    jaxgmm.plotting.criteria(found, ax=search)
    search.set_ylim(2300, 2500)  # without the spherical families, which are far off
    jaxgmm.plotting.classification(found.best.params, x, names=names, ax=clusters)
    jaxgmm.plotting.density(found.best.params, x, names=names, ax=contours)
    figure.savefig(Path(__file__).with_name("faithful.png"), dpi=110)


if __name__ == "__main__":
    main()
