"""The contract between a model and the EM loop: a value of pure functions, ``Steps``.

EM alternates an E-step and an M-step over one value, the parameters:

    params --prepare, expect--> stats --maximize--> params

``Steps`` holds these functions. The loop (:mod:`jaxgmm.loop.driver`) asks nothing else of a model, so a model of your
own gets chunks, meshes, restarts and continuous batching as Gaussian mixtures do. Functions that need arrays, such as a
ridge or a prior, are :class:`jax.tree_util.Partial` objects: other arrays then need no other program.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from ..checks import as_integer
from ..printing import printed
from .chunks import sum_over_chunks

ROWS_PER_CHUNK = 8192  # of a model whose cost for each row is not known


def no_prior(params: Any) -> ArrayLike:
    """Zero, the log prior of maximum likelihood, ``()``."""
    return 0.0


def always(prepared: Any) -> ArrayLike:
    """True: parameters of every value are valid."""
    return True


@printed
class Spurious(NamedTuple):
    """By how much components without a spread of their own inflate a maximum."""

    excess: Array  #: (k,) nats that each component gains by having no spread of its own; zero for sound ones
    is_usable: Array  #: () bool, whether the others do not depend on these


def all_sound(params: Any) -> Spurious:
    """Nothing spurious, for a model that does not say."""
    return Spurious(jnp.zeros(1), jnp.asarray(True))


@printed
class Coordinates(NamedTuple):
    """Vectors that acceleration may extrapolate: any vector is a set of statistics that an M-step can take."""

    #: ``params -> reference``, location and units of the coordinates, from the start
    reference: Callable[[Any], Any]
    #: ``(reference, params, stats) -> (p,)`` of the statistics; of the parameters where ``stats`` is None
    encode: Callable[[Any, Any, Any], Array]
    #: ``(reference, (p,), params, stats) -> stats``
    decode: Callable[[Any, Array, Any, Any], Any]


@printed
class Steps(NamedTuple):
    """The functions that EM alternates, and what the loop may ask about them.

    ``params``, ``prepared`` and ``stats`` are pytrees of the model's own choice; ``stats`` has a field
    ``log_likelihood``, and the sum of the statistics of two blocks of rows, leaf by leaf, is that of both together.
    Rows of weight zero have no influence. Parameters are finite, or the run ends as ``NON_FINITE``. Only the
    first three functions are needed.

    Example:
        Coins of unknown bias, each thrown ten times; which coin was thrown is not known. The mixing proportions are
        fixed at one half.

        >>> import jax, jax.numpy as jnp, jaxgmm
        >>> from typing import NamedTuple
        >>> class Heads(NamedTuple):
        ...     log_likelihood: jax.Array
        ...     throws: jax.Array  # (k,)
        ...     heads: jax.Array  # (k,)
        >>> def expect(bias, heads, weights):
        ...     joint = jnp.outer(heads, jnp.log(bias)) + jnp.outer(10 - heads, jnp.log1p(-bias)) + jnp.log(0.5)
        ...     responsibilities = weights[:, None] * jax.nn.softmax(joint)
        ...     log_likelihood = (weights * jax.nn.logsumexp(joint, axis=1)).sum()
        ...     return Heads(log_likelihood, 10 * responsibilities.sum(0), heads @ responsibilities)
        >>> coins = jaxgmm.Steps(
        ...     prepare=lambda bias: bias, expect=expect, maximize=lambda bias, stats: stats.heads / stats.throws)
        >>> result = jaxgmm.em(jnp.array([0.6, 0.5]), jnp.array([5.0, 9.0, 8.0, 4.0, 7.0]), steps=coins, tol=1e-4)
        >>> [f"{bias:.1f}" for bias in result.params], jaxgmm.Status(int(result.status)).name
        (['0.8', '0.5'], 'CONVERGED')
    """

    #: ``params -> prepared``, factors and constants, once for all rows
    prepare: Callable[[Any], Any]
    #: ``(prepared, observations, weights) -> stats``, the E-step of a block of rows
    expect: Callable[[Any, Any, Array], Any]
    #: ``(params, stats) -> params``, the M-step
    maximize: Callable[[Any, Any], Any]
    #: ``params -> ()``, nats that the objective has beside the log-likelihood
    log_prior: Callable[[Any], ArrayLike] = no_prior
    #: ``prepared -> ()``, false where a covariance is singular
    is_valid: Callable[[Any], ArrayLike] = always
    #: ``(prepared, stats) -> ((), ())``, rounding error of the log-likelihood in nats: as usual, and a bound for these
    #: parameters
    rounding: Callable[[Any, Any], tuple[Array, Array]] | None = None
    #: ``(prepared, stats) -> ((), ())``, nats that the M-step subtracts beside log_prior, as a ridge does, and rounding
    penalty: Callable[[Any, Any], tuple[Array, Array]] | None = None
    #: ``(prepared, stats, params, candidate) -> ()``, nats of the step from params to the candidate, which is what is
    #: prepared: half its squared length in the information of the complete data. Rounding hides small gains of the
    #: log-likelihood, but not these; with None, the gain in the objective is used instead
    step_nats: Callable[[Any, Any, Any, Any], Array] | None = None
    #: ``()`` bool, whether a start may lie outside of what ``maximize`` returns
    first_step_may_fall: ArrayLike = False
    #: for acceleration; with None, EM is plain
    coordinates: Coordinates | None = None
    #: ``params -> Spurious``, what of a maximum ``fit`` should not count
    spurious: Callable[[Any], "Spurious"] = all_sound


def as_steps(steps: Any) -> Steps:
    """``steps`` as a pytree, its functions as ``Partial`` objects, having checked it to be :class:`Steps`."""
    if not isinstance(steps, Steps):
        raise TypeError(f"steps: expected jaxgmm.Steps, got {type(steps).__name__}")
    return Steps(*(_as_partial(name, field) for name, field in zip(Steps._fields, steps, strict=True)))


def _as_partial(name: str, field: Any) -> Any:
    if isinstance(field, Coordinates):
        return Coordinates(*(_as_partial(f"coordinates.{n}", f) for n, f in zip(field._fields, field, strict=True)))
    is_optional = name in Steps._field_defaults and Steps._field_defaults[name] is None
    if (field is None and is_optional) or isinstance(field, Partial) or name == "first_step_may_fall":
        return field
    if not callable(field):
        raise TypeError(f"steps.{name}: expected a function, got {field!r}")
    return Partial(field)


def chunked(steps: Steps, chunk_size: int = ROWS_PER_CHUNK) -> Steps:
    """The same steps, with an E-step that takes rows in chunks, so that its temporaries are bounded.

    Under ``jax.set_mesh`` of a mesh with an automatic axis ``"rows"``, whose size divides the number of rows, every
    device takes its share of the rows, and only sums travel. :func:`jaxgmm.em` and :func:`jaxgmm.fit` do this for
    ``steps=``; :func:`gaussian_steps` have chunks of their own.

    Args:
        steps: the functions of a model.
        chunk_size: rows in a chunk.

    Returns:
        The new :class:`Steps`.

    Raises:
        TypeError: if ``chunk_size`` is no integer.
        ValueError: if it is below one.
    """
    expect = _chunked_expect(as_integer(chunk_size, "chunk_size", 1))
    return steps._replace(expect=Partial(expect, as_steps(steps).expect))


@cache  # the same function for the same size, so that nothing compiles twice
def _chunked_expect(chunk_size: int) -> Callable[..., Any]:
    def expect(whole: Callable[..., Any], prepared: Any, observations: Any, weights: Array) -> Any:
        block = Partial(whole, prepared)
        return sum_over_chunks(block, observations, weights, chunk_size)

    return expect


def rounding(steps: Steps, prepared: Any, stats: Any, total_weight: Array) -> tuple[Array, Array]:
    """Nats that rounding alone changes the log-likelihood by, in general and for these parameters at most, ``()`` each.

    A model that does not say is taken to add one rounded number of size one for each row.
    """
    if steps.rounding is not None:
        return steps.rounding(prepared, stats)
    nats = rounded_nats(abs(stats.log_likelihood) + total_weight)
    return nats, nats


def penalty(steps: Steps, prepared: Any, stats: Any) -> tuple[Any, Any]:
    """Nats that the M-step subtracts, given the statistics, and their rounding, ``()`` each; none by default.

    As an M-step raises the expected log-likelihood minus the penalty, the log-likelihood may fall by what the penalty
    falls, and by no more.
    """
    return (0.0, 0.0) if steps.penalty is None else steps.penalty(prepared, stats)


def rounded_nats(size: Array) -> Array:
    """What rounding changes a log-likelihood by, whose terms have absolute values that sum to ``size``, ``()`` in nats.

    The factor is three times the worst dip seen in float32 over a range of data sets after EM had converged.
    """
    return 4 * np.finfo(size.dtype).eps * size


def check_params(made: Any, params: Any) -> Any:
    """What an M-step made, unchanged, having checked it to have the structure, shapes and dtypes of ``params``."""

    def fits(new: Any, old: Array) -> bool:
        kind = jax.typeof(new)
        return kind.shape == old.shape and (kind.dtype == old.dtype or kind.weak_type)

    structures = {jax.tree.structure(value) for value in (made, params)}
    if len(structures) > 1 or not all(jax.tree.leaves(jax.tree.map(fits, made, params))):
        raise TypeError(
            f"the M-step: expected parameters such as the start, {_types_of(params)}, got {_types_of(made)}"
        )
    return made


def _types_of(value: Any) -> str:
    """Shapes and dtypes of a pytree, on one line."""
    if hasattr(value, "_asdict"):
        fields = (f"{name}={_types_of(field)}" for name, field in value._asdict().items())
        return f"{type(value).__name__}({', '.join(fields)})"
    return repr(jax.tree.map(lambda leaf: jax.typeof(leaf).str_short(), value))


def mask_stopped(is_running: Array, params: Any) -> Any:
    """NaN in place of the parameters of runs that have stopped.

    Under ``vmap`` they are scored beside the others, and must not decide which kernel all use.
    """

    def mask(leaf: Array) -> Array:
        return jnp.where(is_running, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(mask, params)
