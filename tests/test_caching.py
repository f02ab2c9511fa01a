"""Compiled programs on disk, in processes of their own: settings are those of a whole process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import pytest

import jaxgmm
from jaxgmm import caching
from jaxgmm.cli import commands

SCRIPT = """
import jax, jaxgmm, pathlib, sys
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("/cache_hits") else None)
print(jaxgmm.enable_compilation_cache(*sys.argv[1:]))
jax.jit(lambda x: 3 * x + 1)(2.0)
print(len(hits) > 0)
"""


@pytest.fixture
def python(tmp_path):
    """Run Python in a process of its own, with caches in the test's folder, and return what it printed."""

    def run(*arguments, **variables):
        kept = {name: value for name, value in os.environ.items() if "_CACHE" not in name}
        environment = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | variables
        process = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert (process.returncode, process.stderr) == (0, "")
        return process.stdout

    return run


@pytest.fixture
def command(tmp_path):
    """A command whose programs are small: rows under a model."""
    params = jaxgmm.GMMParams(jnp.ones(1), jnp.zeros((1, 2)), jnp.ones((1, 2)))
    jaxgmm.save(tmp_path / "model.npz", jaxgmm.as_saved_fit(params))
    (tmp_path / "data.csv").write_text("x1,x2\n0,1\n2,3\n")
    return ["-m", "jaxgmm", "predict", str(tmp_path / "model.npz"), str(tmp_path / "data.csv")]


def programs(folder):
    return sorted(path.name for path in folder.glob("*-cache"))


def test_a_second_process_finds_the_programs_of_the_first(python, tmp_path):
    folder = tmp_path / "cache" / "jaxgmm"
    assert python("-c", SCRIPT) == f"{folder}\nFalse\n"
    kept = programs(folder)
    assert kept
    assert python("-c", SCRIPT) == f"{folder}\nTrue\n"
    assert programs(folder) == kept
    assert folder.stat().st_mode & 0o077 == 0  # what lies there is run


def test_a_folder_of_ones_own(python, tmp_path):
    assert python("-c", SCRIPT, str(tmp_path / "own")) == f"{tmp_path / 'own'}\nFalse\n"
    assert programs(tmp_path / "own")
    assert not (tmp_path / "cache").exists()


def test_variables_of_jax_come_first(python, tmp_path):
    elsewhere = str(tmp_path / "elsewhere")
    long_ones = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1000"}
    assert python("-c", SCRIPT, JAX_COMPILATION_CACHE_DIR=elsewhere, **long_ones) == f"{elsewhere}\nFalse\n"
    assert not programs(Path(elsewhere))
    assert not (tmp_path / "cache").exists()


def test_the_folder_can_change(python, tmp_path):
    script = SCRIPT + "jaxgmm.enable_compilation_cache(sys.argv[1] + '2')\njax.jit(lambda x: 5 * x + 2)(2.0)\n"
    python("-c", script, str(tmp_path / "own"))
    assert programs(tmp_path / "own")
    assert programs(tmp_path / "own2")


def test_commands_keep_programs_unless_told_not_to(python, command, tmp_path):
    folder = tmp_path / "cache" / "jaxgmm"
    without = python(*command, "--no-cache")
    assert without.startswith("label,log_density")
    assert not folder.exists()
    assert python(*command) == without
    kept = programs(folder)
    assert kept
    assert python(*command) == without
    assert programs(folder) == kept


def test_every_command_has_the_option():
    options = {name: [option.name for option in command.params] for name, command in commands.COMMANDS.items()}
    assert [name for name, names in options.items() if "no_cache" in names] == ["fit", "select", "report", "predict"]


def test_commands_go_on_without_a_folder(python, command, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert python(*command).startswith("label,log_density")


def test_commands_go_on_with_programs_cut_off(python, command, tmp_path):
    first = python(*command)
    for path in (tmp_path / "cache" / "jaxgmm").glob("*-cache"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert python(*command) == first


def test_a_full_disk_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(caching, "LEAST_FREE", 2**80)
    with pytest.raises(OSError, match="No space left"):
        caching.enable_compilation_cache(tmp_path)


def test_programs_not_used_for_longest_are_deleted(tmp_path):
    for age, name in enumerate(("newest", "read", "old", "oldest")):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - 100 * age, time.time() - 100 * age))
    os.utime(tmp_path / "read-cache", (time.time(), time.time() - 1000))
    (tmp_path / "other").write_bytes(bytes(1000))
    caching._delete_oldest(tmp_path, most_bytes=250)
    assert {path.name for path in tmp_path.iterdir()} == {"newest-cache", "read-cache", "other"}
    caching._delete_oldest(tmp_path / "none")
