"""Figures for print: one picture as SVG, PDF and PNG, its text as text, and the data that it was made of."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

import eapgp
from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select
from eapgp.errors import OptionError
from eapgp.figures.curves import faithfulness_curves
from eapgp.figures.heatmap import score_heatmap
from eapgp.figures.inputs import CurveLine
from eapgp.figures.print import figure_bytes, file_stem, save_figure
from eapgp.figures.print_chart import chart_figure
from eapgp.figures.print_circuit import circuit_figure, curve_of, layout_of, width_of
from eapgp.figures.scores import score_by_layer, scores_distribution
from eapgp.graph import Graph

SVG = "{http://www.w3.org/2000/svg}"


def made_scores(layers: int = 3, heads: int = 2, seed: int = 0) -> EdgeScores:
    graph = Graph(layers, heads)
    values = np.random.default_rng(seed).standard_normal((graph.n_sources, graph.n_destinations))
    values[:, graph.destination_index("logits")] *= 9
    return EdgeScores(graph, np.where(graph.mask, values, np.nan), {"method": "eap"})


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def strokes(svg: bytes) -> dict[str, int]:
    """How many curves an SVG draws in each colour."""
    counts: dict[str, int] = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if not (group.get("id") or "").startswith("PathCollection"):
            continue
        for element in group.iter():
            colour = re.search(r"stroke: (#\w+)", element.get("style") or "")
            if colour and element.tag in (f"{SVG}path", f"{SVG}use"):
                counts[colour[1]] = counts.get(colour[1], 0) + 1
    return counts


def pdf_content(pdf: bytes) -> bytes:
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    out = []
    for stream in streams:
        try:
            out.append(zlib.decompress(stream))
        except zlib.error:
            out.append(stream)
    return b"\n".join(out)


def pdf_text(pdf: bytes) -> str:
    """The text of a PDF as a reader that selects it gets it: codes of two bytes, by character."""
    codes = re.findall(rb"\((.*?)(?<!\\)\)", pdf_content(pdf), re.DOTALL)
    return b"".join(code for code in codes if len(code) % 2 == 0).decode("utf-16-be", errors="replace")


def test_a_circuit_is_drawn_edge_by_edge_and_node_by_node() -> None:
    scores = made_scores()
    circuit = select(scores, n=40)
    svg = figure_bytes(circuit_figure(scores, circuit, title="A & <b>", caption="kept"), "svg")
    values = scores.values[circuit.edges]
    assert strokes(svg) == {"#0072b2": int((values > 0).sum()), "#d55e00": int((values < 0).sum())}
    written = texts(svg)
    assert set(circuit.node_names()) <= set(written) and "A & <b>" in written and "kept" in written
    unused = set(scores.graph.nodes) - set(circuit.node_names()) - {"input", "logits"}
    assert not unused & set(written)


def test_edges_end_at_their_boxes_and_widths_follow_the_root() -> None:
    scores = made_scores()
    circuit = select(scores, n=60)
    graph, layout = scores.graph, layout_of(circuit)
    for source, destination in zip(*np.nonzero(circuit.edges), strict=True):
        first, *_, last = curve_of(graph, layout, int(source), int(destination))
        start = layout.nodes[graph.sources[source]]
        end = layout.nodes[graph.nodes[graph.destination_nodes[destination]]]
        assert abs(first[0] - start.x) <= start.w / 2 and first[1] == start.y + start.h / 2
        assert abs(last[0] - end.x) <= end.w / 2 and end.y - end.h / 2 - 7 <= last[1] <= end.y - end.h / 2
        assert first[1] < last[1]
    assert width_of(4.0, 4.0) == 4.0 and width_of(0.0, 4.0) == 0.5 and width_of(-1.0, 4.0) == 0.5 + 3.5 / 2


def test_layers_without_a_node_are_folded_and_named() -> None:
    graph = Graph(9, 20)
    names = ["input->a1.h0<q>", "a1.h0->a7.h19<v>", "a7.h19->logits"]
    circuit = Circuit.of_names(graph, names)
    scores = EdgeScores(graph, np.where(graph.mask, 1.0, np.nan), {})
    layout = layout_of(circuit)
    assert list(layout.rows) == [1, 7] and [fold[:2] for fold in layout.folds] == [(0, 0), (2, 6), (8, 8)]
    assert {"a1.h0", "a1.h19", "a7.h0", "a7.h19"} <= set(layout.nodes) and "a1.h5" not in layout.nodes
    assert {"L0", "L2–L6", "L8"} <= set(texts(figure_bytes(circuit_figure(scores, circuit), "svg")))


def test_groups_stand_in_one_box_and_filters_leave_edges_out() -> None:
    scores = made_scores()
    circuit = select(scores, n=60)
    heads = [node for node in circuit.node_names() if node[0] == "a"][:3]
    svg = figure_bytes(circuit_figure(scores, circuit, groups={"Movers": heads}), "svg")
    inner = sum(
        name.split("->")[0] in heads and name.split("->")[1].split("<")[0] in heads for name in circuit.edge_names()
    )
    assert sum(strokes(svg).values()) == circuit.n_kept - inner
    assert "Movers" in texts(svg) and "3 nodes" in texts(svg) and not set(heads) & set(texts(svg))
    positive = figure_bytes(circuit_figure(scores, circuit, shown=np.nan_to_num(scores.values) > 0), "svg")
    assert set(strokes(positive)) == {"#0072b2"}


def test_the_three_files_are_one_picture(tmp_path: Path) -> None:
    scores = made_scores()
    circuit = select(scores, n=40)
    figure = circuit_figure(scores, circuit, title="Title", roles={"a0.h0": "Previous token"})
    svg, pdf, png = (save_figure(figure, tmp_path / f"c.{kind}").read_bytes() for kind in ("svg", "pdf", "png"))
    width, height = figure.get_size_inches()
    image = Image.open(io.BytesIO(png))
    assert image.size == (int(width * 300), int(height * 300)) and image.info["dpi"] == pytest.approx(
        (300, 300), abs=0.1
    )
    assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    content = pdf_content(pdf)
    assert b"/FontFile2" in pdf + content and b"/ToUnicode" in pdf + content and b"/Subtype /Image" not in pdf
    assert all(node in pdf_text(pdf) for node in circuit.node_names())
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    root = ElementTree.fromstring(svg)
    assert box is not None
    assert [float(value) for value in box.groups()] == pytest.approx([width * 72, height * 72], abs=0.01)
    assert float((root.get("width") or "").removesuffix("pt")) == pytest.approx(width * 72, abs=0.01)
    again = circuit_figure(scores, circuit, title="Title", roles={"a0.h0": "Previous token"})
    assert figure_bytes(again, "pdf") == pdf and figure_bytes(again, "svg") == svg


def faithfulness(dark: bool = False) -> go.Figure:
    sizes, values = [5, 20, 100, 479], np.array([0.2, 0.6, 0.9, 1.0])
    lines = [
        CurveLine(name, sizes, values + step, values + step - 0.1, values + step + 0.1)
        for step, name in ((0, "eap"), (0.05, "eap-gp"))
    ]
    return faithfulness_curves(lines, n_edges=479, current=50, dark=dark)


def test_a_chart_is_printed_with_its_own_data_and_words() -> None:
    chart = faithfulness()
    printed = chart_figure(chart)
    drawn = [line.get_xydata() for axes in printed.axes for line in axes.lines]
    for trace in chart.data:
        if "lines" in (trace.mode or "") and trace.fill is None:
            data = np.column_stack([np.asarray(trace.x, dtype=float), np.asarray(trace.y, dtype=float)])
            assert any(line.shape == data.shape and np.allclose(line, data) for line in drawn)
    written = texts(figure_bytes(chart, "svg"))
    for text in (
        "Faithfulness by circuit size",
        "edges selected (log)",
        "eap",
        "eap-gp",
        "full model",
        "50 edges shown",
    ):
        assert text in written
    assert [axes.get_xscale() for axes in printed.axes] == ["log", "log"]
    assert printed.axes[0].get_xlim() == printed.axes[1].get_xlim()


def test_a_note_beyond_the_range_is_left_out_as_in_the_browser() -> None:
    """A path that the panel is zoomed to: the note at the other path's end would squeeze the panel to nothing."""
    chart = go.Figure(go.Scatter(x=[0, 0.1, 1], y=[0, 0.1, 0]))
    chart.update_layout(width=600, height=400, xaxis_range=[-0.1, 0.2], yaxis_range=[-0.1, 0.2])
    plain = chart_figure(chart).axes[0].get_position().bounds
    for x, shown in ((0.1, True), (1.0, False)):
        chart.layout.annotations = ()
        chart.add_annotation(x=x, y=0, text="the end", showarrow=False)
        printed = chart_figure(chart)
        assert [note.get_text() for note in printed.axes[0].texts] == (["the end"] if shown else [])
        assert np.allclose(printed.axes[0].get_position().bounds, plain)


