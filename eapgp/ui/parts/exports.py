"""Downloads of a run: the figure for print, scores and circuit in the formats of the library, pages, the run itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp.attribution.result import Attribution
from eapgp.circuits.circuit import Circuit
from eapgp.figures.print import figure_bytes, file_stem
from eapgp.figures.print_circuit import circuit_figure
from eapgp.figures.pyvis_view import pyvis_html
from eapgp.figures.standalone import circuit_html
from eapgp.formats import FORMATS, write_scores
from eapgp.runs.archive import write_archive
from eapgp.runs.info import RunInfo
from eapgp.types import Bools
from eapgp.ui.base.draw import code, picture_buttons
from eapgp.ui.library.circuits import known_roles
from eapgp.ui.parts import snippets
from eapgp.ui.parts.provenance import facts
from eapgp.ui.sidebar.panel import spec_to_ask_again


def downloads(
    card: RunInfo,
    result: Attribution,
    circuit: Circuit,
    *,
    edited: bool = False,
    groups: Sequence[Mapping[str, Any]] = (),
    shown: Bools | None = None,
    caption: str = "",
) -> None:
    """Every file of a circuit and its run: the figure, the scores, pages to look at, the run. Made when asked for.

    edited: the circuit is not that of the strongest edges: files show exactly its edges. groups: named groups of nodes.
    shown `[src, dst]`: the edges that the filters leave in the picture. caption: what the figure says below it.
    """
    stem = stem_of(card, circuit)
    st.markdown(f"**Figure** · {circuit.n_kept:,} edges, on white")
    picture_buttons(lambda kind: _picture(card, result, circuit, kind, (groups, shown, caption)), stem, "download")
    st.markdown("**Circuit and scores**")
    with st.container(horizontal=True, key="downloads"):
        for name, about in FORMATS.items():
            suffix = about.suffixes[0]
            _button(about.title, f"{stem}{suffix}", _scores_file(result, circuit, name, suffix), name)
    st.caption(
        "The circuit is marked in every file; GraphML, GEXF and DOT hold its edges alone. MIB JSON is the exchange "
        "format of the Mechanistic Interpretability Benchmark; GraphML and GEXF open in yEd, Cytoscape and Gephi."
    )
    st.markdown("**Pages and the run**")
    with st.container(horizontal=True, key="downloads-run"):
        _button("Stand-alone HTML", f"{stem}.html", lambda: _html(card, result, circuit, edited, groups), "html")
        _button("Pyvis HTML", f"{stem}-pyvis.html", lambda: _pyvis(card, result, circuit), "pyvis")
        _button("Run folder (zip)", f"{stem_of(card)}.zip", lambda: folder_zip([card]), "zip")
        _button("How it was made (JSON)", f"{stem_of(card)}-provenance.json", lambda: _record(card), "record")


def circuit_code(card: RunInfo, circuit: Circuit, *, edited: bool) -> None:
    """Python that makes the circuit on screen, its faithfulness and its figure; nothing for runs that were imported."""
    spec = spec_to_ask_again(card)
    if spec is None or card.imported:
        return
    st.markdown("**The circuit on screen, its faithfulness and its figure in Python**")
    lines = snippets.circuit_python(spec, circuit, _title(card), stem_of(card, circuit), edited=edited)
    code(lines, language="python")


def stem_of(card: RunInfo, circuit: Circuit | None = None) -> str:
    """What files of a run are called: `ioi-eap-gp-47-edges`; without a circuit by the run's id."""
    size = card.id[:8] if circuit is None else f"{circuit.n_kept}-edges"
    return file_stem(card.task, card.method, size)


def _picture(
    card: RunInfo,
    result: Attribution,
    circuit: Circuit,
    kind: str,
    looks: tuple[Sequence[Mapping[str, Any]], Bools | None, str],
) -> bytes:
    """The figure for print, with what the page has collapsed and filtered."""
    groups, shown, caption = looks
    boxes = {str(group["name"]): list(group["nodes"]) for group in groups if group.get("collapsed", True)}
    how: dict[str, Any] = {"roles": known_roles(card), "groups": boxes, "shown": shown, "caption": caption}
    return figure_bytes(circuit_figure(result.scores, circuit, title=_title(card), **how), kind)


def _button(label: str, file: str, make: Callable[[], bytes], key: str) -> None:
    st.download_button(
        label,
        make,
        file_name=file,
        key=f"download-{key}",
        icon=":material/download:",
        on_click="ignore",
        help=f"Download {file}",
    )


def _scores_file(result: Attribution, circuit: Circuit, format: str, suffix: str) -> Callable[[], bytes]:
    def make() -> bytes:
        nodes = result.node_scores if FORMATS[format].node_scores else None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"scores{suffix}"
            write_scores(result.scores, path, circuit=circuit, node_scores=nodes, format=format)
            return path.read_bytes()

    return make


def _html(
    card: RunInfo, result: Attribution, circuit: Circuit, edited: bool, groups: Sequence[Mapping[str, Any]]
) -> bytes:
    provenance = dict(facts(card))
    options: dict[str, Any] = {"roles": known_roles(card), "view": {"groups": [dict(group) for group in groups]}}
    title = _title(card) + (f", {circuit.name}" if edited else "")
    exact = circuit if edited else None
    return circuit_html(
        result.scores, exact, n=circuit.n_selected, title=title, provenance=provenance, **options
    ).encode()


def _pyvis(card: RunInfo, result: Attribution, circuit: Circuit) -> bytes:
    return pyvis_html(result.scores, circuit, title=_title(card), roles=known_roles(card)).encode()


def _title(card: RunInfo) -> str:
    return f"{card.task_title} · {card.title} · {card.model_title}"


def folder_zip(cards: Sequence[RunInfo]) -> bytes:
    """The runs' folders as one zip file, which Import takes."""
    with tempfile.TemporaryDirectory() as folder:
        return write_archive([card.run for card in cards], Path(folder) / "runs.zip").read_bytes()


def _record(card: RunInfo) -> bytes:
    return json.dumps(dict(card.record), indent=1, ensure_ascii=False).encode()
