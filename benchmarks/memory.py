"""Megabytes that a fit takes beyond its data, by the compiler's account.

Run ``python -m benchmarks.memory``. Programs are compiled for the shapes and not run: what the compiler sets aside for
temporaries is what they take, whatever the data.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxgmm

from .tables import write

MEGABYTE = 1e6
GRID = [(1_000_000, 16, 16), (4_194_304, 8, 64)]


def measure(structure: str, n: int, d: int, k: int) -> dict[str, Any]:
    """One row of the table."""
    family = jaxgmm.get_family(structure)
    array: Any = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    start = jaxgmm.GMMParams(array((k,)), array((k, d)), array(family.structure(k, d)))
    em = jax.jit(lambda start, x: jaxgmm.em(start, x, family=family, ridge=1e-6, max_iter=10))
    account: Any = em.lower(start, array((n, d))).compile().memory_analysis()
    return {
        "n, d, k": f"{n}, {d}, {k}",
        "structure": structure,
        "data MB": n * d * 4 / MEGABYTE,
        "n k responsibilities MB": n * k * 4 / MEGABYTE,
        "temporaries MB": account.temp_size_in_bytes / MEGABYTE,
    }


def main() -> None:
    """Measure the grid in float32, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    structures = ("full", "tied", "diag", "spherical")
    rows = [measure(structure, *shape) for shape in GRID for structure in structures]
    write(arguments.output, "Megabytes that EM takes beyond its data, float32", rows)


if __name__ == "__main__":
    main()
