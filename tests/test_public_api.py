"""The public interface: quick to import, complete, and what notebooks show of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eapgp
from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.graph import Graph

ROOT = Path(__file__).resolve().parent.parent


def test_every_public_name_exists_and_is_the_one_of_its_module() -> None:
    for name in eapgp.__all__:
        assert getattr(eapgp, name) is not None
    from eapgp.circuits import select
    from eapgp.metrics import METRICS

    assert eapgp.select is select and eapgp.METRICS is METRICS
    assert dir(eapgp) == sorted(set(eapgp.__all__) - {"__version__"})
    with pytest.raises(AttributeError, match="atribute"):
        _ = eapgp.atribute  # type: ignore[attr-defined]


def test_importing_eapgp_brings_in_no_heavy_library() -> None:
    code = (
        "import sys, eapgp\n"
        "heavy = [m for m in ('torch', 'transformer_lens', 'numpy', 'plotly', 'pandas') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
        "from eapgp import select, METHODS, TASKS, Graph, Circuit, make_prompts, RunLibrary, agreement\n"
        "assert 'torch' not in sys.modules and 'transformer_lens' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def made_scores() -> EdgeScores:
    graph = Graph(2, 2)
    values = np.random.default_rng(0).standard_normal((graph.n_sources, graph.n_destinations)) * graph.mask
    return EdgeScores(graph, values, {"method": "eap", "task": "<script>alert(1)</script>", "model": "demo"})


def test_notebooks_show_scores_escaped() -> None:
    scores = made_scores()
    text = scores._repr_html_()
    name, value = scores.top(1)[0]
    assert name.replace("->", "-&gt;").replace("<", "&lt;").split("&lt;")[0] in text and f"{value:+.4g}" in text
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.count("<tr>") == 10 + 1


def test_notebooks_show_circuits_and_results() -> None:
    scores = made_scores()
    circuit = Circuit(scores.graph, scores.graph.mask.copy(), scores.graph.n_edges, "<b>all")
    text = circuit._repr_html_()
    more = scores.graph.n_edges - 10
    assert f"{scores.graph.n_edges} of {scores.graph.n_edges} edges (100.00%)" in text and f"and {more} more" in text
    assert "<b>" not in text
    result = Attribution(
        "eap", {"k": "<i>"}, scores, np.array([2.0, 4.0]), np.array([0.0, 1.0]), 1, 1, 0.5, messages=("<u>said",)
    )
    text = result._repr_html_()
    assert "3, 0.5" in text and "1 forward, 1 backward" in text
    assert "<i>" not in text and "<u>" not in text and "&lt;u&gt;said" in text


def test_the_circuit_view_is_shown_in_a_sandbox() -> None:
    text = eapgp.show(made_scores(), title='"><script>', n=5)._repr_html_()
    assert text.startswith('<iframe sandbox="allow-scripts allow-downloads" title="&quot;&gt;&lt;script&gt;"')
    assert text.count("<") == 2 and "default-src &#x27;none&#x27;" in text


def test_curves_make_one_figure_and_those_of_other_graphs_none() -> None:
    from types import SimpleNamespace
    from typing import Any

    from eapgp.errors import OptionError

    def curve(name: str, n_edges: int) -> Any:
        ones = np.array([0.2, 0.9])
        band = SimpleNamespace(value=ones, low=ones - 0.1, high=ones + 0.1)
        sizes = np.array([5, 20])
        return SimpleNamespace(name=name, n_edges=n_edges, selected=sizes, kept=sizes, nodes=(), faithfulness=band)

    figure = eapgp.faithfulness_figure(curve("eap", 46), curve("", 46))
    named = {trace.name for trace in figure.data if trace.mode == "lines+markers"}
    assert named == {"eap", "curve 2"}
    with pytest.raises(OptionError, match="got none"):
        eapgp.faithfulness_figure()
    with pytest.raises(OptionError, match="graphs of 46, 479 edges"):
        eapgp.faithfulness_figure(curve("a", 46), curve("b", 479))


def test_a_value_of_another_kind_is_told_in_one_line(tmp_path: Path) -> None:
    from tests.engine_made import random_pairs, tiny_model

    model, pairs, scores = tiny_model("gpt2"), random_pairs(1), made_scores()
    runner = eapgp.CircuitRunner(model, pairs)
    wrong = {
        "model: expected Model, got str": lambda: eapgp.attribute("demo", pairs),  # type: ignore[arg-type]
        "prompts: expected PromptSet or EncodedPairs, got list": lambda: eapgp.attribute(model, ["a"]),  # type: ignore[arg-type]
        "got 'all'": lambda: eapgp.attribute(model, pairs, batch_size="all"),  # type: ignore[arg-type]
        "model: expected str or Path, got NoneType": lambda: eapgp.load_model(None),  # type: ignore[arg-type]
        "scores: expected EdgeScores, got ndarray; an attribution's are its .scores": lambda: eapgp.select(
            scores.values,  # type: ignore[arg-type]
            n=1,
        ),
        "scores: expected EdgeScores, got str": lambda: eapgp.agreement(scores, "b.json"),  # type: ignore[arg-type]
        "scores: expected EdgeScores, got dict": lambda: eapgp.write_scores({}, tmp_path / "a.csv"),  # type: ignore[arg-type]
        "scores: expected EdgeScores, got int": lambda: eapgp.show(3),  # type: ignore[arg-type]
        "scores: expected EdgeScores, got None": lambda: eapgp.faithfulness_curve(runner, None),  # type: ignore[arg-type]
        "circuits: expected Sequence, got Circuit": lambda: runner.run(eapgp.select(scores, n=1)),  # type: ignore[arg-type]
        "circuit: expected Circuit, got EdgeScores": lambda: runner.faithfulness(scores),  # type: ignore[arg-type]
    }
    for text, call in wrong.items():
        with pytest.raises(eapgp.EapgpError) as told:
            call()
        assert text in str(told.value) and "\n" not in str(told.value)


def test_a_model_folder_may_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(eapgp.EapgpError, match=r"holds no config\.json"):
        eapgp.load_model(tmp_path)