@pytest.mark.parametrize("make", [faithfulness, lambda dark=False: score_heatmap(made_scores(), dark=dark)])
def test_a_dark_page_prints_what_a_light_one_does(make: Any) -> None:
    assert figure_bytes(make(dark=True), "pdf") == figure_bytes(make(), "pdf")


def test_bars_are_stacked_as_in_the_browser() -> None:
    chart = score_by_layer(made_scores())
    printed = chart_figure(chart)
    names = list(dict.fromkeys(name for trace in chart.data for name in trace.x))
    for name in names:
        whole = sum(float(y) for trace in chart.data for x, y in zip(trace.x, trace.y, strict=True) if x == name)
        tops = [
            patch.get_y() + patch.get_height()
            for patch in printed.axes[0].patches
            if abs(patch.get_x() + patch.get_width() / 2 - names.index(name)) < 0.01
        ]
        assert max(tops) == pytest.approx(whole)
    assert figure_bytes(scores_distribution(made_scores()), "png")[:4] == b"\x89PNG"


def test_what_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"expected a file of \.svg, \.pdf, \.png, got 'tiff'"):
        save_figure(faithfulness(), tmp_path / "a.tiff")
    with pytest.raises(OptionError, match="got 'pie'"):
        save_figure(go.Figure(go.Pie(values=[1])), tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())
    scores = made_scores()
    with pytest.raises(OptionError, match="another graph"):
        eapgp.circuit_figure(scores, Circuit.empty(Graph(2, 2)))


