"""What the Faithfulness page draws of what was measured: curves, areas, differences, evidence, numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp import findings
from eapgp.evaluation.areas import area_shares, described, is_mib
from eapgp.evaluation.evidence import SEEDS, RandomBaseline
from eapgp.evaluation.runner import Measured
from eapgp.evaluation.statistics import Band, cpr_cmd
from eapgp.figures.inputs import OF_NODES, CurveLine
from eapgp.findings import Finding
from eapgp.metrics import metric_title
from eapgp.numerals import decimal, ends, percent, score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, code, dark, plain, written
from eapgp.ui.base.session import Session
from eapgp.ui.faithfulness.fields import QUANTITIES
from eapgp.ui.faithfulness.jobs import Evidence
from eapgp.ui.faithfulness.measurements import Cards
from eapgp.ui.parts import provenance, run_choice, snippets
from eapgp.ui.parts.measuring import sizes_of

Curves = Mapping[str, Measured]
AREAS = {True: ("CPR", "CMD"), False: ("Area", "Area to 1")}
"""What the two areas are called over MIB's sizes, and over others."""

_UNITS = {
    "faithfulness": "normalised faithfulness",
    "accuracy": "share of pairs whose right answer wins",
    "kl": "KL(whole model ‖ circuit) at the answer (nats)",
}
_READS = {
    "metric": "Each curve ends at the whole model's metric on the right; one that gets there early needs few edges.",
    "accuracy": "A high curve on the left means that few edges are enough to get the answers right.",
    "kl": "Lower is closer to the whole model; unlike faithfulness this looks at every word the model might say.",
}


_TWO_AXES = (
    " Circuits by nodes are summed over shares of the nodes, circuits by edges over shares of the edges: two areas of "
    "one run do not compare. The figure does, at equal numbers of edges."
)

HEIGHT = 348  # px of the curves: below the two rows of settings they fit a low window


def curves_figure(session: Session, cards: Cards, curves: Curves, base: RandomBaseline | None, k: int) -> None:
    """The curves with bands; a click on a point sets the size."""
    show = session["measure"]
    shown = {name: measured for name, measured in curves.items() if measured.has(show)}
    if not shown:
        return
    of = tuple((name, cards[name].run.content, _sizes(measured)) for name, measured in shown.items())
    figure = partial(_curves, show, cards, shown, base, k)
    random = None if base is None else (base.sizes, base.values(show).tobytes())  # of the run that is looked at closely
    _take_size(session, chart(figure, "faith-curves", of=(show, of, random, k), select=True, height=HEIGHT))


def _curves(show: str, cards: Cards, curves: Curves, base: RandomBaseline | None, k: int) -> Any:
    from eapgp.figures.adapt import band_line
    from eapgp.figures.curves import faithfulness_curves

    lines = []
    for name, measured in curves.items():
        band = _band(cards[name].run.content, show, measured)
        run = name.removesuffix(OF_NODES) if measured.nodes else name
        lines.append(band_line(run, measured.selected, band, measured.kept, measured.nodes))
    card, grey = next(iter(cards.values())), None
    if base is not None:
        mean, low, high = base.spread(show)
        grey = CurveLine("Random circuits", np.array(base.sizes), mean, low, high)
    unit = _UNITS.get(show, f"{metric_title(card.metric).lower()} of the circuit")
    title = "Faithfulness by circuit size" if show == "faithfulness" else f"{QUANTITIES[show]} by circuit size"
    figure = faithfulness_curves(
        lines,
        n_edges=card.graph.n_edges,
        random=grey,
        current=k,
        y=unit,
        references=show == "faithfulness",
        title=title,
        dark=dark(),
    )
    if show in _READS:
        figure.layout.meta = {"read": _READS[show]}
    return figure


Sizes = tuple[tuple[int, ...], tuple[int, ...]]
Areas = tuple[Band, Band] | None


def _sizes(measured: Measured) -> Sizes:
    return measured.selected, measured.nodes


@st.cache_resource(max_entries=128, show_spinner=False)
def _cached_band(content: str, show: str, sizes: Sizes, whole: bool, _measured: Measured) -> Band:
    return _measured.band(show)


def _band(content: str, show: str, measured: Measured) -> Band:
    return _cached_band(content, show, _sizes(measured), measured.whole, measured)


def _take_size(session: Session, state: Any) -> None:
    """A clicked point becomes the chosen size, once."""
    try:
        point = state["selection"]["points"][0]
        size = int(point["customdata"][0])
    except (KeyError, IndexError, TypeError, ValueError):
        st.session_state.pop("faith-clicked", None)
        return
    if st.session_state.get("faith-clicked") != size:
        st.session_state["faith-clicked"] = size
        session.later(k=size)
        st.rerun()


