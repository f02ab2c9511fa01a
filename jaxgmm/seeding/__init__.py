"""Starting values: functions ``(key, x, weights, n_components) -> responsibilities (n, k)``.

They take checked arrays, ``x`` ``(n, d)`` finite and ``weights`` ``(n,)`` non-negative, and run under ``jit`` and
``vmap`` over keys. :func:`jaxgmm.from_responsibilities` turns what they return into parameters.
"""

from .partitions import Seeding as Seeding
from .partitions import from_labels as from_labels
from .partitions import kmeans as kmeans
from .partitions import kmeans_plus_plus as kmeans_plus_plus
from .partitions import nested_partitions as nested_partitions
from .partitions import random_responsibilities as random_responsibilities
from .partitions import random_rows as random_rows

__all__ = ["from_labels", "kmeans", "kmeans_plus_plus", "random_responsibilities", "random_rows"]
