"""Linear algebra by covariance structure, in full precision; it knows no statistics."""

from .cholesky import Factor as Factor
from .cholesky import conditioning as conditioning
from .cholesky import dominates as dominates
from .cholesky import factorize as factorize
from .cholesky import from_log_cholesky as from_log_cholesky
from .cholesky import is_positive_definite as is_positive_definite
from .cholesky import log_cholesky as log_cholesky
from .cholesky import precisions as precisions
from .cholesky import trace_inverse as trace_inverse
from .cholesky import trace_of_ratio as trace_of_ratio
from .cholesky import unwhiten as unwhiten
from .cholesky import unwhiten_scatter as unwhiten_scatter
from .cholesky import whiten as whiten
from .cholesky import whitened_scatter as whitened_scatter
from .eigen import eigh as eigh
from .eigen import rotate_common_axes as rotate_common_axes
from .products import einsum as einsum
from .products import matmul as matmul
from .products import round_once as round_once
from .products import safe_divisor as safe_divisor
from .products import symmetrize as symmetrize
from .storage import add_to_diagonal as add_to_diagonal
from .storage import as_matrices as as_matrices
from .storage import outer_square as outer_square
from .storage import pool_counts as pool_counts
from .storage import pool_moments as pool_moments
from .storage import rescale as rescale
from .storage import to_storage_shape as to_storage_shape
from .storage import variances as variances

computed_once = round_once  # old name
from_log_root = from_log_cholesky  # old name
log_root = log_cholesky  # old name
or_one = safe_divisor  # old name
pool = pool_moments  # old name
stored = to_storage_shape  # old name
