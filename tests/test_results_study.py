"""The results study runs end to end, and its arithmetic is what it says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from engine_made import one_thread

from eapgp.attribution.api import attribute
from eapgp.attribution.usual import COMPARED, Variant
from eapgp.evaluation.curves import mib_curve
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import MIB_FRACTIONS, Resampling, cpr_cmd
from eapgp.models import load_model
from eapgp.tasks import TASKS, make_prompts
from tools.results.__main__ import main
from tools.results.measure import (
    AREA_FRACTIONS,
    Estimate,
    clipped_area,
    mean_of,
    measure_task,
    over_cells,
    over_seeds,
)
from tools.results.study import (
    COMPARISONS,
    HELD_OUT_SEEDS,
    HELD_OUT_TASKS,
    JUDGED,
    TUNED,
    TUNING_SEEDS,
    TUNING_TASKS,
    Results,
    Settings,
    measure,
    shared_models,
)
from tools.results.text import report
from tools.results.verdicts import PROTOCOL, differences
from tools.results.words import flips, number, verdict

one_thread()

ROOT = Path(__file__).resolve().parent.parent
ROUNDING = 1e-6  # of faithfulness, a few units of float32 in logits of about 5: two runs of one circuit may differ so


@pytest.fixture(scope="module")
def results() -> Results:
    """Every part that needs no other files, on 8 pairs of one task."""
    return measure(
        Settings(
            parts=("planted", "table", "tuning", "held-out"),
            tasks=("ioi",),
            seeds=(0, 1),
            pairs=8,
            cell_pairs=8,
            resamples=40,
            tuning_tasks=("ioi",),
            tuning_seeds=(0,),
            tuned=TUNED[:2],
            held_out_tasks=("ioi",),
            held_out_seeds=(0, 1),
        )
    )


@pytest.fixture(scope="module")
def page(results: Results) -> str:
    return report(results)


def test_the_page_holds_every_part(page: str, results: Results) -> None:
    for heading in (
        "## How it was made",
        "## 1. A circuit that is known exactly",
        "## 2. The bundled model, all tasks",
        "### What the numbers say",
        "### Spearman's correlation with exact patching",
        "## 3. Does mask-ig's small advantage hold?",
        "### Tuning half",
        "### Held-out half",
        "### Outcome",
    ):
        assert heading in page
    assert results.weights_hash in page and "--pairs 8" in page and "thread used" in page
    assert "nan" not in page.lower().replace("finance", "")
    assert not re.search(r"/(work|tmp|home|root)\b", page), "the page names no folder of this machine"


def test_every_table_is_rectangular(page: str) -> None:
    rows = page.splitlines()
    for above, below in itertools.pairwise(rows):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|"), (above, below)


def test_the_full_graph_is_faithful_and_exact_agrees_with_itself(results: Results) -> None:
    task = results.tasks[0]
    assert set(task.labels) == {v.label for v in COMPARED} and task.seeds == 2
    for label in task.labels:
        curve = [estimate.value for estimate in task.faithfulness[label]]
        assert curve[-1] == pytest.approx(1.0, abs=1e-4), label
        assert task.cpr[label].value == pytest.approx(cpr_cmd(MIB_FRACTIONS, curve)[0])
        low, high = task.cpr[label].interval
        assert low <= task.cpr[label].value <= high
    assert task.spearman["exact"] == pytest.approx(1.0)
    assert task.spearman["eap"] > 0.5 > abs(task.spearman["random"])
    assert task.cpr["eap-ig"].value > task.cpr["random"].value + 0.2


def test_a_task_s_numbers_are_those_of_its_curves() -> None:
    """One seed: value and interval are what `mib_curve` gives for the same resamples."""
    model = load_model("demo", device="cpu")
    scored, judged = make_prompts("ioi", 6, seed=0), make_prompts("ioi", 6, seed=9)
    found = measure_task(model, scored, judged, [Variant("eap", "eap")], resamples=50, seed=3)
    scores = attribute(model, scored, method="eap").scores
    curve = mib_curve(CircuitRunner(model, judged), scores, how=Resampling(50, seed=3))
    assert curve.cpr is not None and curve.cmd is not None
    for band, estimate in ((curve.cpr, found.cpr["eap"]), (curve.cmd, found.cmd["eap"])):
        assert estimate.value == pytest.approx(float(band.value), abs=ROUNDING)
        assert estimate.interval == pytest.approx((float(band.low), float(band.high)), abs=ROUNDING)
    curves = [e.value for e in found.faithfulness["eap"]], curve.faithfulness.value.tolist()
    assert curves[0] == pytest.approx(curves[1], abs=ROUNDING)


def test_seeds_are_averaged_alike_for_every_method(results: Results) -> None:
    """Combining first and differencing then is the same as the other way round: the resamples are paired."""
    task = results.tasks[0]
    twice = over_seeds([task, task], seed=4)
    assert twice.cpr["eap"].value == pytest.approx(task.cpr["eap"].value)
    difference = twice.cpr["eap-ig"] - twice.cpr["eap"]
    direct = over_cells({"ioi": [task.cpr["eap-ig"] - task.cpr["eap"]] * 2}, seed=4)
    assert difference.draws == pytest.approx(direct.draws)


def test_verdicts_on_the_page_are_those_of_the_intervals(page: str, results: Results) -> None:
    for name, a, b, _ in COMPARISONS:
        whole, _ = differences(results.held_out, a, b)
        low, high = whole.interval
        word = "tie" if low <= 0 <= high else "higher" if low > 0 else "lower"
        row = next(line for line in page.splitlines() if line.startswith(f"| {name}: `{a}`"))
        assert f"**{word}**" in row and number(whole, 4, sign=True) in row


def test_equal_labels_differ_by_nothing(results: Results) -> None:
    whole, by_task = differences(results.held_out, "mask-ig k=3", "mask-ig k=3")
    assert whole.value == 0 and whole.interval == (0, 0) and whole.tie
    assert set(by_task) == {"ioi"}


def test_tuning_and_held_out_share_neither_tasks_nor_seeds() -> None:
    assert not set(TUNING_TASKS) & set(HELD_OUT_TASKS)
    assert set(TUNING_TASKS) | set(HELD_OUT_TASKS) == set(TASKS)
    assert not set(TUNING_SEEDS) & set(HELD_OUT_SEEDS)
    labels = {variant.label for variant in JUDGED}
    assert all(a in labels and b in labels for _, a, b, _ in COMPARISONS)


def test_primary_comparisons_are_at_equal_passes(results: Results) -> None:
    """What the comparisons say about passes is what the registry's methods make."""
    from eapgp.attribution import METHODS

    variants = {variant.label: variant for variant in JUDGED}
    for _, a, b, said in COMPARISONS:
        made = []
        for label in (a, b):
            forward, backward = METHODS[variants[label].method].passes(variants[label].options["steps"], 4)
            made.append(f"{forward:g}+{backward:g}")
        assert said == ", ".join(made)
    for name, a, b, said in COMPARISONS:
        assert not name.startswith("H") or len(set(said.split(", "))) == 1, (a, b)


