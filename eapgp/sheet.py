"""Tables as text, as spreadsheets and libraries of all countries write them: the rules that every reader shares.

| what | rule |
|---|---|
| encoding | UTF-8, or UTF-16 as Excel's "Unicode text" writes it; a byte-order mark is dropped |
| first line `sep=;` | names the mark between the cells and is no row |
| mark between the cells | comma, tab, semicolon or bar: the one that cuts the header into most cells |
| decimals | a comma stands for the point where the mark is another one |
| truth | true/false, 1/0, yes/no, and what spreadsheets in German, French, Italian and Spanish write |

Line ends of any system; lines that are empty or hold marks only are no rows.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from itertools import islice

from eapgp.errors import FormatError

MARKS = (",", "\t", ";", "|")
HEAD = 65_536
"""Characters at the beginning of a text in which its header is looked for."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SEP = re.compile(r'\s*"?sep=(\\t|.)"?[,;\t|\s]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_LINE = re.compile(r"\r\n|\r|\n")
_QUOTED = re.compile(r'"(?:[^"]|"")*"?')
_TRUE = ("true", "1", "1.0", "yes", "wahr", "vrai", "vero", "verdadero")
_FALSE = ("false", "0", "0.0", "no", "falsch", "faux", "falso")
TRUTH = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)


@dataclass(frozen=True)
class Delimited:
    """A text of rows and the mark between their cells. skipped: lines in front of it that are no rows."""

    text: str
    mark: str
    skipped: int = 0

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers may be written with a comma."""
        return self.mark != ","


def decode(content: bytes, name: str) -> str:
    """Text of a file's bytes. Errors: FormatError that says where the first byte stands that is no text."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return _decoded(content[len(bom) :], encoding, name, len(bom))
    pairs = content[: HEAD - HEAD % 2]
    if len(pairs) >= 4 and b"\0" not in pairs[::2] and pairs[1::2].count(0) > 0.9 * len(pairs[1::2]):
        return _decoded(content, "utf-16-le", name, 0)
    return _decoded(content, "utf-8", name, 0)


def _decoded(content: bytes, encoding: str, name: str, skipped: int) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding)
        lines = _LINE.split(before)
        raise FormatError(
            f"{name}: {encoding.upper()} text was expected, byte {skipped + error.start} "
            f"(0x{content[error.start]:02x}) in line {len(lines)}, {_column(before, lines[-1])}"
            f"character {len(lines[-1]) + 1} is not. Save the file as UTF-8."
        ) from None


def _column(text: str, line: str) -> str:
    """The name of the column in which a line breaks off, for a message."""
    table = delimited(text)
    header = cells(_LINE.split(table.text, maxsplit=1)[0], table.mark)
    place = len(cells(line, table.mark)) - 1
    return f"column {header[place].strip()}, " if len(header) > 1 and 0 <= place < len(header) else ""


def cells(line: str, mark: str) -> list[str]:
    """The cells of one line, quotes kept; marks within quotes do not count."""
    outside = _QUOTED.sub(lambda quoted: "\0" * len(quoted.group()), line)
    ends = [place for place, char in enumerate(outside) if char == mark]
    return [line[start:end] for start, end in zip([0, *(end + 1 for end in ends)], [*ends, len(line)], strict=True)]


def delimited(text: str) -> Delimited:
    """The rows of a text, from the header on, and the mark between the cells."""
    match = _SEP.match(text)
    start, named = (match.end(), match.group(1)) if match else (0, None)
    skipped = 1 if match else 0
    while (line := _first_line(text, start)) and not line.strip("".join(MARKS) + ' \r\n"'):
        start, skipped = start + len(line), skipped + 1
    mark = "\t" if named == "\\t" else named or _mark(_first_line(text, start))
    return Delimited(text[start:], mark, skipped)


def _first_line(text: str, start: int) -> str:
    """The line that begins at a place, with its end; of an endless one the beginning."""
    piece = text[start : start + HEAD]
    match = _LINE.search(piece)
    return piece[: match.end()] if match else piece


def _mark(header: str) -> str:
    outside = _QUOTED.sub("", header)
    return max(MARKS, key=outside.count)  # the first of equals


def number(cell: str, *, decimal_comma: bool) -> float | None:
    """A number as a cell holds it; None where it is empty. Errors: ValueError."""
    text = cell.strip().replace("\u2212", "-")
    if decimal_comma and "." not in text:
        text = text.replace(",", ".")
    return float(text) if text else None


@dataclass(frozen=True)
class BadQuote:
    """A quotation mark that is out of place: its line and character from 1, and the number of its cell from 0."""

    line: int
    cell: int
    character: int
    problem: str


def bad_quote(table: Delimited, first: int = 0) -> BadQuote | None:
    """The first quotation mark that CSV does not allow where it stands, or None. first: lines that are in order."""
    ends = (match.end() for match in _LINE.finditer(table.text))
    start = next(islice(ends, first - 1, None), 0) if first else 0
    line, cell, place = table.skipped + first + 1, 0, start
    opening: BadQuote | None = None  # of the quotes that are open
    closed, at_start = False, True
    while place < len(table.text):
        char, after = table.text[place], table.text[place + 1 : place + 2]
        here = (line, cell, place - start + 1)
        if opening is not None and char == '"':
            place += after == '"'
            opening, closed = (opening, False) if after == '"' and table.text[place] == '"' else (None, True)
        elif opening is None and char == '"' and at_start:
            opening = BadQuote(*here, "this quotation mark is never closed")
        elif opening is None and char not in (table.mark, "\r", "\n") and closed:
            return BadQuote(*here, f"{char!r} follows a closing quotation mark; one within a text is doubled")
        ends_cell = opening is None and char in (table.mark, "\r", "\n")
        closed, at_start = closed and not ends_cell, ends_cell
        cell = 0 if ends_cell and char != table.mark else cell + ends_cell
        if char == "\n" or (char == "\r" and after != "\n"):
            line, start = line + 1, place + 1
        place += 1
    return opening
