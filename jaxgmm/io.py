"""Reading and writing of saved fits and of tables; a file is written whole or not at all."""

from .files.archives import load as load
from .files.archives import save as save
from .files.archives import write_atomically as write_atomically
from .files.tables import read_columns as read_columns
from .files.tables import read_names as read_names
from .files.tables import read_table as read_table

__all__ = ["load", "read_columns", "read_names", "read_table", "save", "write_atomically"]
