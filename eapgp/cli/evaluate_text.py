"""What `eapgp evaluate` says to people: a table by size, and a table for each thing that was asked beside it."""

from __future__ import annotations

from typing import Any

from eapgp.cli.output import number, stacked, table
from eapgp.evaluation.areas import described
from eapgp.findings import keeps

SHOWN = 10
"""Edges of one circuit that a table lists; --json has more."""

Entry = dict[str, Any]


def evaluation_text(payload: Entry) -> Any:
    """The tables of an answer of `evaluate`."""
    clean, corrupted = number(payload["metric_clean"]), number(payload["metric_corrupted"])
    cut = payload["intervention"]
    ends = f"corrupted {corrupted}" if cut == "patching" else f"every edge at its {cut} value {corrupted}"
    head = f"{payload['metric']} clean {clean}, {ends}, {payload['n_pairs']} pairs"
    note = "" if payload.get("kept", True) else "the answer is not kept: the run's folder stays as it is."
    minimal = [part for entry in payload.get("minimality", ()) for part in _minimal(entry)]
    steady = [part for entry in payload.get("stability", ()) for part in _steady(entry)]
    remarks = "\n".join(payload.get("messages", ()))
    return stacked(
        *_sentence(payload), head, _curve(payload), _areas(payload), payload["remark"], *minimal, *steady, remarks, note
    )


def _sentence(payload: Entry) -> list[str]:
    """What one circuit keeps, in words; several have their table."""
    if len(payload["curve"]) != 1:
        return []
    (entry,) = payload["curve"]
    ends = [entry[name] for name in ("faithfulness", "faithfulness_low", "faithfulness_high")]
    value, low, high = (float("nan") if end is None else float(end) for end in ends)
    said = keeps(entry["edges_kept"], entry["edges_selected"], payload["n_edges"], (value, low, high))
    if "nodes_selected" not in entry or not entry["edges_kept"]:
        return [said]
    return [f"{entry['nodes_selected']:,} of {payload['n_nodes']:,} nodes: {said}"]


def _curve(payload: Entry) -> Any:
    beside = _beside(payload)
    interval = f"{payload['level']:.0%} interval"
    by_nodes = "n_nodes" in payload
    selected = ("nodes", "edges") if by_nodes else ("selected",)
    columns = (*selected, "kept", payload["metric"], "faithfulness", interval, "accuracy", "KL, nats", *beside)
    rows = [
        (
            *([entry["nodes_selected"]] if by_nodes else []),
            entry["edges_selected"],
            entry["edges_kept"],
            entry["metric"],
            entry["faithfulness"],
            _interval(entry["faithfulness_low"], entry["faithfulness_high"]),
            entry["accuracy"],
            entry["kl"],
            *(column[at] for column in beside.values()),
        )
        for at, entry in enumerate(payload["curve"])
    ]
    return table(columns, rows, right=columns)


def _beside(payload: Entry) -> dict[str, list[str]]:
    """Columns of faithfulness beside the circuits' own: of random circuits, and of the complements."""
    columns = {}
    if baseline := payload.get("baseline"):
        spread = zip(baseline["mean"], baseline["low"], baseline["high"], strict=True)
        columns["random circuits"] = [f"{number(mean)} ({_interval(low, high)})" for mean, low, high in spread]
    if complements := payload.get("completeness"):
        columns["complement"] = [number(entry["complement_faithfulness"]) for entry in complements]
    return columns


def _areas(payload: Entry) -> str:
    """The areas: CPR and CMD on MIB's grid; over other sizes by what they are, for they compare with nothing else."""
    if not payload["area"]:
        return ""
    of = "nodes" if "n_nodes" in payload else "edges"
    if payload["cpr"]:
        where = ", over MIB's grid of nodes" if of == "nodes" else ""
        return f"CPR {_banded(payload['cpr'])}, CMD {_banded(payload['cmd'])}{where}"
    return (
        f"over {described(payload['area_shares'], of)}: area under faithfulness {_banded(payload['area'])}, between it "
        f"and 1 {_banded(payload['area_to_one'])} (CPR and CMD are the areas over MIB's sizes: --grid mib)"
    )


def _banded(band: Entry) -> str:
    return f"{number(band['value'])} [{_interval(band['low'], band['high'])}]"


def _interval(low: float | None, high: float | None) -> str:
    return f"{number(low)} … {number(high)}"


def _minimal(entry: Entry) -> tuple[str, Any]:
    """What single edges of one circuit add to its faithfulness."""
    edges = entry["edges"]
    idle = sum(edge["contribution"] is not None and edge["contribution"] <= 0 for edge in edges)
    which = f"a sample of {len(edges):,} of its" if entry["sampled"] else "its"
    head = (
        f"circuit of {entry['edges_kept']:,} edges: taking one of {which} edges away lowers faithfulness by this much; "
        f"{idle:,} of {len(edges):,} lower it not at all"
    )
    rows = [(edge["name"], edge["contribution"]) for edge in edges[:SHOWN]]
    columns = ("edge of most effect", "contribution")
    return head, table(columns, rows, right=columns[1:]) if rows else ""


def _steady(entry: Entry) -> tuple[str, Any]:
    """The least stable kept edges of one circuit."""
    head = (
        f"top {entry['edges_selected']:,}: {entry['always']:,} of {entry['edges_kept']:,} kept edges are in it in each "
        f"of {entry['resamples']:,} resamples of the run's pairs, {number(entry['mean_share'])} on average"
    )
    least = [edge for edge in entry["edges"][:SHOWN] if edge["share"] < 1]
    rows = [(edge["name"], f"{edge['share']:.1%}", edge["score"]) for edge in least]
    columns = ("least stable edge", "in the top n", "score")
    return head, table(columns, rows, right=columns[1:]) if rows else ""
