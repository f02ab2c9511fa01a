"""Fits in files, and files that are whole or not there at all."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
import pytest
from problems import FAMILIES, eps, random_params
from safetensors.numpy import save_file

import jaxgmm
from jaxgmm.files import archives as io
from jaxgmm.files import writing
from jaxgmm.mixture.units import Scale

PARAMS = jaxgmm.GMMParams(np.array([0.25, 0.75]), np.array([[0.0, 1.0], [2.0, 3.0]]), np.stack([np.eye(2)] * 2))
SAVED = io.SavedFit(PARAMS, "full", ("a", "b"))
NAMES = ["file", "file.safetensors", "file.npz", "file.NPZ"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture(params=["safetensors", "npz"])
def container(request, tmp_path):
    """A file of either kind."""
    return tmp_path / f"file.{request.param}"


def write(path, arrays, metadata, seal=True):
    """The file of a saved fit, made by hand, with the digest of what it holds; a change to None leaves an entry out."""
    arrays = {name: array for name, array in arrays.items() if array is not None}
    metadata = {name: text for name, text in metadata.items() if text is not None}
    if seal:
        metadata["digest"] = io._digest(arrays, metadata)
    if path.suffix == ".npz":
        np.savez(path, __metadata__=np.array(json.dumps(metadata)), **arrays)
    else:
        save_file(arrays, path, metadata)


def assert_same(saved, other):
    assert saved._replace(params=None, standardisation=None) == other._replace(params=None, standardisation=None)
    assert type(saved.params) is type(other.params)
    leaves, others = (jax.tree.leaves((fit.params, fit.standardisation)) for fit in (saved, other))
    for leaf, other_leaf in zip(leaves, others, strict=True):
        assert (leaf.dtype, leaf.shape) == (np.asarray(other_leaf).dtype, np.shape(other_leaf))
        assert leaf.tobytes() == np.asarray(other_leaf).tobytes()


# -------------------------------------------------------------------------------------------------------- saved fits


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("name", NAMES)
def test_a_fit_comes_back_as_it_was_saved(name, family, tmp_path, dtype):
    params = jaxgmm.GMMParams(*map(np.asarray, random_params(family, d=3, dtype=dtype)))
    saved = io.SavedFit(
        params,
        family.name,
        ("größe", "two words", "x,y"),
        {"log_likelihood": -1 / 3, "bic": 1e300},
        jaxgmm.Status.MAX_ITER,
        7,
        Scale(np.array([1, 2, 3], dtype), np.array([4, 5, 6], dtype)),
    )
    io.save(str(tmp_path / name), saved)
    assert os.listdir(tmp_path) == [name]  # the name as given, no extension added
    assert_same(io.load(str(tmp_path / name)), saved)


def test_what_little_is_known_comes_back_too(container):
    io.save(container, SAVED)
    assert_same(io.load(container), SAVED)


@pytest.mark.parametrize("noise", [jaxgmm.box_noise, jaxgmm.hull_noise])
def test_a_noise_component_is_kept(noise, container, dtype):
    noisy = jaxgmm.with_noise(PARAMS, noise(np.array([[0, 0], [4, 0], [0, 5]], dtype)))
    io.save(container, noisy)
    assert_same(io.load(container), io.as_saved_fit(noisy))


def test_precision_does_not_depend_on_configuration(container):
    io.save(container, SAVED._replace(params=PARAMS._replace(weights=np.array([1 / 3, 2 / 3]))))
    np.testing.assert_array_equal(io.load(container).params.weights, np.array([1 / 3, 2 / 3]))  # though x64 is off


@pytest.mark.parametrize(
    "dress", [np.asfortranarray, lambda a: a.astype(">f8"), lambda a: np.repeat(a, 2, -1)[..., ::2]]
)
def test_the_layout_of_arrays_in_memory_does_not_matter(dress, container):
    means = dress(PARAMS.means)
    io.save(container, SAVED._replace(params=PARAMS._replace(means=means)))
    np.testing.assert_array_equal(io.load(container).params.means, means)


def test_what_the_file_is_called_does_not_matter_to_reading(path):
    for name in ("file.npz", "file.safetensors"):
        io.save(path.with_name(name), SAVED)
        path.with_name(name).rename(path)
        assert_same(io.load(path), SAVED)


def test_another_process_scores_bit_for_bit_the_same(tmp_path, x64):
    x = np.random.default_rng(0).normal(size=(50, 2))
    np.save(tmp_path / "x.npy", x)
    paths = [str(tmp_path / name) for name in ("model.npz", "model.safetensors")]
    for name in paths:
        io.save(name, PARAMS._replace(means=PARAMS.means / 3))
    program = (
        "import sys, numpy, jax, jaxgmm; jax.config.update('jax_enable_x64', True); x = numpy.load(sys.argv[1])\n"
        "for path in sys.argv[2:]: print(numpy.asarray(jaxgmm.log_prob(jaxgmm.load(path).params, x)).tobytes().hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.npy"), *paths]
    scores = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    expected = np.asarray(jaxgmm.log_prob(PARAMS._replace(means=PARAMS.means / 3), x))
    assert expected.dtype == np.float64
    assert scores == [expected.tobytes().hex()] * 2


def test_a_safetensors_file_is_as_documented(tmp_path):
    from safetensors import safe_open

    io.save(tmp_path / "file", SAVED._replace(criteria={"bic": 2.5}, status=jaxgmm.Status.CONVERGED, n_iter=3))
    with safe_open(tmp_path / "file", "numpy") as file:
        metadata = file.metadata()
        assert set(file.keys()) == {"params.weights", "params.means", "params.covariances"}
    assert metadata.pop("digest").startswith("sha256:")
    assert metadata == {
        "jaxgmm_format": "2",
        "jaxgmm_version": jaxgmm.__version__,
        "family": "full",
        "feature_names": '["a", "b"]',
        "criteria": '{"bic": 2.5}',
        "status": "CONVERGED",
        "n_iter": "3",
    }
    assert all(f"``{name}``" in io.__doc__ for name in [*metadata, "digest"])


def test_noise_in_a_file_is_as_documented(tmp_path):
    from safetensors import safe_open

    noisy = jaxgmm.with_noise(PARAMS, jaxgmm.box_noise(np.array([[0, 0], [4, 5]], np.float32)), 0.25)
    io.save(tmp_path / "file", noisy)
    with safe_open(tmp_path / "file", "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    names = [f"params.{field}" for field in ("weights", "means", "covariances", "noise_weight")]
    assert set(arrays) == {*names, *(f"noise.{field}" for field in jaxgmm.Noise._fields)}
    assert arrays["params.weights"].tolist() == [0.25, 0.75]
    assert (arrays["params.noise_weight"].shape, float(arrays["params.noise_weight"])) == ((), 0.25)
    documented = io.__doc__.replace("``.", "``noise.").replace("``noise.scale", "``standardisation.scale")
    assert all(f"``{name}``" in documented for name in arrays)


@pytest.mark.parametrize(
    "saved",
    [
        SAVED._replace(family="diag"),
        SAVED._replace(feature_names=("a",)),
        SAVED._replace(params=PARAMS._replace(weights=np.ones(3) / 3)),
        SAVED._replace(standardisation=Scale(np.zeros(3), np.ones(3))),
    ],
    ids=["family", "names", "params", "standardisation"],
)
def test_parts_that_do_not_go_together_are_not_written(saved, container):
    with pytest.raises(ValueError, match="expected"):
        io.save(container, saved)
    assert not container.exists()


def test_what_is_no_fit_is_not_written(container):
    for thing in ("model", None, PARAMS.means, tuple(PARAMS)):
        with pytest.raises(TypeError, match="expected a fit, a SavedFit or GMMParams, got"):
            io.save(container, thing)
    assert not container.exists()


# ----------------------------------------------------------------------------------------------------- older formats


def written_in_format_1(path, saved):
    """The file of a saved fit as format 1 has it: with noise, ``params.weights`` has one more entry, the noise's."""
    arrays, metadata = io._content(saved)
    noise_weight = arrays.pop("params.noise_weight", None)
    if noise_weight is not None:
        weights = arrays["params.weights"]
        arrays["params.weights"] = np.append((1 - noise_weight) * weights, noise_weight).astype(weights.dtype)
    write(path, arrays, metadata | {"jaxgmm_format": "1", "jaxgmm_version": "0.1.0"})


