"""How a result was made, and how to make it again: facts, Python, command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from eapgp.attribution.registry import short_name
from eapgp.metrics import metric_title
from eapgp.numerals import percent
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import UNKNOWN, library_versions
from eapgp.ui.base.draw import plain
from eapgp.ui.parts import snippets
from eapgp.ui.sidebar.panel import spec_to_ask_again


def facts(card: RunInfo) -> list[tuple[str, str]]:
    """What decided the numbers of a run, and where and when they were computed."""
    if card.imported:
        return _imported_facts(card)
    record, request = card.record, card.record["request"]
    libraries = record.get("libraries", {})
    options = ", ".join(f"{name} = {value}" for name, value in card.options.items()) or "none"
    drawn = f" with weights drawn from seed {request['seed']}" if card.untrained else ""
    weights = f"weights {str(request['model']['weights_hash'])[:12]}"
    pairs = (card.task, f"{card.n_pairs} pairs", *card.prompt_conditions, f"seed {request['seed']}")
    return [
        ("Run", card.id),
        ("Model", f"{card.model}{drawn}, {request['model']['dtype']}, {weights}"),
        ("Graph", f"{card.graph.n_layers} layers × {card.graph.n_heads} heads, {record['n_edges']:,} edges"),
        ("Task and prompts", ", ".join((*pairs, f"hash {card.prompts_hash}"))),
        *((("Right answers", f"{percent(card.accuracy, 1)} of the pairs"),) if card.accuracy is not None else ()),
        ("Metric", metric_title(card.metric)),
        ("Method", f"{short_name(card.method)} ({card.method}); {options}"),
        ("Intervention", card.intervention),
        ("Passes", f"{record['forward_passes']:g} forward, {record['backward_passes']:g} backward"),
        ("Computed", f"{record['created']} on {card.machine} in {record['seconds']:.2f} s"),
        ("Versions", versions(libraries)),
        ("Platform", str(libraries.get("platform", ""))),
        *(("Remark", remark) for remark in card.remarks),
    ]


def _imported_facts(card: RunInfo) -> list[tuple[str, str]]:
    """What is known of scores that came in a file."""
    turned = "all signs turned" if card.options.get("negated") else "signs as in the file"
    return [
        ("Run", card.id),
        ("File", f"{card.options['file']}, sha256 {card.options['sha256']}, {turned}"),
        ("Model", _told(card.model)),
        ("Graph", f"{card.graph.n_layers} layers × {card.graph.n_heads} heads, {card.record['n_edges']:,} edges"),
        ("Task", _told(card.task)),
        ("Imported", str(card.record["created"])),
    ]


def _told(name: str) -> str:
    return "not told at the import" if name == UNKNOWN else f"{name}, as told at the import"


def versions(libraries: Mapping[str, Any] | None = None) -> str:
    """The versions that decide numbers, in one line; those of this server where none are given."""
    by_name = library_versions() if libraries is None else libraries
    return ", ".join(f"{name} {by_name[name]}" for name in ("eapgp", "torch", "transformer_lens") if name in by_name)


def block(card: RunInfo) -> None:
    """The facts and the snippets, as a page shows them."""
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.markdown("**What decided these numbers**")
        table = pd.DataFrame([(name, plain(value)) for name, value in facts(card)], columns=["", "value"]).set_index("")
        st.table(table, border="horizontal", hide_header=True)
    with right:
        spec = spec_to_ask_again(card)
        if card.imported:
            snippets.draw(*_import_lines(card), title="Import it again in Python")
        elif spec is not None:
            snippets.draw(snippets.run_python(spec), snippets.run_shell(spec))
        else:
            st.caption("This run was imported; what it was asked with is not known.")


def _import_lines(card: RunInfo) -> tuple[str, str]:
    names = {name: value for name, value in (("task", card.task), ("model", card.model)) if value != UNKNOWN}
    return snippets.import_lines(str(card.options["file"]), names, negate=bool(card.options.get("negated")))
