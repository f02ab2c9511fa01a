"""Acceleration of EM: accelerators to pass as ``accelerate=`` to :func:`jaxgmm.em` and :func:`jaxgmm.fit`."""

from .loop.accelerators import Accelerator as Accelerator
from .loop.accelerators import anderson as anderson
from .loop.accelerators import momentum as momentum
from .loop.accelerators import squarem as squarem

__all__ = ["Accelerator", "anderson", "momentum", "squarem"]
