"""Functions as values, which programs are compiled for once."""

from functools import partial
from typing import Any


class Bound(partial[Any]):
    """A function with its first arguments bound, equal to any other of the same function and arguments.

    A closure, or a ``functools.partial``, equals nothing but itself, so that a copy that comes back from a pickle or
    from another process would be compiled for again.

    Example:
        >>> import math, pickle
        >>> cube_root = Bound(math.pow, 27.0)
        >>> pickle.loads(pickle.dumps(cube_root)) == cube_root, round(cube_root(1 / 3), 6)
        (True, 3.0)
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bound):
            return NotImplemented
        return (self.func, self.args, self.keywords) == (other.func, other.args, other.keywords)

    def __hash__(self) -> int:
        return hash((self.func, self.args))
