"""Small pieces that every page draws with: figures with their reading aid and table, safe blocks."""

from __future__ import annotations

import html
import logging
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from eapgp.errors import EapgpError, one_line, readable
from eapgp.figures.print import figure_bytes
from eapgp.ui.base.policy import policy

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PHONE = 360  # px that a figure gets on a phone, about
_LOG = logging.getLogger("eapgp.ui")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>$:])")


def dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def phone() -> bool:
    """Whether the browser says that it runs on a phone."""
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def plain(text: object) -> str:
    """Text that markdown shows literally (tokens, file names, names that users typed)."""
    return _MARKDOWN.sub(r"\\\1", readable(policy().plain(str(text))))


def counted(n: int, noun: str) -> str:
    """A number and its noun: `1 pair`, `1,200 pairs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def visible(text: str) -> str:
    """Text in which control characters and marks that turn the writing direction can be seen."""
    return text if text.isprintable() else "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    kind = unicodedata.category(char)
    if kind == "Cc":
        return chr(0x2400 + ord(char)) if ord(char) < 0x20 else "␡"
    return f"[U+{ord(char):04X}]" if kind == "Cf" else char


def code(text: str, language: str, *, wrap_lines: bool = False) -> None:
    """Lines of a program."""
    st.code(policy().plain(text), language=language, wrap_lines=wrap_lines)


@contextmanager
def guard(what: str) -> Iterator[None]:
    """Turn an error in a block into one line; the rest of the page goes on."""
    try:
        yield
    except EapgpError as error:
        st.error(plain(one_line(error)), icon=":material/error:")
    except Exception as error:
        _LOG.exception("%s failed", what)
        text = (
            f"{what} failed unexpectedly ({type(error).__name__}: {one_line(error)}). Details are in the server's log."
        )
        st.error(plain(text), icon=":material/error:")


@dataclass(frozen=True)
class Fitted:
    """A figure as it is drawn: what is said of it to those who do not see it, and below it; px of a first figure."""

    figure: go.Figure
    title: str
    read: str
    height: int


def chart(
    fig: go.Figure | Callable[[], go.Figure],
    key: str,
    *,
    of: Hashable = None,
    select: bool = False,
    height: int = 0,
    stem: str = "",
) -> Any:
    """A figure, its sentence on how to read it, and a menu that downloads it and the table behind it.

    fig: the figure, or what makes it from `of` and the theme alone: then it is made once for all who look at the same
    (a figure takes tens of milliseconds, and a class looks at one). select: clicks on markers come back (the widget's
    state is returned). height: px of a page's first figure, which has to fit the window: it goes without a title,
    which the page has, and its note goes below it. stem: what its files are called.
    """
    options: dict[str, Any] = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "toImage"],
        "scrollZoom": False,
    }
    fitted = _kept(key, of, dark(), phone(), height, fig) if callable(fig) else _fit(fig, key, phone(), height)
    extra: dict[str, Any] = {"on_select": "rerun", "selection_mode": "points"} if select else {}
    if fitted.height:
        st.html(_room(key, fitted.height))
    state = st.plotly_chart(fitted.figure, theme=None, key=key, config=options, alt=fitted.title, **extra)
    with st.container(horizontal=True, vertical_alignment="top", gap="xsmall", key=f"{key}-foot"):
        st.caption(fitted.read, width="stretch")
        _menu(fitted.figure, key, stem or f"eapgp-{key}")
    return state


@st.cache_resource(max_entries=512, show_spinner=False)
def _kept(key: str, of: Hashable, in_the_dark: bool, on_phone: bool, height: int, _make: Callable[[], Any]) -> Fitted:
    return _fit(_make(), key, on_phone, height)


def _fit(fig: go.Figure, key: str, on_phone: bool, height: int) -> Fitted:
    if on_phone:  # a finger that moves over a figure scrolls the page; the tools above it zoom
        fig.update_layout(dragmode=False)
        height = _room_for_legend(fig, height)
    title = (fig.layout.title.text or key) if fig.layout.title else key
    note = _flatten(fig, height) if height else ""
    return Fitted(fig, str(title), f"{note}{(fig.layout.meta or {}).get('read') or ''}", height)


CURTAINS = "curtain-"  # how the keys begin of containers that are drawn once the page's style sheet is here


def curtain(key: str) -> Any:
    """A container that shows nothing until the style sheet of `brand.STYLE` makes room for it.

    Streamlit's browser code fetches every kind of element when it is first needed and meanwhile draws a grey bar of
    38 px in its place, whatever its height: on a first visit all that stands below would jump. The style sheet is
    such an element too and the first one that is asked for, so what is here is laid out with its rules from the start.
    """
    return st.container(key=f"{CURTAINS}{key}", height=1, border=False)


def reserved(key: str, height: int) -> Any:
    """A container that takes at least so many px from the start: what stands below it does not jump."""
    st.html(_room(key, height))
    return st.container(key=key)


def _room(key: str, height: int) -> str:
    return f"<style>.st-key-{key}{{min-height:{height}px}}</style>"


def _flatten(fig: go.Figure, height: int) -> str:
    """Take title and note off a figure and make it so high; returns the note as a sentence."""
    note = html.unescape((fig.layout.title.subtitle.text or "").replace("<br>", " ")) if fig.layout.title else ""
    overlaid = any(axis.overlaying for axis in fig.select_xaxes())  # a second scale stands on top
    fig.update_layout(title=None, height=height, margin={"t": 44 if overlaid else 28})
    return f"{note[0].upper()}{note[1:]}. " if note else ""


def _room_for_legend(fig: go.Figure, height: int) -> int:
    """Give a legend of one line per entry its room below the figure; returns the figure's height, 0 for its own."""
    names = {trace.legendgroup or trace.name for trace in fig.data if trace.showlegend is not False and trace.name}
    more = _ENTRY * max(0, len(names) - _FEW)
    if more:
        fig.update_layout(height=(fig.layout.height or height) + more, legend={"maxheight": _ENTRY * (len(names) + 1)})
    return height + more if height else 0