def finding(cards: Cards, curves: Curves, name: str) -> Finding:
    """How many edges (or nodes) of one run are enough."""
    measured = curves[name]
    return _cached_finding(cards[name].run.content, _sizes(measured), measured)


@st.cache_resource(max_entries=128, show_spinner=False)
def _cached_finding(content: str, sizes: Sizes, _measured: Measured) -> Finding:
    found = findings.of_curve(_measured)
    return Finding(found.text, found.numbers)  # what makes it weak stands in `remarks`


def remarks(cards: Cards, curves: Curves) -> None:
    """What makes the numbers weak: an undefined ratio, unlike runs."""
    for name, measured in curves.items():
        reason = _band(cards[name].run.content, "faithfulness", measured).reason
        if reason:
            st.warning(plain(f"{name}: {reason}"), icon=":material/warning:")
            return


def areas(cards: Cards, curves: Curves, base: RandomBaseline | None) -> None:
    """The areas under the curves with intervals: CPR and CMD where the sizes are MIB's."""
    if not curves:
        return
    mib = all(is_mib(measured.shares) for measured in curves.values())
    names = AREAS[mib]
    bands = {name: _areas(cards[name], measured) for name, measured in curves.items()}
    rows = [_area_row(name, names, both) for name, both in bands.items() if both is not None]
    if base is not None:
        rows.append({"circuits of": "Random circuits"})
        shares = area_shares(base.sizes, next(iter(cards.values())).graph.n_edges)
        for column, drawn in zip(names, cpr_cmd(shares, base.values()), strict=True):
            rows[-1] |= {
                column: float(np.mean(drawn)),
                f"{column} interval": ends(*np.quantile(drawn, [0.025, 0.975])),
            }
    helps = ("Area under faithfulness. Higher is better.", "Area of |1 − faithfulness|. Lower is better.")
    st.dataframe(
        written(pd.DataFrame(rows), dict.fromkeys(names, decimal)),
        hide_index=True,
        column_order=["circuits of", *(column for name in names for column in (name, f"{name} interval"))],
        column_config={name: st.column_config.NumberColumn(help=text) for name, text in zip(names, helps, strict=True)},
    )
    over = " and ".join(dict.fromkeys(map(_over, curves.values())))
    st.caption(
        f"{names[0]}: area under the curve of faithfulness. {names[1]}: area between it and 1. Both over {over} "
        "(linear). Intervals: 95 % over prompt pairs drawn with replacement; for random circuits, over the draws. Two "
        "rows whose intervals overlap may still differ clearly on the same pairs: see Differences."
        + (_TWO_AXES if len({bool(one.nodes) for one in curves.values()}) > 1 else "")
        + ("" if mib else " CPR and CMD are these areas over MIB's sizes: choose them above.")
    )


def _over(measured: Measured) -> str:
    """What the areas of one curve are taken over, in words."""
    return described(measured.shares, "nodes" if measured.nodes else "edges")


@st.cache_resource(max_entries=128, show_spinner=False)
def _cached_areas(content: str, sizes: Sizes, _measured: Measured) -> Areas:
    return _measured.areas()


def _areas(card: RunInfo, measured: Measured) -> Areas:
    return _cached_areas(card.run.content, _sizes(measured), measured)


def _area_row(name: str, columns: tuple[str, str], bands: tuple[Band, Band]) -> dict[str, Any]:
    row: dict[str, Any] = {"circuits of": name}
    for column, band in zip(columns, bands, strict=True):
        row[column] = float(band.value)
        row[f"{column} interval"] = ends(float(band.low), float(band.high))
    return row


def differences(cards: Cards, curves: Curves, main: str, k: int) -> None:
    """The chosen run's curve (main) against every other of its kind, on the same resamples of the same pairs."""
    from eapgp.figures.adapt import band_line
    from eapgp.figures.curves import faithfulness_difference

    first = curves.get(main)
    others = {
        name: measured
        for name, measured in curves.items()
        if name != main
        and first is not None
        and not run_choice.unpaired(cards[name], cards[main])
        and (measured.nodes or measured.selected) == (first.nodes or first.selected)
        and bool(measured.nodes) == bool(first.nodes)
    }
    if first is None or not others:
        st.info(
            "Nothing to compare yet: pick a second run of the same model, prompts, metric and intervention above, and "
            "both get measured on the same pairs.",
            icon=":material/compare_arrows:",
        )
        return
    n_edges = cards[main].graph.n_edges
    area = AREAS[is_mib(first.shares)][0]
    rows = []
    for name, measured in others.items():
        gap = first.minus(measured, area="cpr")
        rows.append(
            {
                "against": name,
                f"Δ{area}": float(gap.value),
                "interval": ends(float(gap.low), float(gap.high)),
                "order flips": None if gap.flips is None else float(gap.flips),
                "verdict": _verdict(gap, main, name),
            }
        )
    st.dataframe(
        written(pd.DataFrame(rows), {f"Δ{area}": score, "order flips": percent}),
        hide_index=True,
        column_config={
            f"Δ{area}": st.column_config.NumberColumn(help=f"{area} of {main} minus that of the other."),
            "order flips": st.column_config.NumberColumn(
                help="Share of resamples of the pairs in which the order is the other way round."
            ),
        },
    )
    for place, (name, measured) in enumerate(others.items()):
        gap = first.minus(measured)
        line = band_line(main, first.selected, gap)
        figure = faithfulness_difference(
            line, n_edges=n_edges, names=(main, name), flips=gap.flips, current=k, dark=dark()
        )
        chart(figure, f"faith-difference-{place}")


