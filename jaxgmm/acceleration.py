"""Acceleration of EM: accelerators to pass as ``accelerate=`` to :func:`jaxgmm.em` and :func:`jaxgmm.fit`."""

from .loop.acceleration import Accelerator as Accelerator
from .loop.acceleration import anderson as anderson
from .loop.acceleration import momentum as momentum
from .loop.acceleration import squarem as squarem

__all__ = ["Accelerator", "anderson", "momentum", "squarem"]