_ENTRY, _FEW = 29, 5  # px of a line of a legend on a phone; so many lines fit the usual height


def _menu(fig: go.Figure, key: str, stem: str) -> None:
    """One button that opens all files of a figure: the picture for print, and its numbers."""
    about = "Download this figure as SVG, PDF or PNG, or its numbers as CSV or JSON"
    with st.popover("Download", icon=":material/download:", type="tertiary", help=about, key=f"{key}-menu"):
        picture_buttons(partial(figure_bytes, fig), stem, key)
        st.caption("The same picture in all three, on white. The numbers behind it:")
        downloads(lambda: _figure_table(fig), key, stem)


PICTURES = {
    "svg": ("image/svg+xml", "Vector graphics whose text stays text."),
    "pdf": ("application/pdf", "Vector graphics with fonts embedded and text to select."),
    "png": ("image/png", "Pixels, 300 to an inch."),
}


def picture_buttons(make: Callable[[str], bytes], stem: str, key: str) -> None:
    """SVG, PDF and PNG of one picture; make: kind → bytes, called when a button is pressed."""
    with st.container(horizontal=True, gap="small", key=f"{key}-pictures"):
        for kind, (mime, about) in PICTURES.items():
            file = f"{stem}.{kind}"
            _file_button(file, partial(make, kind), mime, key, icon="image", help=f"{about} The file is {file}.")


def downloads(table: Callable[[], pd.DataFrame], key: str, stem: str = "") -> None:
    """Two small buttons that download a table as CSV and JSON; it is made when one of them is pressed.

    Put them into a horizontal container: they keep their width however narrow the place is.
    """
    kinds: dict[str, tuple[str, Callable[[], bytes]]] = {
        "csv": ("text/csv", lambda: table().to_csv(index=False).encode()),
        "json": ("application/json", lambda: table().to_json(orient="records", force_ascii=False).encode()),
    }
    with st.container(horizontal=True, gap="small", width="content", key=f"{key}-files"):
        for kind, (mime, data) in kinds.items():
            file, about = f"{stem or f'eapgp-{key}'}.{kind}", f"Download these numbers as {kind.upper()}."
            _file_button(file, data, mime, key, icon="download", help=about, type="tertiary")


def _file_button(file: str, data: Callable[[], bytes], mime: str, key: str, *, icon: str, **look: Any) -> None:
    """A button called after the kind of its file, whose bytes are made when it is pressed."""
    kind = file.rpartition(".")[2]
    icon = f":material/{icon}:"
    st.download_button(
        kind.upper(),
        data,
        file_name=file,
        mime=mime,
        key=f"{key}-{kind}",
        icon=icon,
        width="content",
        on_click="ignore",
        **look,
    )


def _figure_table(fig: go.Figure) -> pd.DataFrame:
    from eapgp.figures.data import figure_data

    return figure_data(fig)


MOST_WRITTEN = 2_000  # rows of which every number is written out on the server


def written(table: pd.DataFrame, forms: Mapping[str, Callable[[float], str]]) -> Any:
    """A table whose numbers read as `eapgp.numerals` writes them; it is still sorted by their values.

    forms: column → how its numbers are written. Streamlit's own formats know no minus sign; of long tables they stay
    (`long_form`). Streamlit takes the texts from what pandas' Styler would make of the whole table for HTML, cell by
    cell, which takes a tenth of a second of a thousand cells; here it is handed them as a table.
    """
    if len(table) > MOST_WRITTEN:
        return table
    texts = table.astype(object)
    for place, name in enumerate(table):
        texts.isetitem(place, _texts(table.iloc[:, place], forms.get(str(name))))
    shown: Any = table.copy(deep=False)
    shown.astype = lambda *_: texts
    styler = shown.style
    styler._compute, styler._translate = lambda: styler, lambda *_: {}
    return styler


def _texts(values: pd.Series, form: Callable[[float], str] | None) -> list[str | None]:
    number = form is not None or values.dtype.kind == "f"
    write: Callable[[Any], str] = form or ("{:.6f}".format if number else str)
    gap = "–" if number else None
    return [gap if missing else write(value) for value, missing in zip(values, values.isna(), strict=True)]


def long_form(table: pd.DataFrame, form: str) -> str | None:
    """Streamlit's form of a column's numbers, for tables that are too long to be `written`."""
    return None if len(table) <= MOST_WRITTEN else form


def table_to_pick(table: Any, key: str, on_pick: Callable[[int], None], *, cell: bool = False, **looks: Any) -> None:
    """A table that calls `on_pick` with the place of a row that is picked by its mark; cell: by any of its cells.

    table: a data frame, or one that is `written`.
    """
    mode: Literal["single-cell", "single-row"] = "single-cell" if cell else "single-row"

    def picked() -> None:
        selection = st.session_state[key]["selection"]
        places = [row for row, _ in selection["cells"]] if cell else selection["rows"]
        if places:
            on_pick(int(places[0]))

    st.dataframe(table, key=key, hide_index=True, on_select=picked, selection_mode=mode, **looks)


def points_clicked(state: Any) -> list[str]:
    """The `customdata` texts of the markers that were clicked in a figure."""
    try:
        points = state["selection"]["points"]
    except (KeyError, TypeError):
        return []
    names = []
    for point in points:
        data = point.get("customdata")
        value = data[0] if isinstance(data, (list, tuple)) and data else data
        if isinstance(value, str):
            names.append(value)
    return names
