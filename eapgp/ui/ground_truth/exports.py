"""How a comparison with a known circuit was made, how to make it again, and its files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from eapgp.formats import write_circuit
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.ground_truth.candidates import KnownCircuit, Scored, circuit_at
from eapgp.ui.ground_truth.views import edge_table, score_table
from eapgp.ui.parts import provenance, snippets


def made(truth: KnownCircuit, scored: Scored | None, k: int, *, signed: bool, mlps: bool) -> None:
    """Where the known circuit and the scores come from, and how to compare them again."""
    st.markdown(f"**{plain(truth.title)}**")
    st.markdown(f"{plain(truth.note)}")
    nodes = len(truth.circuit.node_names())
    st.caption(f"{plain(truth.source)} · {truth.circuit.n_kept:,} edges, {nodes} nodes")
    if scored is None:
        return
    if scored.card is not None:
        provenance.block(scored.card)
    elif scored.file is not None:
        facts = scored.scores.provenance
        rows = [("File", scored.file.name), ("Format", facts.get("format", "")), ("SHA-256", facts.get("sha256", ""))]
        graph = scored.scores.graph
        rows.append(("Graph", f"{graph.n_layers} layers × {graph.n_heads} heads, {graph.n_edges:,} edges"))
        rows.append(
            ("Node scores", "yes, used for the nodes" if scored.node_scores is not None else "none in the file")
        )
        st.table(pd.DataFrame(rows, columns=["", "value"]).set_index(""), border="horizontal", hide_header=True)
    st.markdown("**Compare them again**")
    left, right = st.columns(2, gap="large")
    left.code(python_snippet(truth, scored, k, signed=signed, mlps=mlps), language="python")
    if not truth.exact:
        right.code(shell_snippet(truth, scored, k, signed=signed, mlps=mlps), language="bash", wrap_lines=True)


def _place(scored: Scored) -> str:
    """Path of the file or the run's folder."""
    return snippets.place(scored.file.path if scored.file is not None else scored.card.run.path)  # type: ignore[union-attr]


def python_snippet(truth: KnownCircuit, scored: Scored, k: int, *, signed: bool, mlps: bool) -> str:
    """Python that makes the numbers of the readout."""
    if scored.file is not None:
        lines = ["from eapgp.formats import read_scores", f"scores = read_scores({_place(scored)!r})"]
    else:
        lines = ["from eapgp.runs.run import open_run", f"scores = open_run({_place(scored)!r}).scores()"]
    if truth.exact:
        circuit_lines = ["from eapgp.ground_truth.planted import planted_circuit", "truth = planted_circuit()"]
    else:
        circuit_lines = ["from eapgp.ground_truth import ground_truth", f"truth = ground_truth({truth.name!r})"]
    both = [
        lines[0],
        circuit_lines[0],
        "from eapgp.ground_truth import precision_recall_at, roc",
        "",
        lines[1],
        circuit_lines[1],
    ]
    how = f"absolute={not signed}, mlps={mlps}"
    return "\n".join(
        [
            *both,
            f"print(precision_recall_at(scores, truth, [{k}], {how})[0].to_dict())",
            f'print(roc(scores, truth, level="edges", {how}).auroc)',
            f'print(roc(scores, truth, level="nodes", {how}).auroc)',
            "",
        ]
    )


def shell_snippet(truth: KnownCircuit, scored: Scored, k: int, *, signed: bool, mlps: bool) -> str:
    """The command that makes the numbers of the readout."""
    source = {"scores" if scored.file is not None else "run": _place(scored)}
    how = {**({"signed": True} if signed else {}), **({} if mlps else {"mlps": False})}
    return snippets.shell_line("eapgp", "ground-truth", **source, variant=truth.name, edges=k, **how, json=True)


def downloads(truth: KnownCircuit, scored: Scored | None, compared: Sequence[Scored], k: int, session: Session) -> None:
    """The known circuit, the table of edges and the numbers, as files."""
    how = {"signed": session["signed"], "mlps": session["mlps"]}
    stem = truth.name.replace("/", "-")
    st.caption("The known circuit is written with every edge marked as in or out of it, score 1 or 0.")
    with st.container(horizontal=True, key="truth-downloads"):
        for format, suffix, label in (
            ("mib-json", ".json", "Known circuit (MIB JSON)"),
            ("csv", ".csv", "Known circuit (CSV)"),
            ("graphml", ".graphml", "Known circuit (GraphML)"),
        ):
            _button(label, f"{stem}{suffix}", lambda format=format, suffix=suffix: _circuit_file(truth, format, suffix))
        if scored is None:
            return
        circuit = circuit_at(scored, k, signed=session["signed"])
        _button(
            "Found, missed, extra (CSV)",
            f"{stem}-edges-{k}.csv",
            lambda: edge_table(truth, scored, circuit, signed=session["signed"]).to_csv(index=False).encode(),
        )
        _button("Every score (JSON)", f"{stem}-scores-{k}.json", lambda: _report(truth, compared, k, **how))


def _button(label: str, file: str, make: Any) -> None:
    st.download_button(
        label,
        make,
        file_name=file,
        key=f"truth-get-{file}",
        icon=":material/download:",
        on_click="ignore",
        help=f"Download {file}",
    )


def _circuit_file(truth: KnownCircuit, format: str, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_circuit(truth.circuit, Path(folder) / f"known{suffix}", format=format).read_bytes()


def _report(truth: KnownCircuit, compared: Sequence[Scored], k: int, *, signed: bool, mlps: bool) -> bytes:
    table = score_table(truth, compared, k, signed=signed, mlps=mlps).astype(object)
    rows = table.where(table.notna(), None).to_dict(orient="records")
    for row, scored in zip(rows, compared, strict=True):
        row["run" if scored.card is not None else "file"] = scored.id
    about = {"known": truth.name, "source": truth.source, "edges": truth.circuit.n_kept, "k": k}
    return json.dumps({**about, "signed": signed, "mlps": mlps, "scores": rows}, indent=1, ensure_ascii=False).encode()