def _verdict(gap: Any, first: str, second: str) -> str:
    if math.isnan(float(gap.low)):
        return "undefined"
    if float(gap.low) > 0:
        return f"{first} is more faithful"
    if float(gap.high) < 0:
        return f"{second} is more faithful"
    return "a tie on these pairs"


def show_evidence(evidence: Evidence, name: str, k: int) -> None:
    """Is anything left outside, and is every edge inside needed?"""
    from eapgp.figures.adapt import minimality_figure
    from eapgp.figures.evidence import complement_bars

    band = evidence.faithfulness
    st.markdown(_sentence(evidence, name, k))
    left, right = st.columns([1, 1.7], gap="large")
    with left:
        figure = complement_bars(
            band.value.tolist(),
            low=band.low.tolist(),
            high=band.high.tolist(),
            names=(f"circuit ({evidence.kept:,})", f"the rest ({evidence.rest:,})"),
            dark=dark(),
        )
        chart(figure, "faith-complement")
    with right:
        figure = minimality_figure(evidence.minimality, random=evidence.outside.spread, dark=dark())
        chart(figure, "faith-minimality")
    st.caption(
        f"Grey band: what {len(evidence.outside.added)} random edges from outside add when one of them joins the "
        "circuit (middle 95 %). Error bars: 95 % over prompt pairs. An edge that does nothing alone may stand in for "
        "another: redundant edges are each worth little and together a lot."
    )


def _sentence(evidence: Evidence, name: str, k: int) -> str:
    own = evidence.minimality.contribution
    clear, against = int((own.low > 0).sum()), int((own.high < 0).sum())
    band = evidence.faithfulness
    rest, low, high = (float(values[1]) for values in (band.value, *_ends_of(band)))
    kind = f"sampled {len(own.value)} of its {evidence.kept:,}" if evidence.minimality.sampled else f"{evidence.kept:,}"
    return (
        f"The top {k:,} edges of **{plain(name)}**: of the {kind} kept edges, **{clear}** clearly lower faithfulness "
        f"when taken away and **{against}** clearly raise it. Everything but the circuit still reaches "
        f"**{decimal(rest, 2)}** {ends(low, high, 2)}."
    )


def _ends_of(band: Band) -> tuple[Any, Any]:
    return band.low, band.high


def numbers(cards: Cards, curves: Curves, base: RandomBaseline | None) -> None:
    """Every size of every run as a table, and all of it as JSON."""
    if not curves:
        return
    table = pd.DataFrame([row for name, measured in curves.items() for row in _rows(name, cards[name], measured)])
    if "nodes" in table:  # second, and empty for circuits by edges
        table.insert(1, "nodes", table.pop("nodes").astype("Int64"))
    forms: dict[str, Callable[[float], str]] = {
        column: decimal for column in table.columns if table[column].dtype == float
    }
    forms["share"] = partial(percent, digits=1)
    config = {"kept": st.column_config.NumberColumn("kept"), "kl": st.column_config.NumberColumn("KL divergence")}
    st.dataframe(written(table, forms), hide_index=True, column_config=config, height=min(38 + 35 * len(table), 430))
    with st.container(horizontal=True, key="faith-downloads"):
        _download("Table (CSV)", "faithfulness.csv", table.to_csv(index=False).encode(), "The table above.")
        _download(
            "Everything (JSON)",
            "faithfulness.json",
            json.dumps(_everything(cards, curves, base), indent=1, ensure_ascii=False).encode(),
            "Curves with intervals, areas, random circuits, and how each run was made.",
        )
    st.caption(
        "kept: edges left after those on no path from input to logits were pruned. Accuracy and KL divergence are "
        "empty where they have not been measured: choose them under Show."
    )


def _download(label: str, file: str, data: bytes, help: str) -> None:
    st.download_button(
        label, data, file_name=file, key=f"get-{file}", icon=":material/download:", on_click="ignore", help=help
    )