def test_a_file_in_format_1_is_read(container, dtype):
    params = jaxgmm.GMMParams(*(leaf.astype(dtype) for leaf in PARAMS))
    saved = SAVED._replace(
        params=params,
        criteria={"bic": 2.5},
        status=jaxgmm.Status.CONVERGED,
        n_iter=3,
        standardisation=Scale(np.zeros(2, dtype), np.ones(2, dtype)),
    )
    written_in_format_1(container, saved)
    assert_same(io.load(container), saved)


@pytest.mark.parametrize("noise", [jaxgmm.box_noise, jaxgmm.hull_noise])
@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_noise_in_format_1_is_the_same_mixture(weight, noise, container, dtype):
    x = np.array([[0, 0], [4, 0], [0, 5], [1, 1]], dtype)
    params = jaxgmm.GMMParams(*(leaf.astype(dtype) for leaf in PARAMS))
    saved = io.as_saved_fit(jaxgmm.with_noise(params, noise(x), weight))
    written_in_format_1(container, saved)
    read = io.load(container)
    assert isinstance(read.params, jaxgmm.NoisyGMMParams)
    assert read._replace(params=None) == saved._replace(params=None)
    assert {leaf.dtype for leaf in jax.tree.leaves(read.params)} == {np.dtype(dtype)}
    assert read.params.noise_weight == saved.params.noise_weight
    if weight < 1:
        np.testing.assert_allclose(read.params.mixture.weights, params.weights, rtol=10 * eps(dtype))
    assert read.params.mixture.weights.sum() == pytest.approx(1, abs=10 * eps(dtype))
    scores, expected = (np.asarray(jaxgmm.log_prob(fit.params, x)) for fit in (read, saved))
    np.testing.assert_allclose(scores, expected, rtol=100 * eps(dtype))
    for leaf, other in zip(read.params.noise, saved.params.noise, strict=True):
        np.testing.assert_array_equal(leaf, other)


