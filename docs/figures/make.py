"""Draws the README's picture, from the library itself: ``python docs/figures/make.py``."""

import json
from pathlib import Path

import jax
from matplotlib.figure import Figure

import jaxgmm


def draw() -> Figure:
    """Old Faithful: the search over families and numbers of components, and the model that it chooses."""
    x, names = jaxgmm.datasets.load_faithful()
    names = [f"{name} [min]" for name in names]
    found = jaxgmm.select(jax.random.key(0), x)
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    search, clusters, contours = figure.subplots(1, 3)
    jaxgmm.plotting.criteria(found, ax=search)
    jaxgmm.plotting.clusters(found, x, feature_names=names, ax=clusters)
    jaxgmm.plotting.density(found, x, feature_names=names, ax=contours)
    return figure


def described(figure: Figure) -> list[dict]:
    """What is drawn, for the file, so that a test can tell whether the library still draws it."""
    return [
        {
            "title": ax.get_title(),
            "names": [ax.get_xlabel(), ax.get_ylabel()],
            "legend": [text.get_text() for text in ax.get_legend().get_texts()],
            "artists": len(ax.get_children()),
            "limits": [*ax.get_xlim(), *ax.get_ylim()],
        }
        for ax in figure.axes
    ]


if __name__ == "__main__":
    figure = draw()
    description = {"Description": json.dumps(described(figure))}
    figure.savefig(Path(__file__).with_name("faithful.png"), dpi=110, metadata=description)
