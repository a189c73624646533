"""The paper's protocol: what is asked, how verdicts fall, and that nothing is made up where nothing ran."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.cli import main
from eapgp.errors import ModelError
from eapgp.runs import RunLibrary
from eapgp.study.published import PUBLISHED, SIZES, XL_SIZES, published, widest_spread
from eapgp.study.reproduce import GRID, grid, protocol, run_protocol, write_reproduction
from eapgp.study.reproduce_rows import (
    HIGHER,
    LOWER,
    METHODS,
    NOT_RUN,
    REPRODUCED,
    TASKS,
    TOLERANCE,
    UNPUBLISHED,
    Asked,
    name_of,
    verdict,
)
from eapgp.study.worker import Worker

FILES = {"country-capital": "fact-retrieval-comma", "hypernymy": "hypernymy-comma"}


def published_file(folder: Path, kind: str, task: str) -> dict[str, list[float]]:
    rows = (folder / "data" / "published" / kind / f"{FILES.get(task, task)}.csv").read_text().splitlines()
    names, *values = [line.split(",") for line in rows]
    return {name: [float(row[i]) for row in values] for i, name in enumerate(names)}


def test_the_published_numbers_are_those_of_the_result_tables(shared: Path) -> None:
    """To the three decimals that are kept, for EAP and EAP-IG on every task."""
    checked = 0
    for task in TASKS:
        table = published_file(shared, "gpt2", task)
        gap = table["baseline"][0] - table["corrupted_baseline"][0]
        for method, column in (("eap", "loss_EAP"), ("eap-ig", "loss_EAP-IG")):
            for size in SIZES:
                at = table["edges"].index(float(size))
                value = (table[column][at] - table["corrupted_baseline"][0]) / gap
                fact = published("gpt2", task, method, size)
                assert fact is not None and abs(fact.value - value) <= 0.001, (task, method, size)
                checked += 1
    assert checked == 36


def test_both_tables_and_gpt2_xl_are_carried_as_published(shared: Path) -> None:
    """Against the files: the tables beside exact patching, and GPT-2 XL at all sizes."""
    checked = 0
    for task in TASKS:
        for folder, model, columns in (
            ("gpt2-exact", "gpt2", {"eap": "loss_EAP", "eap-ig": "loss_EAP-IG", "exact": "loss_real"}),
            ("gpt2-xl", "gpt2-xl", {"eap": "loss_EAP", "eap-ig": "loss_EAP-IG"}),
        ):
            table = published_file(shared, folder, task)
            gap = table["baseline"][0] - table["corrupted_baseline"][0]
            for method, column in columns.items():
                for size in SIZES if model == "gpt2" else XL_SIZES:
                    value = table[column][table["edges"].index(float(size))]
                    value = (value - table["corrupted_baseline"][0]) / gap
                    fact = published(model, task, method, size)
                    assert fact is not None
                    carried = fact.other if method != "exact" and model == "gpt2" else fact.value
                    assert carried is not None and abs(carried - value) <= 0.001, (folder, task, method, size)
                    checked += 1
    assert checked == 6 * (3 * 3 + 2 * 11)


def test_what_is_published_of_whom() -> None:
    assert published("demo", "ioi", "eap", 200) is None and published("gpt2-xl", "ioi", "eap", 200) is None
    headline = published("gpt2", "ioi", "eap-gp", 812)
    assert headline is not None and headline.second_hand and headline.value == 0.80 and headline.span == (0.80, 0.80)
    cell = published("gpt2", "ioi", "eap-ig", 200)
    assert cell is not None and cell.span == (0.147, 0.425)
    assert "eap up to 0.89 (sva, 800 edges), eap-ig up to 0.28 (ioi, 200 edges)" in widest_spread()
    names = {(cell.model, cell.task, cell.method, cell.edges) for cell in PUBLISHED}
    assert len(names) == len(PUBLISHED) == 56 + 132


def test_a_verdict_is_against_the_range_of_both_tables() -> None:
    assert verdict(0.2, 0.3, 0.425, 0.147) == REPRODUCED, "between them"
    assert verdict(0.5, 0.6, 0.425, 0.147) == HIGHER and verdict(0.01, 0.05, 0.425, 0.147) == LOWER
    assert verdict(0.5, 0.6, 0.425) == verdict(0.5, 0.6, 0.147, 0.425) == HIGHER


@pytest.mark.parametrize(
    ("low", "high", "known", "expected"),
    [
        (0.5, 0.7, 0.6, REPRODUCED),
        (0.5, 0.7, 0.7 + TOLERANCE, REPRODUCED),
        (0.5, 0.7, 0.8, LOWER),
        (0.5, 0.7, 0.4, HIGHER),
        (0.5, 0.7, None, UNPUBLISHED),
        (None, None, 0.6, NOT_RUN),
    ],
)
def test_verdicts(low: float | None, high: float | None, known: float | None, expected: str) -> None:
    assert verdict(low, high, known) == expected


def test_the_protocol_is_the_papers() -> None:
    study = protocol(Asked("gpt2", exact=True))
    assert {cell.spec.task for cell in study.cells} == set(TASKS)
    assert {name_of(cell.spec.to_dict()) for cell in study.cells} == set(METHODS)
    (gp, *others) = [cell for cell in study.cells if (cell.spec.task, cell.spec.method) == ("ioi", "eap-gp")]
    usual = {"steps": 5, "step": "unit", "objective": "all"}
    assert dict(gp.spec.options) == usual
    readings = [{"norm": "batch"}, {"points": "0..k-1"}, {"objective": "last"}, {"step": "relative"}]
    assert [dict(cell.spec.options) for cell in others] == [usual | reading for reading in readings]
    assert name_of({"method": "eap-gp", "options": {"steps": 7}}) == "eap-gp"
    (evaluation,) = gp.evaluations
    assert evaluation.question.rule == "greedy" and evaluation.question.sizes == GRID and evaluation.manual
    assert "exact" not in {cell.spec.method for cell in protocol(Asked("gpt2")).cells}
    assert "exact" in {cell.spec.method for cell in protocol(Asked("demo")).cells}
    assert {cell.spec.task for cell in protocol(Asked("demo", limit=2)).cells} == set(TASKS[:2])


def test_another_graph_is_run_at_the_same_shares() -> None:
    assert grid(32_491) == list(GRID)
    sizes = grid(479)
    assert {round(size * 479 / 32_491) for size in (200, 800, 812, 1000)} <= set(sizes) and sizes[-1] == 479


def test_without_weights_every_cell_says_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(name: str, **how: Any) -> Any:
        raise ModelError("model 'gpt2': no weights here.")

    library = RunLibrary(tmp_path)
    result = run_protocol(Asked("gpt2"), library, worker=Worker(library, model_loader=absent))
    assert {row.verdict for row in result.rows} == {NOT_RUN} and all(row.value is None for row in result.rows)
    assert result.verdicts()[NOT_RUN] == len(result.rows) == 6 * 8 * len(GRID)
    assert "no weights here" in result.remarks[0]
    assert sum(row.published is not None for row in result.rows) == 56 + 4, "each reading of the one cell of EAP-GP"
    assert len(result.figures()) == 6, "the published points are drawn all the same"
    assert not (tmp_path / "runs").exists()
    text = write_reproduction(result, tmp_path / "out")[0].read_text()
    assert "| ioi | eap-ig | 200 | 0.62% | – | – | – | 0.425 or 0.147 | not run |" in text


def test_the_demo_model_runs_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    line = ["reproduce", "--limit", "1", "--pairs", "4", "--no-exact", "--out", str(tmp_path / "out"), "--json"]
    assert main([*line, "--quiet"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert {row["task"] for row in reply["rows"]} == {"ioi"}
    ran = [row for row in reply["rows"] if row["method"] != "exact"]
    assert {row["verdict"] for row in ran} == {UNPUBLISHED} and len({row["method"] for row in ran}) == 7
    assert all(row["verdict"] == NOT_RUN and row["value"] is None for row in reply["rows"] if row["method"] == "exact")
    full = [row["value"] for row in ran if row["edges"] == 479]
    assert np.allclose(full, 1, atol=1e-5) and len(full) == 7
    assert "Nothing is published for the model 'demo'" in reply["remarks"][0]
    page = Path(reply["page"]).read_text()
    body = page[page.index("</script>") :]
    assert "default-src 'none'" in page and not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=", body)
    assert "no published number" in Path(reply["report"]).read_text()
    again = main([*line, "--quiet"])
    assert again == 0 and json.loads(capsys.readouterr().out)["rows"] == reply["rows"]


def test_precision_and_recall_are_measured_against_the_manual_circuits(tmp_path: Path) -> None:
    """A scored graph of GPT-2 small's shape; the manual circuit's own edges score highest."""
    from types import SimpleNamespace

    from eapgp.attribution.result import EdgeScores
    from eapgp.ground_truth import ground_truth
    from eapgp.study.worker import manual_overlap

    truth = ground_truth("ioi")
    scores = EdgeScores(truth.graph, np.where(truth.circuit.edges, 1.0, 0.0) + 1e-6 * truth.graph.mask)
    run: Any = SimpleNamespace(scores=lambda: scores, request={"task": "ioi"})
    found = manual_overlap(run, [truth.circuit.n_kept, truth.graph.n_edges])
    assert set(found) == {"hanna2024", "acdc_core", "acdc_full"}
    first = found["hanna2024"][0]["edges"]
    assert first["precision"] > 0.99 and first["recall"] > 0.95
    whole = found["hanna2024"][1]["edges"]
    assert whole["recall"] == 1 and whole["precision"] == truth.circuit.n_kept / truth.graph.n_edges


def test_a_folder_of_gpt2s_shape_is_compared_only_if_it_behaves_like_gpt2(tmp_path: Path) -> None:
    """Random weights give M(clean) − M(corrupted) of about 0; GPT-2 small's own baselines pass."""
    from types import SimpleNamespace

    from eapgp.study.published import BASELINES, behaves_like_gpt2_small, is_gpt2_small, nearest_share
    from eapgp.study.reproduce import compare

    folder = tmp_path / "weights"
    folder.mkdir()
    config = {"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50_257}
    (folder / "config.json").write_text(json.dumps(config))
    assert is_gpt2_small(str(folder)) and not is_gpt2_small(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"n_layer": 6}))
    assert not is_gpt2_small(str(tmp_path))
    assert behaves_like_gpt2_small({task: clean - low for task, (clean, low) in BASELINES.items()}) == ""
    assert "on ioi" in behaves_like_gpt2_small({"ioi": 1e-3}) and "on sva" in behaves_like_gpt2_small({"sva": np.nan})

    def record(clean: float) -> Any:
        entry = {"edges_selected": 812, "edges_kept": 700, "faithfulness": 0.8}
        entry |= {"faithfulness_low": 0.78, "faithfulness_high": 0.82}
        model = {"weights_hash": "w", "dtype": "float32"}
        return {
            "status": "done",
            "run": "r",
            "seconds": 1.0,
            "device": "cpu",
            "libraries": {},
            "n_edges": 32_491,
            "metric_clean": clean,
            "metric_corrupted": 0.0,
            "asked": {"spec": {"task": "ioi", "method": "eap-gp"}},
            "request": {"model": model, "prompts": {"n_pairs": 100}, "seed": 0},
            "evaluations": {"faithfulness": {"curve": [entry], "remark": ""}},
        }

    def outcome(clean: float) -> Any:
        sweep: Any = SimpleNamespace(records=[record(clean)], failed=[])
        result = compare(Asked(str(folder), limit=1), sweep)
        (row,) = [row for row in result.rows if row.value is not None]
        return result, row

    result, row = outcome(3.5)
    assert row.verdict == REPRODUCED and row.published == 0.80 and "taken on trust" in result.remarks[0]
    result, row = outcome(0.01)
    assert row.verdict == UNPUBLISHED and row.published is None and row.gpt2_small == 0.80
    assert "other weights" in result.remarks[0] and not result.is_published
    demo = nearest_share("ioi", "eap-ig", 12, 479)
    assert demo is not None and demo.edges == 812, "of 800 and 812 the nearer share"