def _rows(name: str, card: RunInfo, measured: Measured) -> list[dict[str, Any]]:
    bands = {show: _band(card.run.content, show, measured) for show in QUANTITIES if measured.has(show)}
    rows = []
    for place, (size, n_kept) in enumerate(zip(measured.selected, measured.kept, strict=True)):
        row: dict[str, Any] = {"run": name, **({"nodes": measured.nodes[place]} if measured.nodes else {})}
        row |= {"edges": size, "share": size / card.graph.n_edges, "kept": n_kept}
        for show in QUANTITIES:
            band = bands.get(show)
            ends = (("", "value"), (" low", "low"), (" high", "high")) if show == "faithfulness" else (("", "value"),)
            for suffix, which in ends:
                row[show + suffix] = float("nan") if band is None else float(getattr(band, which)[place])
        rows.append(row)
    return rows


def _everything(cards: Cards, curves: Curves, base: RandomBaseline | None) -> dict[str, Any]:
    runs = []
    for name, measured in curves.items():
        card = cards[name]
        bands = {show: _band(card.run.content, show, measured).to_dict() for show in QUANTITIES if measured.has(show)}
        sizes: dict[str, Any] = {"nodes_selected": list(measured.nodes)} if measured.nodes else {}
        sizes |= {"edges_selected": list(measured.selected), "edges_kept": list(measured.kept)}
        origin = {"run": card.id, "spec": card.record.get("spec"), "request": card.record["request"]}
        runs.append({"name": name, **sizes, **bands, "provenance": origin})
    return {"runs": runs, "random": None if base is None else _plain(_draws(base))}


def _draws(base: RandomBaseline) -> dict[str, Any]:
    return {"sizes": list(base.sizes), "values": {name: base.values(name).tolist() for name in QUANTITIES}}


def _plain(values: Any) -> Any:
    """NaN as null."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values


def made(card: RunInfo, k: int, grid: str, by: str = "edges") -> None:
    """How the run was made, and what measures its circuits again."""
    provenance.block(card)
    st.markdown("**Measure its circuits again**")
    left, right = st.columns(2, gap="large")
    with left:
        code(python_snippet(card, k, grid, by), language="python")
    with right:
        code(shell_snippet(card, k, grid, by), language="bash", wrap_lines=True)


def python_snippet(card: RunInfo, k: int, grid: str, by: str = "edges") -> str:
    """Python that evaluates the run's circuits."""
    sizes = sizes_of(grid)(card.graph.n_edges)
    asked = 'grid="mib"' if grid == "mib" else f"sizes={tuple(sizes)}"
    by_nodes = f'by_nodes = Question(by="nodes"{", grid=" + repr("mib") if grid == "mib" else ""})\n'
    nodes = by_nodes + 'for size in evaluate_run(run, by_nodes, save=False)["curve"]:\n'
    nodes += '    print(size["nodes_selected"], size["edges_selected"], size["faithfulness"])\n\n'
    areas = (("CPR", "cpr"), ("CMD", "cmd")) if grid == "mib" else (("area", "area"), ("to 1", "area_to_one"))
    printed = ", ".join(f'"{label}", answer["{key}"]["value"]' for label, key in areas)
    return (
        "from eapgp.runs.evaluate import Question, evaluate_run\n"
        "from eapgp.runs.run import open_run\n\n"
        f"run = open_run({snippets.place(card.run.path)!r})\n"
        f"answer = evaluate_run(run, Question({asked}, baseline={SEEDS}), save=False)\n"
        'for size in answer["curve"]:\n'
        '    print(size["edges_selected"], size["faithfulness"], size["accuracy"], size["kl"])\n'
        f"print({printed})\n\n"
        f"{'' if by == 'edges' else nodes}"
        f"close = Question(sizes=({k},), completeness=True, minimality=True)\n"
        'print(evaluate_run(run, close, save=False)["completeness"])\n'
    )


def shell_snippet(card: RunInfo, k: int, grid: str, by: str = "edges") -> str:
    """The commands that evaluate the run's circuits."""
    run, sizes = snippets.place(card.run.path), sizes_of(grid)(card.graph.n_edges)
    asked: dict[str, Any] = {"grid": "mib"} if grid == "mib" else {"edges": sizes}
    first = snippets.shell_line("eapgp", "evaluate", run=run, **asked, baseline=SEEDS, json=True)
    second = snippets.shell_line("eapgp", "evaluate", run=run, edges=k, completeness=True, minimality=True, json=True)
    lines = [first, second]
    if by != "edges":
        mib = {"grid": "mib"} if grid == "mib" else {}
        lines.insert(1, snippets.shell_line("eapgp", "evaluate", run=run, by="nodes", **mib, json=True))
    return "\n".join(lines)