def test_what_was_read_in_format_1_is_saved_in_format_2(container):
    saved = io.as_saved_fit(jaxgmm.with_noise(PARAMS, jaxgmm.box_noise(np.array([[0, 0], [4, 5]], np.float32))))
    written_in_format_1(container, saved)
    read = io.load(container)
    io.save(container, read)
    assert_same(io.load(container), read)


def test_an_edited_file_in_format_1_is_refused(container):
    saved = io.as_saved_fit(jaxgmm.with_noise(PARAMS, jaxgmm.box_noise(np.array([[0, 0], [4, 5]], np.float32))))
    arrays, metadata = io._content(saved)
    write(container, arrays, metadata | {"jaxgmm_format": "1", "digest": io._digest(arrays, metadata)}, seal=False)
    with pytest.raises(ValueError, match=EDITED):
        io.load(container)


# -------------------------------------------------------------------------------------------- files that are no fits

CONTENT = io._content(SAVED)
FOREIGN = r"file\..*: expected a fit saved by jaxgmm, got a damaged or foreign file"
EDITED = r"file\..*: expected a fit as jaxgmm saved it, got one that was edited or damaged since"


def test_a_hand_made_file_of_the_right_content_is_a_fit(container):
    """So that each change below is what is refused."""
    write(container, *CONTENT)
    assert_same(io.load(container), SAVED)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in CONTENT[0]),
        {"params.means": np.zeros(2)},
        {"params.weights": np.ones(3) / 3},
        {"params.covariances": np.ones((2, 3, 3))},
        {"noise.lower": np.zeros(2)},
        {"standardisation.shift": np.zeros(2)},
    ],
    ids=str,
)
def test_arrays_that_are_no_consistent_fit_are_refused(changes, container):
    write(container, CONTENT[0] | changes, CONTENT[1])
    with pytest.raises(ValueError, match=FOREIGN):
        io.load(container)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in CONTENT[1] if name != "jaxgmm_version"),
        {"jaxgmm_format": "one"},
        {"family": "round"},
        {"family": "diag"},
        {"feature_names": '["a"]'},
        {"feature_names": "a, b"},
        {"status": "TIRED"},
        {"criteria": "2.5"},
    ],
    ids=str,
)
def test_metadata_that_are_no_consistent_fit_are_refused(changes, container):
    write(container, CONTENT[0], CONTENT[1] | changes)
    with pytest.raises(ValueError, match=FOREIGN):
        io.load(container)


