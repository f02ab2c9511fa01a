"""Saving and loading of fits, in files that any language can read; a file is written whole or not at all.

A file holds arrays by name and one mapping of text to text, its metadata, in one of two containers: safetensors, or
numpy's ``.npz``, where the metadata are JSON in an array called ``__metadata__``. Neither can run code.

=====================================  ==========================================================================
array                                  shape and meaning
=====================================  ==========================================================================
``params.weights``                     ``(k,)``, which sum to one, with noise or without
``params.means``                       ``(k, d)``, in the features' own units
``params.covariances``                 as of :class:`jaxgmm.GMMParams`
``params.noise_weight``                ``()``, where there is noise: its share of all rows
``noise.lower``, ``.upper``,           as of :class:`jaxgmm.Noise`, where there is noise
``.faces``, ``.log_volume``
``standardisation.shift``, ``.scale``  ``(d,)``, where known: the fit computed with (x - shift) / scale; the
                                       parameters are in the units of x
=====================================  ==========================================================================

==================  =============================================================================================
metadata            meaning
==================  =============================================================================================
``jaxgmm_format``   version of this schema
``jaxgmm_version``  version of the library that wrote the file
``family``          name of the covariance family, see :func:`jaxgmm.get_family`
``feature_names``   JSON list of d names
``criteria``        JSON object of numbers by name, such as ``log_likelihood`` in nats, ``bic``
``status``          name of the :class:`jaxgmm.Status` of the fit; empty where parameters alone were saved
``n_iter``          iterations of the fit, or ``null``
``digest``          SHA-256 of all the above, so that an edited file is told from a saved one
==================  =============================================================================================

In format 1, which is still read, ``params.weights`` was ``(k + 1,)`` where there was noise, whose weight was the last,
and there was no ``params.noise_weight``.
"""

import hashlib
import io as streams
import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..checks import mixture_of
from ..mixture.units import Scale
from ..types import GMMParams, Noise, NoisyGMMParams, Status
from .saved import FitLike, SavedFit, as_saved_fit, check_saved_fit
from .writing import write_atomically

_FORMAT = 2
_NUMPY = ".npz"
_ZIP = b"PK\x03\x04"  # first bytes of a .npz

Content = tuple[dict[str, np.ndarray], dict[str, str]]  # arrays, metadata


def save(path: str | Path, model: FitLike) -> None:
    """Write a fit to a file, whole or not at all.

    Args:
        path: the file, replaced if it exists: a numpy archive where it is called ``.npz``, else safetensors.
        model: a :class:`SavedFit`, or what :func:`as_saved_fit` makes one of.

    Raises:
        TypeError: if ``model`` is none of these.
        ValueError: if its parts do not go together.
        OSError: if the file cannot be written; what was there stays.
        ModuleNotFoundError: without safetensors, but for ``.npz``.

    Example:
        >>> import numpy as np, tempfile
        >>> params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder + "/model.safetensors", as_saved_fit(params, feature_names=["a"]))
        ...     load(folder + "/model.safetensors").feature_names
        ('a',)
    """
    arrays, metadata = _content(as_saved_fit(model))
    metadata["digest"] = _digest(arrays, metadata)
    if Path(path).suffix.lower() == _NUMPY:
        contents: dict[str, Any] = {"__metadata__": np.array(json.dumps(metadata)), **arrays}
        write_atomically(path, lambda file: np.savez(file, **contents))
    else:
        from safetensors.numpy import save as packed

        content = packed(arrays, metadata)
        write_atomically(path, lambda file: file.write(content))


