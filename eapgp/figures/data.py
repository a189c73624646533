"""The table behind a figure, for download.

What a figure draws is read back from its traces, so a table cannot differ from its picture.
A trace may say more in its `meta`: `columns` names the columns of its `customdata`, `x` and `y`
rename the coordinates (empty: leave them out, for transformed axes), `value` names a heat map's
cells, `hidden` keeps decoration (bands, click targets) out of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eapgp.figures.style import unescape


def figure_data(fig: go.Figure) -> pd.DataFrame:
    """One row per drawn point, bar or cell; blank heat map cells are left out.

    Columns: `series`, the axis titles, and what the figure keeps beside each point (raw scores
    behind a logarithmic scale, interval ends, edge names).
    """
    frames = [_trace_table(fig, trace) for trace in fig.data if not (trace.meta or {}).get("hidden")]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, ignore_index=True)


def _axis_title(fig: go.Figure, name: str | None, letter: str) -> str:
    axis = fig.layout[f"{letter}axis{(name or letter)[1:]}"]
    return unescape(axis.title.text or letter)


def _plain(values: Any) -> list[Any]:
    return [unescape(v) if isinstance(v, str) else v for v in np.asarray(values).tolist()]


def _trace_table(fig: go.Figure, trace: Any) -> pd.DataFrame:
    if trace.type in ("heatmap", "contour"):
        return _cells(fig, trace)
    meta = trace.meta or {}
    table: dict[str, list[Any]] = {}
    for letter in ("x", "y"):
        column = meta.get(letter, _axis_title(fig, trace[f"{letter}axis"], letter))
        if column and trace[letter] is not None:
            table[column] = _plain(trace[letter])
    for index, column in enumerate(meta.get("columns", ())):
        table[column] = _plain([row[index] for row in trace.customdata])
    frame = pd.DataFrame(table)
    frame.insert(0, "series", unescape(trace.name or ""))
    return frame


def _cells(fig: go.Figure, trace: Any) -> pd.DataFrame:
    meta = trace.meta or {}
    raw = trace.z if trace.customdata is None else trace.customdata
    values = np.asarray(raw, dtype=np.float64)
    rows, columns = np.nonzero(np.isfinite(values))
    x_name = meta.get("x") or _axis_title(fig, trace.xaxis, "x")
    y_name = meta.get("y") or _axis_title(fig, trace.yaxis, "y")
    x_labels = np.array(_plain(trace.x), dtype=object)
    y_labels = np.array(_plain(trace.y), dtype=object)
    frame = pd.DataFrame(
        {y_name: y_labels[rows], x_name: x_labels[columns], meta.get("value", "value"): values[rows, columns]}
    )
    frame.insert(0, "series", unescape(trace.name or ""))
    return frame