def test_the_protocol_names_what_the_code_judges() -> None:
    text = (ROOT / PROTOCOL).read_text(encoding="utf-8")
    for variant in JUDGED:
        assert f"`{variant.label}`" in text
    for task in TASKS:
        assert task in text
    for name, *_ in COMPARISONS:
        assert f"**{name}**" in text


def test_clipped_area_by_hand() -> None:
    """f = 1 everywhere: 1, but for the triangle below the first size. Overshoot and negative values are cut."""
    first = AREA_FRACTIONS[0]
    ones = np.ones(len(AREA_FRACTIONS))
    assert clipped_area(ones) == pytest.approx(1 - first / 2 / 0.5)
    assert clipped_area(ones * 3) == pytest.approx(1 - first / 2 / 0.5)
    assert clipped_area(-ones) == 0
    straight = np.array(AREA_FRACTIONS)
    assert clipped_area(straight) == pytest.approx(0.25)
    assert clipped_area(np.stack([ones, -ones])).shape == (2,)


def test_estimates_by_hand() -> None:
    a = Estimate(2.0, np.linspace(1, 3, 1001))
    b = Estimate(1.0, np.linspace(0, 2, 1001))
    assert (a - b).value == 1 and (a - b).interval == pytest.approx((1, 1))
    assert verdict(a - b) == "higher" and verdict(b - a) == "lower"
    assert verdict(Estimate(0.1, np.linspace(-1, 1, 101))) == "tie"
    assert mean_of([a, b]).value == 1.5
    assert (a - b).flips == 0 and np.isnan((a - a).flips)
    assert Estimate(0.1, np.array([1.0, 2.0, -1.0, 0.0])).flips == 0.375
    assert flips(Estimate(0.1, np.array([1.0, 2.0, -1.0, 0.0]))) == "38%" and flips(a - a) == "–"
    assert a.interval == pytest.approx((1.05, 2.95))
    assert number(Estimate(0.5, np.full(3, 0.5)), 2, sign=True) == "+0.50 [+0.50, +0.50]"


def test_seeds_are_resampled_too() -> None:
    """Two seeds without any spread over pairs: the interval spans both, and one task's mean is theirs."""
    seeds = [Estimate(0.0, np.zeros(2000)), Estimate(1.0, np.ones(2000))]
    whole = over_cells({"task": seeds})
    assert whole.value == 0.5 and whole.interval == (0, 1)
    assert np.mean(whole.draws == 0.5) == pytest.approx(0.5, abs=0.05)
    both = over_cells({"one": seeds, "two": [Estimate(3.0, np.full(2000, 3.0))]})
    assert both.value == 1.75


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    assert main(["--parts", "planted", "--pairs", "6", "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "--parts planted --pairs 6" in text and "## 2." not in text


def test_second_model_where_it_is_there(shared: Path) -> None:
    folder = shared_models()
    assert folder is not None
    found = measure(Settings(parts=("second-model",), resamples=20, second_model=folder))
    (cells,) = found.second.values()
    assert len(cells) == 2 and set(cells[0]) == {variant.label for variant in JUDGED}
    assert all(0 <= estimate.value <= 1 for cell in cells for estimate in cell.values())
