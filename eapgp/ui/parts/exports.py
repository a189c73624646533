"""Downloads of a run: scores, circuit and picture, in the formats of the library."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp.attribution.result import Attribution
from eapgp.circuits.circuit import Circuit
from eapgp.figures.pyvis_view import pyvis_html
from eapgp.figures.standalone import circuit_html
from eapgp.formats import FORMATS, write_scores
from eapgp.runs.archive import write_archive
from eapgp.runs.info import RunInfo
from eapgp.ui.library.circuits import known_roles
from eapgp.ui.parts.provenance import facts


def downloads(
    card: RunInfo,
    result: Attribution,
    circuit: Circuit,
    *,
    edited: bool = False,
    groups: Sequence[Mapping[str, Any]] = (),
    which: str = "The circuit on screen",
) -> None:
    """One button per format, made when it is pressed.

    edited: the circuit is not that of the strongest edges: files show exactly its edges. groups: named groups of nodes.
    which: what to call the circuit.
    """
    st.caption(
        f"{which} is marked in every file; GraphML, GEXF and DOT hold its edges alone. MIB JSON is the exchange format "
        "of the Mechanistic Interpretability Benchmark; GraphML and GEXF open in yEd, Cytoscape and Gephi."
    )
    stem = f"{card.task}-{card.method}-{card.id[:8]}"
    with st.container(horizontal=True, key="downloads"):
        for name, about in FORMATS.items():
            _button(
                about.title, f"{stem}{about.suffixes[0]}", _scores_file(result, circuit, name, about.suffixes[0]), name
            )
        _button("Stand-alone HTML", f"{stem}.html", lambda: _html(card, result, circuit, edited, groups), "html")
        _button("Pyvis HTML", f"{stem}-pyvis.html", lambda: _pyvis(card, result, circuit), "pyvis")
        _button("Run folder (zip)", f"{stem}.zip", lambda: folder_zip([card]), "zip")
        _button("How it was made (JSON)", f"{stem}-provenance.json", lambda: _record(card), "record")


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
    return f"{card.task} · {card.title} · {card.model_title}"


def folder_zip(cards: Sequence[RunInfo]) -> bytes:
    """The runs' folders as one zip file, which Import takes."""
    with tempfile.TemporaryDirectory() as folder:
        return write_archive([card.run for card in cards], Path(folder) / "runs.zip").read_bytes()


def _record(card: RunInfo) -> bytes:
    return json.dumps(dict(card.record), indent=1, ensure_ascii=False).encode()
