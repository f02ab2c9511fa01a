"""Covariance families: constraints on covariances, their maximum-likelihood estimates and counts of parameters.

A :class:`Family` is a value, static under ``jit``; strings live at the edges, in :func:`get_family`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import register_static

from ..linalg import pool_moments
from ..static import Bound
from ..types import GMMParams
from . import parsimonious as p


@register_static
@dataclass(frozen=True)
class Family:
    """A covariance family: constraints on the covariances of a mixture, as pure functions.

    Attributes:
        name: the name by which :func:`get_family` finds the family.
        structure: ``(k, d) -> shape`` in which the covariances are stored.
        estimate: ``(scatters, counts, previous) -> covariances``, the maximiser of the expected log-likelihood inside
            the family. Scatters are second moments about the new means, in the storage shape, counts ``(k,)``, and
            ``previous`` the covariances before the M-step.
        n_parameters: ``(k, d) -> int``, free parameters of the covariances alone.
        scale_equivariant: whether rescaling single features maps the family onto itself.
        letters: mclust's name of the family: volume, shape and orientation equal, variable or the identity.
        constrained: whether some covariances of the storage shape are not in the family, so that a start may not be.
        begin: ``estimate`` for the first M-step, when no previous covariances exist; None where it is ``estimate``.
    """

    name: str
    structure: Callable[[int, int], tuple[int, ...]]
    estimate: Callable[[Array, Array, Array], Array]
    n_parameters: Callable[[int, int], int]
    scale_equivariant: bool
    letters: str = ""
    constrained: bool = False
    begin: Callable[[Array, Array, Array], Array] | None = None

    def __repr__(self) -> str:
        return f"get_family({self.name!r})" if _BY_NAME.get(self.name) == self else f"Family({self.name!r})"

    def __str__(self) -> str:
        if not self.letters:
            return f"{self.name} covariances"
        volume, shape, orientation = tuple(self.letters)
        alike = {"E": "equal", "V": "variable"}
        factors = [f"{alike[volume]} {'variance' if len(self.name) == 1 else 'volume'}"]
        if len(self.name) > 1:
            factors += ["spherical"] if shape == "I" else [f"{alike[shape]} shape"]
        if shape != "I":
            factors += ["axes along the features"] if orientation == "I" else [f"{alike[orientation]} orientation"]
        return f"{self.name} covariances: {', '.join(factors)}"

    def __reduce__(self) -> Any:
        """Families of the table are pickled by name, so that they come back equal and with the same hash."""
        return (get_family, (self.name,)) if _BY_NAME.get(self.name) == self else object.__reduce__(self)


def _family(
    letters: str,
    estimate: p.Estimate,
    name: str = "",
    scale_equivariant: bool = True,
    begin: p.Estimate | None = None,
) -> Family:
    """A family of Sigma_j = lambda_j D_j A_j D_j^T; letters for its factors decide its storage and its parameters."""
    return Family(
        name=name or letters,
        structure=Bound(_structure, letters),
        estimate=estimate,
        n_parameters=Bound(_n_parameters, letters),
        scale_equivariant=scale_equivariant,
        letters=letters,
        constrained=estimate is not p.average,
        begin=begin,
    )


def _structure(letters: str, k: int, d: int) -> tuple[int, ...]:
    n_stored = 1 if letters in ("EII", "EEI", "EEE") else k
    if letters[2] == "I":
        return (n_stored, 1 if letters[1] == "I" else d)
    return (n_stored, d, d)


def _n_parameters(letters: str, k: int, d: int) -> int:
    volume, shape, orientation = ({"E": 1, "V": k, "I": 0}[letter] for letter in letters)
    return volume + shape * (d - 1) + orientation * (d * (d - 1) // 2)


FULL = _family("VVV", p.average, "full")
TIED = _family("EEE", p.average, "tied")
DIAG = _family("VVI", p.average, "diag")
SPHERICAL = _family("VII", p.average, "spherical", scale_equivariant=False)

FAMILIES = (
    _family("EII", p.average, scale_equivariant=False),
    SPHERICAL,
    _family("EEI", p.average),
    _family("VEI", Bound(p.along_features, p.equal_shape)),
    _family("EVI", Bound(p.along_features, p.equal_volume)),
    DIAG,
    TIED,
    _family("VEE", p.equal_shape_and_axes),
    _family(
        "EVE",
        Bound(p.along_common_axes, p.equal_volume),
        scale_equivariant=False,
        begin=Bound(p.along_best_common_axes, p.equal_volume),
    ),
    _family(
        "VVE",
        Bound(p.along_common_axes, p.free_variances),
        scale_equivariant=False,
        begin=Bound(p.along_best_common_axes, p.free_variances),
    ),
    _family("EEV", Bound(p.along_own_axes, p.equal_variances), scale_equivariant=False),
    _family("VEV", Bound(p.along_own_axes, p.equal_shape), scale_equivariant=False),
    _family("EVV", Bound(p.along_own_axes, p.equal_volume)),
    FULL,
)

# In one dimension there is only volume, equal or variable: what EII and VII store
FAMILIES_1D = (_family("EII", p.average, "E"), _family("VII", p.average, "V"))

_BY_NAME = {family.name: family for family in (FULL, TIED, DIAG, SPHERICAL)}
_BY_NAME |= {family.letters: family for family in FAMILIES} | {family.name: family for family in FAMILIES_1D}


def get_family(name: str | Family) -> Family:
    """Look a covariance family up by name; a :class:`Family` is returned as it is.

    Args:
        name: scikit-learn's ``"full"``, ``"tied"``, ``"diag"`` or ``"spherical"``; or three letters for volume, shape
            and orientation, each equal (E), variable (V) or the identity (I), as in mclust: ``"EII"``, ``"VII"``,
            ``"EEI"``, ``"VEI"``, ``"EVI"``, ``"VVI"``, ``"EEE"``, ``"VEE"``, ``"EVE"``, ``"VVE"``, ``"EEV"``,
            ``"VEV"``, ``"EVV"``, ``"VVV"``; or ``"E"`` or ``"V"`` for one feature.

    Returns:
        The :class:`Family`.

    Raises:
        ValueError: for an unknown name, with the list of names.

    Example:
        >>> get_family("diag").n_parameters(3, 4), get_family("VEV").n_parameters(3, 4)
        (12, 24)

    Reference:
        Celeux & Govaert (1995), Gaussian parsimonious clustering models, Pattern Recognition 28.
    """
    if isinstance(name, Family):
        return name
    if name not in _BY_NAME:
        raise ValueError(f"family: expected one of {', '.join(_BY_NAME)}, got {name!r}")
    return _BY_NAME[name]


def as_family(family: Any, params: GMMParams | None = None, name: str = "params") -> Family:
    """``family`` unchanged, having checked it to be one, and ``params`` to be stored as it stores them."""
    if not isinstance(family, Family):
        raise TypeError(f"family: expected a Family such as jaxgmm.FULL (see jaxgmm.get_family), got {family!r}")
    if params is not None:
        expected = family.structure(*params.means.shape)
        if params.covariances.shape != expected:
            raise ValueError(
                f"{name}.covariances: expected shape {expected} for the {family.name} family, "
                f"got {params.covariances.shape}"
            )
    return family


def family_by_shape(shape: tuple[int, ...], k: int, d: int) -> Family:
    """The family with most parameters that stores covariances of k components in d features in this shape."""
    families = (*FAMILIES, *FAMILIES_1D) if d == 1 else FAMILIES
    return next(f for f in reversed(families) if not f.constrained and f.structure(k, d) == shape)


def one_of(families: Sequence[Family], which: Array) -> Family:
    r"""One of several families, chosen by a traced index: one compiled program serves them all.

    .. math:: \hat\Sigma = \mathrm{estimate}_{f}(W, n, \Sigma), \quad f = \mathrm{families}[\mathrm{which}]

    It has what an M-step needs: structure, ``estimate``, ``begin`` and ``constrained``. Families that are not stored
    alike are all stored with a matrix, or a diagonal, for each component. As ``which`` is a tracer, the union cannot
    say how many parameters the chosen family has, and has no letters.

    Args:
        families: the families to choose from, all of matrices or all of diagonals.
        which: ``()`` int index into ``families``, may be traced.

    Returns:
        A :class:`Family`; scale equivariant only if all of ``families`` are.

    Raises:
        ValueError: from ``n_parameters``; from ``structure`` where some families are of matrices and some of diagonals.

    Example:
        >>> import jax.numpy as jnp
        >>> union = one_of([get_family("EEI"), get_family("VVI")], jnp.array(0))
        >>> union.estimate(jnp.array([[2.0, 4.0], [2.0, 0.0]]), jnp.ones(2), jnp.ones((2, 2))).tolist()
        [[2.0, 2.0], [2.0, 2.0]]
    """
    names = ", ".join(family.name for family in families)

    def structure(k: int, d: int) -> tuple[int, ...]:
        shapes = {family.structure(k, d) for family in families}
        if len({len(shape) for shape in shapes}) > 1:
            raise ValueError(f"families: expected {names} to be all of matrices or all of diagonals, got both")
        shape = shapes.pop()
        return (k, *[d] * (len(shape) - 1)) if shapes else shape

    def n_parameters(k: int, d: int) -> int:
        raise ValueError(f"n_parameters: expected a single family, got one of {names} chosen by a traced index")

    return Family(
        name=f"one of {names}",
        structure=structure,
        estimate=_chosen(families, [family.estimate for family in families], which),
        n_parameters=n_parameters,
        scale_equivariant=all(family.scale_equivariant for family in families),
        constrained=len(families) > 1 or families[0].constrained,
        begin=_chosen(families, [family.begin or family.estimate for family in families], which),
    )


def _chosen(families: Sequence[Family], estimates: Sequence[p.Estimate], which: Array) -> p.Estimate:
    """The estimate of the family at the place ``which``.

    Estimates that differ only in the variances along axes are one branch of the program: axes take long to compile.
    """
    groups: dict[Any, list[int]] = {}
    for place, estimate in enumerate(estimates):
        groups.setdefault(estimate.func if isinstance(estimate, Bound) else place, []).append(place)
    group_of, place_in_group = np.zeros((2, len(families)), np.int32)
    branches: list[p.Estimate] = []
    for function, places in groups.items():
        first = places[0]
        branch: p.Estimate = Bound(_stored_wider, families[first], estimates[first])
        if len(places) > 1:
            variances = [cast(Bound, estimates[place]).args[0] for place in places]
            branch = partial(function, partial(_switch, place_in_group, which, variances))
        group_of[places], place_in_group[places] = len(branches), range(len(places))
        branches.append(branch)
    return partial(_switch, group_of, which, branches)


def _switch(branch_of: np.ndarray, which: Array, branches: Sequence[Callable[..., Array]], *arguments: Array) -> Array:
    """What the branch of the family at the place ``which`` makes of the arguments."""
    chosen: Array = lax.switch(jnp.asarray(branch_of)[which], branches, *arguments)
    return chosen


def _stored_wider(family: Family, estimate: p.Estimate, scatters: Array, counts: Array, previous: Array) -> Array:
    """The estimate of a family whose covariances are stored as those of a family that it is a special case of."""
    shape = family.structure(len(counts), scatters.shape[-1])
    covariances = estimate(pool_moments(scatters, shape), counts, previous[: shape[0], : shape[1]])
    return jnp.broadcast_to(covariances, scatters.shape)


def letters(family: Family) -> str:
    """The name of a family in mclust: three letters, or one letter for one feature."""
    return family.name if family in FAMILIES_1D else family.letters
