"""What a search returns: every model, and which of them a criterion likes best."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from ..covariance.families import Family
from ..printing import printed
from ..status import known_status
from ..types import EMResult, FeatureNames


@printed
@dataclass(frozen=True, repr=False, eq=False)
class Selection:
    """Every model of a search, and the best of them; functions of parameters take it in place of the best's.

    Attributes:
        criterion: its name; smaller is better (scikit-learn's sign; mclust's BIC and ICL are the negative of it).
        families: the F families searched.
        n_components: the K numbers of components searched.
        table: ``(F, K)`` the criterion, on the scale of twice the log-likelihood; NaN where no restart came to a
            usable end.
        log_likelihoods: ``(F, K)`` of the best restart, in nats; as the criterion, without the excess of components
            that have no spread of their own.
        statuses: ``(F, K)`` int, a Status each, of the best restart.
        failed: ``(F, K)`` int, restarts that failed or degenerated.
        results: by family name and number of components, the best :class:`EMResult`, as :func:`jaxgmm.fit` returns it.
    """

    criterion: str
    families: tuple[Family, ...]
    n_components: tuple[int, ...]
    table: np.ndarray
    log_likelihoods: np.ndarray
    statuses: np.ndarray
    failed: np.ndarray
    results: dict[tuple[str, int], EMResult]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[Any, ...]:
        leaves, tree = jax.tree.flatten(vars(self))
        return (tree, *(np.asarray(leaf).tobytes() for leaf in leaves))

    @property
    def ranking(self) -> list[tuple[Family, int]]:
        """Families and numbers of components, best first, without those that came to no usable end."""
        order = np.argsort(self.table, axis=None, kind="stable")
        usable = order[: np.count_nonzero(~np.isnan(self.table))]
        rows, columns = np.unravel_index(usable, self.table.shape)
        return [(self.families[row], self.n_components[column]) for row, column in zip(rows, columns, strict=True)]

    @property
    def family(self) -> Family:
        """The best model's."""
        return self.ranking[0][0]

    @property
    def k(self) -> int:
        """The best model's number of components."""
        return self.ranking[0][1]

    @property
    def best(self) -> EMResult:
        """The best model."""
        return self.results[self.family.name, self.k]

    @property
    def params(self) -> Any:
        """The best model's."""
        return self.best.params

    @property
    def log_likelihood(self) -> Array:
        """The best model's, () in nats."""
        return self.best.log_likelihood

    @property
    def status(self) -> Any:
        """The best model's :class:`jaxgmm.Status`."""
        return known_status(self.best.status)

    @property
    def excess(self) -> Any:
        """Nats that each component of the best model gains by collapsing, (k,)."""
        return self.best.excess

    @property
    def converged(self) -> Any:
        """Whether the best model converged."""
        return self.best.converged

    @property
    def feature_names(self) -> FeatureNames | None:
        """Names of the columns, where the rows came as a table."""
        return self.best.feature_names
