"""Reading and writing of saved fits and of tables; a file is written whole or not at all."""

from .files.archives import load as load
from .files.archives import save as save
from .files.tables import read_columns as read_columns
from .files.tables import read_table as read_table
from .files.writing import write_atomically as write_atomically

__all__ = ["load", "read_columns", "read_table", "save", "write_atomically"]
