"""The reproduction as a page: Markdown and HTML."""

from __future__ import annotations

from typing import Any

from eapgp.study import html
from eapgp.study.published import ABSTRACT, HANNA_2024, HANNA_2024_EXACT, ZHANG_2025
from eapgp.study.reproduce_result import OTHER_MODEL, Reproduction
from eapgp.study.reproduce_rows import TOLERANCE


def _intro(result: Reproduction) -> list[str]:
    counts = ", ".join(f"{n} {verdict}" for verdict, n in result.verdicts().items() if n)
    return [
        f"The protocol of the EAP-GP paper on the model {result.model}{_of_edges(result)}: {_tasks(result)}, raw "
        "weights, k = 5, GradPath with the unit step (our reading of the paper) and beside it other readings of what "
        "the paper leaves open, greedy selection with dead ends pruned, normalised faithfulness with 95 % bootstrap "
        "intervals over prompts.",
        f"Cells: {counts}.",
        f"Verdicts: reproduced where the published value lies in our interval widened by {TOLERANCE} on both sides (it "
        "was measured on other prompts and has no interval of its own); higher or lower where ours lies above or "
        "below it. Where two tables of the same authors give a cell, both are shown and their range is what counts.",
    ]


def _of_edges(result: Reproduction) -> str:
    return f" ({result.n_edges:,} edges)" if result.n_edges else ""


def _tasks(result: Reproduction) -> str:
    return "six tasks" if len(result.tasks) == 6 else f"of six tasks {', '.join(result.tasks)}"


def _beside(result: Reproduction) -> list[str]:
    """What the numbers of another model are, wherever they stand beside ours."""
    if result.is_own:
        return []
    return [
        f"The column “{OTHER_MODEL}” is what is published for GPT-2 small at the same share of its 32,491 edges. It is "
        "no target for this model, and no verdict rests on it."
    ]


def how(result: Reproduction) -> list[str]:
    """What decided the numbers, in sentences."""
    facts = result.made
    if not facts:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items() if name != "platform")
    runs = sum(len(methods) for methods in facts["runs"].values())
    return [
        f"Weights {facts['model']['weights_hash']}, {facts['pairs']} pairs per task, seed {facts['seed']}; "
        f"{runs} runs, {facts['seconds']:.0f} s of computing on {facts['device']}.",
        f"Versions: {versions}.",
    ]


def markdown_page(result: Reproduction) -> str:
    """The report as Markdown."""
    lines = [f"# The paper's protocol on {result.model}", ""]
    for text in (*_intro(result), *_beside(result), *result.remarks):
        lines += [text, ""]
    rule = "|---|---|" + "---:|" * 6 + "---|" + "---:|" * (not result.is_own)
    lines += ["| " + " | ".join(result.columns) + " |", rule]
    lines += ["| " + " | ".join(_markdown(value) for value in result.cells(row)) + " |" for row in result.rows]
    lines += ["", "Sources of published numbers:", ""]
    lines += [f"- {source}" for source in (*_sources(result), ABSTRACT)]
    names, manual = _manual(result)
    if manual:
        lines += ["", "## Against the manual circuits", "", "| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        lines += ["| " + " | ".join(_markdown(v) for v in row) + " |" for row in manual]
    for text in how(result):
        lines += ["", text]
    return "\n".join(lines) + "\n"


def _markdown(value: Any) -> str:
    return html.cell_text(value).replace("|", "\\|")


def _manual(result: Reproduction) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of precision and recall against the manual circuits."""
    names = list(result.overlaps[0]) if result.overlaps else []
    return names, [[entry[name] for name in names] for entry in result.overlaps]


def _sources(result: Reproduction) -> list[str]:
    if not result.is_own:
        return [HANNA_2024, HANNA_2024_EXACT, ZHANG_2025]
    return sorted({row.source for row in result.rows if row.source})


def html_page(result: Reproduction) -> str:
    """The report as one HTML file that needs no network."""
    parts = [html.heading(f"The paper's protocol on {result.model}", 1)]
    parts += [html.paragraph(text) for text in (*_intro(result), *_beside(result), *result.remarks)]
    drawn = result.figures()
    cells = [result.cells(row) for row in result.rows]
    for number, (title, fig) in enumerate(drawn):
        parts += [html.heading(title), html.figure(fig, number)]
    parts += [html.heading("Every cell"), html.table(result.columns, cells, mark="verdict")]
    names, manual = _manual(result)
    if manual:
        parts += [html.heading("Against the manual circuits"), html.table(names, manual)]
    parts += [html.heading("Sources"), html.items([*_sources(result), ABSTRACT])]
    parts += [html.paragraph(text, muted=True) for text in how(result)]
    return html.page(f"The paper's protocol on {result.model}", parts, figures=bool(drawn))