def test_file_names_say_task_method_and_size() -> None:
    assert file_stem("ioi", "eap-gp", "47-edges") == "ioi-eap-gp-47-edges"
    assert file_stem("a/../b c", "", "<x>") == "a-..-b-c-x" and file_stem("//") == "figure"


@pytest.mark.parametrize("spec", [{"n_pairs": 8, "options": {"steps": 3}}, {"n_pairs": 6, "random_weights": True}])
def test_the_snippet_makes_the_circuit_its_faithfulness_and_its_figure(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eapgp.runs import RunLibrary, RunSpec, compute_run
    from eapgp.runs.compute import load_run_model
    from eapgp.ui.parts.snippets import circuit_python

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run = compute_run(RunSpec(**spec), library=RunLibrary(tmp_path / "elsewhere"))
    circuit = select(run.scores(), n=50)
    expected = eapgp.CircuitRunner(load_run_model(run), run.prompts()).faithfulness(circuit)
    for edited in (False, True):
        lines = circuit_python(run.spec or RunSpec(), circuit, "it's a title", "ioi-eap-gp", edited=edited)
        names: dict[str, Any] = {}
        exec(lines, names)
        assert (names["circuit"].edges == circuit.edges).all()
        assert np.array_equal(names["result"].scores.values, run.scores().values, equal_nan=True)
        assert capsys.readouterr().out.split() == [str(circuit.n_kept), *str(expected).split()]
    assert (tmp_path / "ioi-eap-gp.pdf").read_bytes().startswith(b"%PDF")
