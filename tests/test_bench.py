"""The benchmark measures what it says: literal ways agree with the engine, peaks and ratios are real."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_made import hooks_left, one_thread, random_pairs, relative_error, tiny_folder, tiny_model

from eapgp.attribution.api import attribute
from eapgp.bench import literal, measure
from eapgp.bench import real as measured_real
from eapgp.bench.report import ROWS, render, write_report
from eapgp.bench.setting import Setting
from eapgp.bench.suite import SECTIONS, run_bench
from eapgp.engine.passes import capture
from eapgp.errors import FormatError
from eapgp.models.packaged import is_here

one_thread()


@pytest.mark.parametrize("entrywise", [False, True])
def test_the_literal_way_gives_the_same_scores(entrywise: bool) -> None:
    """It is slower, not another method; and it leaves the model as it was."""
    model, encoded = tiny_model("gpt2", "float32"), random_pairs(3, seed=4)
    setting = Setting(model, encoded)

    def run() -> torch.Tensor:
        return literal.eap_ig(model, setting.batch.clean.ids, setting.batch.corrupted.ids, setting.metric, 3)

    if entrywise:
        with literal.entrywise_results(model):
            assert all("_compute_per_head_result" in vars(layer.attn) for layer in model.layers)
            found = run()
    else:
        found = run()
    expected = attribute(model, encoded, method="eap-ig", steps=3).scores.values * encoded.n
    assert relative_error(found, expected) < 1e-4
    assert hooks_left(model) == []
    assert not any("_compute_per_head_result" in vars(layer.attn) for layer in model.layers)


def test_peak_counts_what_is_alive_at_once() -> None:
    """Two blocks after one another count once, two at the same time twice."""
    size = 4 * 2**20

    def one_after_the_other() -> None:
        for _ in range(2):
            torch.zeros(size // 4)

    def together() -> None:
        kept = [torch.zeros(size // 4) for _ in range(2)]
        assert len(kept) == 2

    found = measure.measure({"one": one_after_the_other, "two": together}, repeats=2)
    assert found["one"].peak_mb == pytest.approx(4, abs=0.1)
    assert found["two"].peak_mb == pytest.approx(8, abs=0.1)
    assert len(found["one"].seconds) == 2


def test_resident_memory() -> None:
    with measure.PeakMemory() as peak:
        block = np.ones(40 * 2**20, dtype=np.uint8)
        del block
    assert 35 < peak.mb < 60


def test_repeats_run_in_turn() -> None:
    order: list[str] = []
    found = measure.measure({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)  # type: ignore[misc]
    assert order == ["a", "b", "a", "b", "a", "b"]
    once = measure.measure({"slow": lambda: time.sleep(0.02)}, repeats=0)
    assert once["slow"].best >= 0.02
    assert found["a"].median <= 0.02


def test_exponent() -> None:
    assert measure.exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert measure.exponent([1, 2, 4], [1, 4, 16]) == pytest.approx(2)
    assert np.isnan(measure.exponent([1, 2], [0, 1]))


def test_a_small_run_and_its_page(tmp_path: Path) -> None:
    """Every figure that issue and page name is there; a later run replaces its sections and keeps the others."""
    figures = run_bench(
        sections=("methods", "literal", "circuits", "exact", "activations"),
        shape="demo",
        pairs=2,
        length=6,
        repeats=1,
    )
    for name in ("eap_ig_over_passes", "eap_gp_over_eap_ig", "literal_over_eap_ig", "peak_mb", "curve_over_forwards"):
        assert figures[name] > 0
    named = {key for section, rows in ROWS.items() if section in figures["sections"] for key, *_ in rows}
    assert named <= set(figures)
    page = tmp_path / "docs" / "benchmarks.md"
    store = write_report(figures, page)
    text = page.read_text()
    assert "| eap-gp over eap-ig at equal k |" in text and "No CUDA device was at hand" in text
    later = {"sections": {"exact": {**figures["sections"]["exact"], "figures": {"exact_forwards_per_edge": 0.9}}}}
    write_report(later, page)
    kept = json.loads(store.read_text())["sections"]
    assert set(kept) == {"methods", "literal", "circuits", "exact", "activations"}
    assert "| exact patching, forward passes per edge | 0.90 | ≤ 0.6 (**not reached**) |" in page.read_text()
    store.write_text("[]")
    with pytest.raises(FormatError, match="not a benchmark's figures"):
        write_report(later, page)


def test_the_page_shows_growth_and_xl() -> None:
    record = {
        "machine": {**measure.machine(), "load_before": 0.5},
        "shape": "gpt2",
        "pairs": 8,
        "tokens": 17,
        "steps": 5,
        "repeats": 1,
        "device": "cuda",
    }
    axis = {"sizes": [1, 2], "seconds": [0.1, 0.2], "peak_mb": [10.0, 20.0], "exponent": 1.0, "memory_exponent": 1.1}
    xl = dict.fromkeys(("seconds", "weights_mb", "loading_peak_mb", "growth_mb", "peak_mb", "swapped_mb"), 2048.0)
    text = render(
        {
            "growth": {**record, "figures": {"growth": {"pairs": axis}}},
            "xl": {**record, "figures": {"xl_edges": 2235025, **{f"xl_{key}": value for key, value in xl.items()}}},
        }
    )
    assert "| pairs | 1: 0.10 s, 10 MB, 2: 0.20 s, 20 MB | 1.00 | 1.10 |" in text
    assert "2,235,025 edges" in text and "Swapped meanwhile: 2048 MB" in text
    assert "Not measured" not in text
    assert set(SECTIONS) >= {"growth", "xl", *ROWS}


def test_bare_passes_are_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """They give the engine's logits at the answers, and every figure of the section is there."""
    from transformers import AutoModelForCausalLM

    folder = tiny_folder("llama")
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    model = tiny_model("llama", "float32")
    setting = Setting(model, random_pairs(3, seed=4))
    with torch.no_grad():
        _, hidden, logits = measured_real.Bare(network, setting).forward(setting.batch.clean)
        entering = network.get_input_embeddings()(setting.batch.clean.ids)
        onward = measured_real.Bare(network, setting).onward(entering, 0, setting.batch.clean)
    assert relative_error(logits, capture(model, setting.batch.clean).logits.detach()) < 1e-5
    assert relative_error(onward, logits) < 1e-5
    assert hidden.shape[:2] == setting.batch.clean.ids.shape
    monkeypatch.setattr(measured_real, "is_here", lambda name: False)
    monkeypatch.setattr(measured_real, "load_model", lambda name, **_: model)
    monkeypatch.setattr(measured_real, "configuration", lambda name: network.config)
    monkeypatch.setattr(measured_real, "EDITED_EDGES", 5)
    figures = measured_real.real("cpu", 1, lambda phase: None)
    assert {key for key, *_ in ROWS["real"]} <= set(figures)
    assert all(figures[key] > 0 for key, *_ in ROWS["real"]) and figures["real_trained"] is False


@pytest.mark.skipif(not is_here("smollm2-135m"), reason="smollm2-135m was not fetched: eapgp models get smollm2-135m")
def test_starting_holds_a_whole_process_against_transformers_alone() -> None:
    figures = measured_real.starting("cpu", 1, lambda phase: None)
    assert figures["start_over_bare"] == pytest.approx(figures["start_seconds"] / figures["start_bare_seconds"])
    assert figures["start_bare_seconds"] > 1, "the model was really loaded"


def test_starting_measures_nothing_without_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_real, "is_here", lambda name: False)
    assert measured_real.starting("cpu", 1, lambda phase: None) == {}