def load(path: str | Path) -> SavedFit:
    """Read a fit that :func:`save` wrote, whatever the file is called now.

    Args:
        path: the file.

    Returns:
        The :class:`SavedFit`, its parameters as numpy arrays, bit for bit as they were saved.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, was edited, holds something else, or was written by a newer version.
        ModuleNotFoundError: without safetensors, but for ``.npz``.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        ...     load(file.name)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ...: expected a fit saved by jaxgmm, got a damaged or foreign file
    """
    content = Path(path).read_bytes()

    # Unpack, check format and digest, and put the parts together
    try:
        arrays, metadata = _from_npz(content) if content.startswith(_ZIP) else _from_safetensors(content)
        version = int(metadata["jaxgmm_format"])
        if version > _FORMAT:
            refusal = f"expected format {_FORMAT} or older, got {version}; update jaxgmm"
        elif metadata.pop("digest") != _digest(arrays, metadata):
            refusal = "expected a fit as jaxgmm saved it, got one that was edited or damaged since"
        else:
            return _saved_fit(arrays, metadata)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # of any kind: a damaged file makes zipfile, numpy and json raise a dozen kinds
        raise ValueError(f"{path}: expected a fit saved by jaxgmm, got a damaged or foreign file") from error
    raise ValueError(f"{path}: {refusal}")


def _from_npz(content: bytes) -> Content:
    with np.load(streams.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("__metadata__")))


def _from_safetensors(content: bytes) -> Content:
    from safetensors.numpy import load as unpacked

    arrays = unpacked(content)
    length = int.from_bytes(content[:8], "little")  # of the header, to which safetensors gives no access from memory
    return arrays, json.loads(content[8 : 8 + length])["__metadata__"]


def _content(saved: SavedFit) -> Content:
    """Arrays and metadata of a saved fit, as the tables above name them."""
    # Arrays, in the byte order of this machine
    params, scale = saved.params, saved.standardisation
    named = {"params": mixture_of(params)._asdict(), "standardisation": {} if scale is None else scale._asdict()}
    if isinstance(params, NoisyGMMParams):
        named["params"]["noise_weight"] = params.noise_weight
        named["noise"] = params.noise._asdict()
    arrays = {
        f"{prefix}.{field}": np.asarray(value, np.asarray(value).dtype.newbyteorder("="), order="C")
        for prefix, fields in named.items()
        for field, value in fields.items()
    }

    # Metadata, all of it text
    metadata = {
        "jaxgmm_format": str(_FORMAT),
        "jaxgmm_version": __version__,
        "family": saved.family,
        "feature_names": json.dumps(saved.feature_names),
        "criteria": json.dumps(dict(saved.criteria)),
        "status": "" if saved.status is None else saved.status.name,
        "n_iter": json.dumps(saved.n_iter),
    }
    return arrays, metadata


def _saved_fit(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> SavedFit:
    """The saved fit that arrays and metadata of a file describe."""

    def part(prefix: str, kind: Any) -> Any:
        return kind(*(arrays[f"{prefix}.{field}"] for field in kind._fields))

    # Parameters, with a noise component where there is one
    params = part("params", GMMParams)
    if "noise.lower" in arrays and metadata["jaxgmm_format"] == "1":
        weights, noise_weight = params.weights[:-1], params.weights[-1, ...]
        shares = weights if weights.sum() > 0 else np.ones_like(weights)  # where all was noise, any shares will do
        mixture: Any = params._replace(weights=shares / shares.sum())
        params = NoisyGMMParams(mixture, noise_weight, part("noise", Noise))
    elif "noise.lower" in arrays:
        params = NoisyGMMParams(params, arrays["params.noise_weight"], part("noise", Noise))  # type: ignore[arg-type]

    # The fit, refused where its parts do not go together
    return check_saved_fit(
        SavedFit(
            params=params,
            family=metadata["family"],
            feature_names=tuple(json.loads(metadata["feature_names"])),
            criteria=dict(json.loads(metadata["criteria"])),
            status=Status[metadata["status"]] if metadata["status"] else None,
            n_iter=json.loads(metadata["n_iter"]),
            standardisation=part("standardisation", Scale) if "standardisation.shift" in arrays else None,
        )
    )


def _digest(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> str:
    """SHA-256 of arrays and metadata; neither container has a checksum that covers both."""
    whole = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        whole.update(f"{name} {array.dtype.name} {array.shape}".encode() + array.tobytes())
    return f"sha256:{whole.hexdigest()}"
