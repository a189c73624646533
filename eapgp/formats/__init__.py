"""Import and export of edge scores and circuits in the field's file formats."""

from eapgp.formats.common import Imported
from eapgp.formats.registry import (
    FORMATS,
    Format,
    format_of,
    read_circuit,
    read_file,
    read_scores,
    read_with,
    write_circuit,
    write_scores,
)
from eapgp.formats.spans import read_spans, write_spans
from eapgp.formats.tables import edge_table

__all__ = [
    "FORMATS",
    "Format",
    "Imported",
    "edge_table",
    "format_of",
    "read_circuit",
    "read_file",
    "read_scores",
    "read_spans",
    "read_with",
    "write_circuit",
    "write_scores",
    "write_spans",
]
