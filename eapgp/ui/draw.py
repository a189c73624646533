"""Small pieces that every page draws with: figures with their reading aid and table, safe blocks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import streamlit as st

from eapgp.errors import EapgpError
from eapgp.ui.jobs import one_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LOG = logging.getLogger("eapgp.ui")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>$:])")


def dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def plain(text: object) -> str:
    """Text that markdown shows literally (tokens, file names, names that users typed)."""
    return _MARKDOWN.sub(r"\\\1", str(text)).replace("\n", " ")


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


def chart(fig: go.Figure, key: str, *, select: bool = False) -> Any:
    """A figure, its sentence on how to read it, and the table behind it.

    select: clicks on markers come back (the widget's state is returned).
    """
    options: dict[str, Any] = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "svg", "filename": f"eapgp-{key}"},
        "scrollZoom": False,
    }
    extra: dict[str, Any] = {"on_select": "rerun", "selection_mode": "points"} if select else {}
    title = (fig.layout.title.text or key) if fig.layout.title else key
    state = st.plotly_chart(fig, theme=None, key=key, config=options, alt=str(title), **extra)
    read = (fig.layout.meta or {}).get("read")
    left, right = st.columns([1, 0.12], vertical_alignment="top")
    if read:
        left.caption(read)
    with right:
        table_download(fig, key)
    return state


def table_download(fig: go.Figure, key: str) -> None:
    """A button that downloads what a figure draws as CSV."""

    def table() -> bytes:
        from eapgp.figures.data import figure_data

        return figure_data(fig).to_csv(index=False).encode()

    st.download_button(
        "CSV",
        table,
        file_name=f"eapgp-{key}.csv",
        mime="text/csv",
        key=f"{key}-csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        help="Download the numbers behind this figure. The camera above the figure saves the picture.",
    )


def points_clicked(state: Any) -> list[str]:
    """The `customdata` texts of the markers that were clicked in a figure."""
    try:
        points = state["selection"]["points"]
    except (KeyError, TypeError):
        return []
    found = []
    for point in points:
        data = point.get("customdata")
        value = data[0] if isinstance(data, (list, tuple)) and data else data
        if isinstance(value, str):
            found.append(value)
    return found
