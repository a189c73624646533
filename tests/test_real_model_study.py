"""The study's command: it goes on from the records that are kept, and tells of a part once all of it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_made import one_thread

from eapgp.study.worker import Worker
from tools.real_model import __main__ as command
from tools.real_model import beside, protocol, rounding
from tools.real_model.outcome import AREA, HEADLINE_CELL, Outcome
from tools.real_model.records import read, write
from tools.results.study import shared_models

one_thread()
SMALL = {"tasks": ["ioi", "sva"], "seeds": [1, 2], "methods": [protocol.EAP, protocol.EAP_IG]}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A study of eight cells on `demo`; which cells were computed."""
    monkeypatch.setattr(protocol, "PAIRS", 3)
    monkeypatch.setitem(protocol._PARTS, "tuning", SMALL)
    titles: list[str] = []
    compute = Worker.compute

    def counted(self: Worker, cell: Any, progress: Any = None) -> Any:
        titles.append(cell.title)
        return compute(self, cell, progress)

    monkeypatch.setattr(Worker, "compute", counted)
    return titles


def run(home: Path, kept: Path, out: Path) -> str:
    line = ["--model", "demo", "--bos", "own", "--parts", "tuning", "--threads", "1"]
    assert command.main([*line, "--home", str(home), "--kept", str(kept), "--out", str(out)]) == 0
    return out.read_text()


def test_it_goes_on_elsewhere_and_tells_of_a_part_that_is_whole(computed: list[str], tmp_path: Path) -> None:
    kept, out = tmp_path / "kept.jsonl.gz", tmp_path / "out.md"
    text = run(tmp_path / "first", kept, out)
    records = read(kept)
    assert len(computed) == len(records) == 8 and [one["part"] for one in records] == ["tuning"] * 8
    assert "**area**" in text and "0 of 468 cells are computed" in text
    seeds = [title.rpartition("seed ")[2] for title in computed]
    assert seeds == sorted(seeds), "seed after seed, so that an interrupted study has the same seeds of every task"

    computed.clear()
    write(kept, records[:5])
    assert "5 of 8 cells are computed" in _tables(kept, out) and "**area**" not in out.read_text()
    again = run(tmp_path / "another machine", kept, out)
    assert len(computed) == 3 and again == text, "records of two machines give the same tables"


def _tables(kept: Path, out: Path) -> str:
    line = ["--model", "demo", "--bos", "own", "--tables", "--kept", str(kept), "--out", str(out)]
    assert command.main(line) == 0
    return out.read_text()


def test_quantities_are_those_of_the_protocol(computed: list[str], tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl.gz"
    run(tmp_path / "home", kept, tmp_path / "out.md")
    outcome = Outcome(read(kept), "tuning")
    area, headline = [], []
    for record in read(kept):
        if record["asked"]["label"] == "eap" and record["asked"]["spec"]["task"] == "ioi":
            grid, cells = (record["evaluations"][name]["curve"] for name in ("grid", "cells"))
            shares = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
            inside = [one["faithfulness"] for one, share in zip(grid, shares, strict=True) if 0.002 <= share <= 0.2]
            area.append(np.mean(np.clip(inside, 0, 1)))
            headline.append(cells[-1]["faithfulness"])
    assert outcome.mean("eap", AREA, ["ioi"]).value == pytest.approx(np.mean(area), abs=1e-4)
    assert outcome.mean("eap", HEADLINE_CELL, ["ioi"]).value == pytest.approx(np.mean(headline), abs=1e-4)
    same = outcome.difference("eap", "eap", AREA)
    assert (same.value, same.low, same.high, same.verdict) == (0, 0, 0, "tie")


def test_rounding_is_measured_by_scoring_in_smaller_batches(
    computed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "BATCH", 1)
    monkeypatch.setitem(protocol._PARTS, "tasks", SMALL | {"seeds": [protocol.SEEDS[0]]})
    kept = tmp_path / "kept.jsonl.gz"
    line = ["--model", "demo", "--bos", "own", "--parts", rounding.ROUNDING, "--threads", "1"]
    assert command.main([*line, "--home", str(tmp_path), "--kept", str(kept), "--out", str(tmp_path / "out.md")]) == 0
    made = read(kept)
    assert {(one["task"], one["label"]) for one in made} == {(a, b) for a in ("ioi", "sva") for b in ("eap", "eap-ig")}
    # EAP's gradient nearly vanishes on some pairs, so that rounding is a larger share of it: 4e-5 on one machine
    assert 0 < max(one["apart"] for one in made) < 5e-4, "rounding, no other scores"
    assert max(one["apart"] for one in made if one["label"] == "eap-ig") < 1e-5
    for one in made:
        assert one["faithfulness"][0] == pytest.approx(one["faithfulness"][1], abs=1e-3), one
    some = [{**made[0], "apart": x, "faithfulness": [0.5, y]} for x, y in ((1e-3, 0.51), (2e-4, 0.47))]
    assert "| 1.0e-03 | 0.0300 |" in rounding.told(some) and not rounding.told([])


@pytest.mark.skipif(shared_models() is None, reason="the story model is not here")
def test_the_story_models_pairs_are_judged_by_the_other_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "METHODS", (protocol.EAP, protocol.EAP_IG))
    monkeypatch.setattr(beside, "HALVINGS", (1,))
    kept = tmp_path / "kept.jsonl.gz"
    line = ["--parts", beside.STORY, "--threads", "1", "--home", str(tmp_path / "home")]
    for _ in range(2):
        assert command.main([*line, "--kept", str(kept), "--out", str(tmp_path / "out.md")]) == 0
    made = read(kept)
    assert [one["part"] for one in made] == [beside.STORY] * 4, "asked again, it takes the place of what was kept"
    assert {len(one["evaluations"]["grid"]["pairs"]["metric_clean"]) for one in made} == {32}
    sets = {(one["asked"]["spec"]["seed"], one["evaluations"]["cells"]["prompts"]) for one in made}
    assert len(sets) == 2 and "prompts" not in made[0]["asked"]["spec"]
    curve = Outcome(made, beside.STORY).cells(beside.STORY_TASK, "eap-ig")
    assert curve.seeds == (1, 2) and curve.values[:, 0].min() > 0.5, "circuits keep what the model does"

    pairs = beside.read_prompts(shared_models() / "stories260K-gender.csv")  # type: ignore[operator]
    (first, second), (third, fourth) = beside._halves(pairs)
    assert (first, second) == (fourth, third) and not set(first.pairs) & set(second.pairs)
    assert set(first.pairs) | set(second.pairs) == set(pairs.pairs)