@pytest.mark.parametrize("changes", [{}, {"params.weights": None, "params.logits": np.zeros(2)}], ids=["same", "other"])
def test_a_newer_format_is_named_whatever_it_holds(changes, container):
    write(container, CONTENT[0] | changes, CONTENT[1] | {"jaxgmm_format": "3"}, seal=False)
    with pytest.raises(ValueError, match=r"file\..*: expected format 2 or older, got 3; update jaxgmm"):
        io.load(container)


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({"params.weights": np.array([0.5, 0.5])}, {}),
        ({"params.weights": np.array([0.25, 0.75], np.float32)}, {}),
        ({"more": np.zeros(1)}, {}),
        ({}, {"feature_names": '["b", "a"]'}),
        ({}, {"criteria": '{"bic": 1.0}'}),
        ({}, {"jaxgmm_version": "0.0.1"}),
    ],
    ids=str,
)
def test_an_edited_file_is_refused(arrays, metadata, container):
    digest = io._digest(*CONTENT)
    write(container, CONTENT[0] | arrays, CONTENT[1] | metadata | {"digest": digest}, seal=False)
    with pytest.raises(ValueError, match=EDITED):
        io.load(container)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "file.any"
    for content in (b"", b"a,b\n1,2\n", bytes(range(256)), b"\x80\x04K\x01.", b"PK\x03\x04"):  # the fourth a pickle
        path.write_bytes(content)
        with pytest.raises(ValueError, match=FOREIGN):
            io.load(path)
    save_file({"weight": np.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(ValueError, match=FOREIGN):
        io.load(path)
    with open(path, "wb") as file:
        np.savez(file, params=np.array([{}], object))  # which only a pickle can hold
    with pytest.raises(ValueError, match=FOREIGN):
        io.load(path)


def test_a_truncated_fit_is_refused(container):
    io.save(container, SAVED)
    whole = container.read_bytes()
    for length in range(0, len(whole), 37):
        container.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=FOREIGN):
            io.load(container)


def test_a_flipped_bit_is_refused_or_harmless(container):
    io.save(container, SAVED)
    whole, n_refused = container.read_bytes(), 0
    for position in [*range(0, len(whole), 7), *range(len(whole) - 22, len(whole))]:  # a zip directory ends with 22
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        container.write_bytes(damaged)
        try:
            saved = io.load(container)
        except ValueError as error:
            assert str(error).startswith(str(container))  # noqa: PT017 - either outcome is right
            n_refused += 1
        else:
            assert_same(saved, SAVED)  # a zip archive says some things twice, and a date that nobody reads
    assert n_refused > 100


def test_without_safetensors_numpy_archives_can_be_kept(tmp_path, monkeypatch):
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    io.save(tmp_path / "file.npz", SAVED)
    assert_same(io.load(tmp_path / "file.npz"), SAVED)
    with pytest.raises(ModuleNotFoundError, match="safetensors"):
        io.save(tmp_path / "file.safetensors", SAVED)
    (tmp_path / "file.npz").write_bytes(b"anything else")
    with pytest.raises(ModuleNotFoundError, match="safetensors"):
        io.load(tmp_path / "file.npz")


def test_what_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        io.load(tmp_path)


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("before", [None, b"as it was"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing_behind(error, before, path):
    if before is not None:
        path.write_bytes(before)

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        io.write_atomically(path, write)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == ({} if before is None else {"file": before})


def test_an_error_names_the_file_asked_for(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "missing" / "file", tmp_path / "file" / "file"):
        with pytest.raises(OSError, match=r".*") as refusal:
            io.write_atomically(path, lambda file: file.write(b"new"))
        assert refusal.value.filename == str(path)
        assert refusal.value.strerror
    assert os.listdir(tmp_path) == ["file"]


def test_a_new_file_has_the_permissions_of_any_other(path):
    before = os.umask(0o027)
    try:
        io.write_atomically(path, lambda file: file.write(b"new"))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_longest_name_and_a_relative_one_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    io.write_atomically(name, lambda file: file.write(b"new"))
    assert Path(name).read_bytes() == b"new"


def test_a_link_stays_a_link(path):
    target = path.with_name("target")
    target.write_bytes(b"old")
    path.symlink_to(target)
    io.write_atomically(path, lambda file: file.write(b"new"))
    assert path.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(path):
    os.mkfifo(path)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()), daemon=True)
    reader.start()
    io.write_atomically(path, lambda file: file.write(b"new"))
    reader.join(10)
    assert received == [b"new"]
    assert path.is_fifo()


def test_a_killed_save_leaves_the_old_file_whole(container):
    io.save(container, SAVED)
    program = (
        "import os, signal, sys; from jaxgmm import io; saved = io.load(sys.argv[1]); replace = os.fsync\n"
        "os.fsync = lambda descriptor: (replace(descriptor), os.kill(os.getpid(), signal.SIGKILL))\n"
        "io.save(sys.argv[1], saved._replace(feature_names=('c', 'd')))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(container)], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    assert_same(io.load(container), SAVED)
    assert len(os.listdir(container.parent)) == 2  # all that the killed one had written is beside it


def test_an_unfinished_file_is_known_to_who_ends_the_process(tmp_path):
    seen = []
    io.write_atomically(tmp_path / "model", lambda _: seen.extend(writing.UNFINISHED))
    assert [Path(name).parent for name in seen] == [tmp_path]
    assert not writing.UNFINISHED


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("folder", "folder: expected a file, got a directory"),
        ("missing/model", "model: expected a file in a directory that exists, got no directory .*missing"),
        ("file/model", "model: expected a file in a directory that exists, got no directory .*file"),
        ("file", None),
        ("new", None),
        (os.devnull, None),
    ],
)
def test_whether_a_file_can_be_written_is_known_before(name, error, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=error) if error else nullcontext():
        writing.check_writable(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before
