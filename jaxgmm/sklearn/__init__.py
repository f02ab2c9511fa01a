"""scikit-learn's ``GaussianMixture``, fitted by jaxgmm: the same interface behind another import.

scikit-learn checks arguments, draws the partitions that fits start from and inverts covariances; jaxgmm does the rest.
It needs the extra ``jaxgmm[sklearn]``.
"""

try:
    import sklearn as _sklearn  # noqa: F401 - imported first, so that its absence is reported here
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ModuleNotFoundError(
        "jaxgmm.sklearn needs scikit-learn: pip install 'jaxgmm[sklearn]'", name="sklearn"
    ) from None
from .conversion import from_sklearn as from_sklearn
from .conversion import to_sklearn as to_sklearn
from .estimator import GaussianMixture as GaussianMixture

__all__ = ["GaussianMixture", "from_sklearn", "to_sklearn"]

GaussianMixture.__module__ = __name__  # a pickle names this path, whatever file the class is in
