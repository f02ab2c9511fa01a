"""``em``: the loop from a given start, with the model that the arguments say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from .. import checks
from ..covariance.families import FULL, Family
from ..fitted import feature_names_of
from ..padding import pad_rows
from ..programs import PASSES, program
from ..steps.contract import Steps
from ..steps.options import model_and_rows
from ..types import EMResult, Prior
from .accelerators import Accelerator
from .driver import begin, result_of, run, task_of

EStep = Callable[[Any, Array, Array], Any]
MStep = Callable[[Any, Any], Any]


def em(
    params: Any,
    x: Any,
    weights: ArrayLike | None = None,
    *,
    steps: Steps | None = None,
    family: Family | None = None,
    ridge: ArrayLike | None = None,
    prior: Prior | None = None,
    tol: ArrayLike = 1e-6,
    max_iter: int = 1000,
    e_step: EStep | None = None,
    m_step: MStep | None = None,
    accelerate: Accelerator | None = None,
    chunk_size: int | None = None,
) -> EMResult:
    r"""Fit a mixture by expectation-maximisation from a given start.

    .. math:: \theta_{t+1} = \mathrm{m\_step}(\theta_t, \mathrm{e\_step}(\theta_t, x, w))

    Stops when the estimated remaining gain in log-likelihood per unit weight is below ``tol``: with steps of length
    :math:`\sqrt{s_t}` in the information of the complete data, and rate :math:`q = \sqrt{s_{t+1} / s_t}`, it is
    :math:`s_{t+1} / (1 - q)`, and more while the rate still rises, so a plateau is not mistaken for the top. The
    log-likelihood never decreases beyond rounding, except that a ridge may let it dip by as much as its penalty gains.
    Values are not checked here: NaN in ``x``, negative weights or a start that is no mixture come back as a
    :class:`Status`, with the last good parameters; under ``jit`` a negative ``ridge`` or ``tol`` does too.

    Works under ``jit``, and under ``vmap`` over starts, weights and data sets, where all run until the last has ended,
    and one that fails leaves the others alone; for thousands of small fits see :func:`jaxgmm.em_batch`. Where data sets
    are spread over devices, use ``jax.shard_map`` with ``check_vma=False``: each device then runs its own. The loop's
    length is not known in advance, so reverse-mode ``grad`` does not pass through it; forward mode does.

    Args:
        params: the start, k components in d features, stored as ``family`` stores them; with ``steps``, parameters of
            that model. In place of them a result that holds some.
        x: ``(n, d)`` rows, or ``(n,)`` for d = 1, or :class:`Observations`; with ``steps``, any pytree of arrays with
            the rows in front.
        weights: ``(n,)`` row weights >= 0; default one each.
        steps: the functions of another model, or of this one changed, see :class:`Steps`. Goes without ``family``,
            ``ridge``, ``prior``, ``e_step`` and ``m_step``.
        family: the covariance :class:`Family` of the default M-step, not its name, see :func:`get_family`; default
            :data:`FULL`. Static under ``jit``.
        ridge: added to each variance by the default M-step, relative to it; default 0. See :func:`jaxgmm.m_step`.
        prior: of the default M-step, see :class:`jaxgmm.Prior`. What rises, and what ``history`` and ``tol`` are about,
            is then the log-likelihood plus the log prior density; ``log_likelihood`` of the result stays the former.
        tol: EM stops once the estimated gain still to come is below this, in nats per unit of row weight;
            no less than the dtype can resolve.
        max_iter: most M-steps to take; static under ``jit``.
        e_step: ``(params, x, weights) -> Stats`` of all rows; default :func:`jaxgmm.e_step`. Static: pass the same
            function again, not a new lambda, or it compiles again. Goes without ``chunk_size``.
        m_step: ``(params, stats) -> GMMParams``; default :func:`jaxgmm.m_step` with ``family``, ``ridge`` and
            ``prior``, which it goes without. Static likewise.
        accelerate: such as :func:`jaxgmm.acceleration.momentum`: proposes parameters beyond EM's next step, which takes
            far fewer steps where EM is slow. A proposal costs an E-step, and is accepted only where the objective is no
            lower. Static likewise.
        chunk_size: rows in a chunk of the E-step; by default chosen from shapes and backend. Static likewise.

    Returns:
        :class:`EMResult`; printed, it says what was found and why it stopped.

    Raises:
        TypeError: if an argument is not numeric, or ``family`` is no :class:`Family`.
        ValueError: if shapes or options do not go together, or ``tol``, ``ridge`` or ``max_iter`` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxgmm
        >>> x = jnp.array([0.0, 1.0, 9.0, 10.0])
        >>> start = jaxgmm.GMMParams(jnp.array([0.5, 0.5]), jnp.array([[1.0], [8.0]]), jnp.ones((2, 1, 1)))
        >>> result = em(start, x)
        >>> result.params.means.round(3).tolist(), jaxgmm.Status(int(result.status)).name
        ([[0.5], [9.5]], 'CONVERGED')

    Reference:
        Dempster, Laird & Rubin (1977); Boehning et al. (1994), The distribution of the likelihood ratio for mixtures of
        densities from the one-parameter exponential family, for the stopping rule.
    """
    arguments = model_and_rows(
        params, x, weights, steps=steps, family=family, ridge=ridge, prior=prior, e_step=e_step, m_step=m_step,
        chunk_size=chunk_size,
    )  # fmt: skip
    model, start, observations, row_weights = arguments
    if steps is None and e_step is None:  # functions of the user's own may count rows
        observations, row_weights = pad_rows((observations, row_weights))
    tol = jnp.asarray(checks.non_negative(tol, "tol"), row_weights.dtype)
    result = _em(model, start, observations, row_weights, tol, checks.as_integer(max_iter, "max_iter", 0), accelerate)
    if steps is not None:
        return result
    known = None if m_step is not None else FULL if family is None else family
    return result._replace(family=known, feature_names=feature_names_of(params, x))


@program("max_iter", "accelerate", passes=PASSES)
def _em(
    steps: Steps,
    params: Any,
    observations: Any,
    weights: Array,
    tol: Array,
    max_iter: int,
    accelerate: Accelerator | None,
) -> EMResult:
    task = task_of(steps, observations, weights, tol)
    state = begin(task, params, max_iter, accelerate)
    return result_of(task, run(task, state, max_iter, accelerate))
