"""Seconds from the start of a process to its answer, compiling included, against scikit-learn and R's mclust.

Run ``python -m benchmarks.first_result``, or with ``--only TEXT`` the rows whose name has the text. Every script runs
in a process of its own, with nothing compiled before, and libraries take turns; figures are medians. Commands run
twice, the second time with the programs that the first has kept. ``yardsticks``: CPU seconds in those that compiling a
plain EM loop takes in the same run, so that figures of other and of busy machines can be compared. ``maps``: memory
maps at the end, of which Linux grants a process 65,530. ``answer``: log-likelihood, or their sum, or least BIC.
Libraries run by their defaults, but scikit-learn from ten starts instead of one; it searches its four families. mclust
is skipped where ``Rscript`` or the package is missing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import jaxgmm

from .tables import Row, write

PYTHON = """
import numpy as np
sets = list(np.load("{data}").values())
x = sets[0]
{import_}
answer = {answer}
maps = open("/proc/self/maps").read().count("\\n")
print(f"{{maps}} {{answer:.2f}}")
"""
R = """
suppressMessages(library(mclust))
x <- as.matrix(read.csv("{data}.csv", header = FALSE))
answer <- {answer}
cat(length(readLines("/proc/self/maps")), sprintf("%.2f", answer), "\\n")
"""
IMPORTS = {
    "jaxgmm": """import jax, jaxgmm
fit = lambda x, k: float(jaxgmm.fit(jax.random.key(0), x, k).best.log_likelihood)
select = lambda x: float(np.nanmin(jaxgmm.select(jax.random.key(0), x).table))""",
    "scikit-learn": """from sklearn.mixture import GaussianMixture
fit = lambda x, k: len(x) * GaussianMixture(k, n_init=10, random_state=0).fit(x).score(x)
families = ("full", "tied", "diag", "spherical")
select = lambda x: min(GaussianMixture(k, covariance_type=family, n_init=10, random_state=0).fit(x).bic(x)
                       for family in families for k in range(1, 10))""",
}

# Compiles a loop of plain EM and prints the CPU seconds that it takes.
YARDSTICK = """
import time
import jax, jax.numpy as jnp

def iterate(carry):
    x, (weights, means, covariances), before, after, n = carry
    factors = jnp.linalg.cholesky(covariances)
    residuals = jax.vmap(lambda mean, factor: jax.scipy.linalg.solve_triangular(factor, (x - mean).T, lower=True))(
        means, factors)
    log_determinants = jnp.log(jnp.diagonal(factors, axis1=1, axis2=2)).sum(1)
    joint = jnp.log(weights) - log_determinants - (residuals**2).sum(1).T / 2
    log_density = jax.scipy.special.logsumexp(joint, axis=1)
    responsibilities = jnp.exp(joint - log_density[:, None])
    counts = responsibilities.sum(0)
    means = responsibilities.T @ x / counts[:, None]
    centred = x - means[:, None]
    covariances = jnp.einsum("nk,knd,kne->kde", responsibilities, centred, centred) / counts[:, None, None]
    return x, (counts / len(x), means, covariances), after, log_density.sum(), n + 1

def em(x, params):
    start = (x, params, jnp.array(-jnp.inf), jnp.array(-1e30), 0)
    return jax.lax.while_loop(lambda c: (c[3] - c[2] > 1e-6 * len(x)) & (c[4] < 1000), iterate, start)[1]

shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((10_000, 2), (3,), (3, 2), (3, 2, 2))]
jax.jit(lambda x: x + 1)(jnp.ones(3))
begin = time.process_time()
jax.jit(em).lower(shapes[0], tuple(shapes[1:])).compile()
print(time.process_time() - begin)
"""


def drawn(n: int, d: int, k: int, seed: int = 0) -> np.ndarray:
    """Rows of k components that overlap."""
    rng = np.random.default_rng(seed)
    means, mixing = 3 * rng.normal(size=(k, d)), np.eye(d) + rng.normal(size=(k, d, d)) / d**0.5 / 2
    labels = rng.integers(k, size=n)
    rows: np.ndarray = means[labels] + np.einsum("nde,ne->nd", mixing[labels], rng.normal(size=(n, d)))
    return rows


def tasks() -> dict[str, tuple[list[np.ndarray], str, str]]:
    """Data sets, and what is asked of them in Python and, where mclust can be asked the same, in R."""
    faithful, iris = jaxgmm.datasets.load_faithful().x, jaxgmm.datasets.load_iris().x
    groups = [drawn(int(n), 2, 2, seed) for seed, n in enumerate(np.geomspace(40, 4000, 50).round())]
    fit, in_r = "fit(x, {})", 'Mclust(x, G = {}, modelNames = "VVV", verbose = FALSE)$loglik'
    return {
        "fit faithful, k = 2": ([faithful], fit.format(2), in_r.format(2)),
        "fit iris, k = 3": ([iris], fit.format(3), in_r.format(3)),
        "fit 10,000 x 2, k = 3": ([drawn(10_000, 2, 3)], fit.format(3), in_r.format(3)),
        "fit 100,000 x 8, k = 5": ([drawn(100_000, 8, 5)], fit.format(5), in_r.format(5)),
        "select faithful, all families, k = 1..9": ([faithful], "select(x)", "-Mclust(x, verbose = FALSE)$bic"),
        "fit 50 groups of 40 to 4,000 x 2, k = 2": (groups, "sum(fit(x, 2) for x in sets)", ""),
        "fit 300 x 2, k = 1..12": ([drawn(300, 2, 3)], "sum(fit(x, k) for k in range(1, 13))", ""),
    }


def process(command: list[str], folder: str) -> Row:
    """Wall and CPU seconds and peak memory of a process without programs from before, and the last line it prints."""
    kept = {name: value for name, value in os.environ.items() if "_CACHE" not in name}
    begin = time.perf_counter()
    child = subprocess.Popen(command, env=kept | {"XDG_CACHE_HOME": folder}, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = child.stdout.read().splitlines()
    _, status, used = os.wait4(child.pid, 0)  # instead of child.wait, for what it has used
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    if child.returncode:
        raise RuntimeError(f"exit code {child.returncode}: {command}")
    row = {"wall s": wall, "CPU s": used.ru_utime + used.ru_stime, "peak MB": used.ru_maxrss * 1024 / 1e6}
    return row | {"last line": lines[-1] if lines else ""}


def scripts(data: str, answer: str, in_r: str) -> dict[str, list[str]]:
    """The command of each library that can do the task."""
    commands = {
        library: [sys.executable, "-c", PYTHON.format(data=data, import_=import_, answer=answer)]
        for library, import_ in IMPORTS.items()
    }
    if in_r and has_mclust():
        commands["mclust"] = ["Rscript", "-e", R.format(data=data, answer=in_r)]
    return commands


def has_mclust() -> bool:
    """Whether R and mclust are installed."""
    look = ["Rscript", "-e", "quit(status = !requireNamespace('mclust', quietly = TRUE))"]
    return bool(shutil.which("Rscript")) and not subprocess.run(look, check=False, capture_output=True).returncode


def median(task: str, library: str, turns: Sequence[Row], yardstick: float) -> Row:
    """One row of the table, of several turns."""
    wall, cpu, peak = (float(np.median([turn[column] for turn in turns])) for column in ("wall s", "CPU s", "peak MB"))
    maps, _, answer = turns[-1]["last line"].partition(" ") if not task.startswith("command") else ("", "", "")
    row = {"task": task, "library": library, "wall s": wall, "CPU s": cpu, "yardsticks": cpu / yardstick}
    return row | {"peak MB": peak, "maps": maps, "answer": answer.strip()}


def measure_script(name: str, folder: str, repeats: int, yardstick: float) -> list[Row]:
    """The rows of one task, one for each library."""
    sets, answer, in_r = tasks()[name]
    data = f"{folder}/data.npz"
    np.savez(data, *sets)
    np.savetxt(f"{data}.csv", sets[0], delimiter=",", fmt="%.17g")
    commands = scripts(data, answer, in_r)
    turns = [{library: process(command, folder) for library, command in commands.items()} for _ in range(repeats)]
    return [median(name, library, [turn[library] for turn in turns], yardstick) for library in commands]


def measure_command(name: str, folder: str, repeats: int, yardstick: float) -> list[Row]:
    """The rows of a command of the command line, first and second time."""
    command = [sys.executable, "-m", "jaxgmm", name.split()[1], "--no-progress"]
    times = ("first", "second")
    turns = [[process(command, f"{folder}/{name}/{turn}") for _ in times] for turn in range(repeats)]
    by_time = zip(times, zip(*turns, strict=True), strict=True)
    return [median(f"{name}, {time} time", "jaxgmm", of_time, yardstick) for time, of_time in by_time]


def main() -> None:
    """Measure, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="part of the names of the rows to measure")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        of_loop = [process([sys.executable, "-c", YARDSTICK], folder) for _ in range(arguments.repeats)]
        yardstick = float(np.median([float(turn["last line"]) for turn in of_loop]))
        rows: list[Row] = []
        for name in [*tasks(), "command fit faithful", "command select faithful"]:
            if arguments.only not in name:
                continue
            measure = measure_script if name in tasks() else measure_command
            rows += measure(name, folder, arguments.repeats, yardstick)
            print(json.dumps(rows[-1]), flush=True)
    rows.append({"task": "the yardstick: compiling EM for 10,000 x 2", "CPU s": yardstick, "yardsticks": 1.0})
    peers = [] if has_mclust() else ["mclust not installed"]
    write(arguments.output, "From the start of a process to its answer", rows, *peers)


if __name__ == "__main__":
    main()
