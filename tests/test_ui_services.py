"""Settings, the shelf of runs, and what pages ask of them; without a browser and without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eapgp.attribution import registry
from eapgp.attribution.registry import METHODS, variant
from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.errors import ModelError
from eapgp.graph import Graph
from eapgp.runs import RunLibrary, RunSpec, make_request
from eapgp.runs.compute import resolve_options
from eapgp.tasks import TASKS, make_prompts
from eapgp.ui.base.fields import read_url, write_url
from eapgp.ui.library import consent, measure
from eapgp.ui.library.circuits import four_lists, rank_of, selected
from eapgp.ui.library.results import Shelf, question_key
from eapgp.ui.parts import snippets
from eapgp.ui.sidebar import settings

GRAPH = Graph(2, 2, d_model=8)
VALUES = {field.name: field.default for field in settings.FIELDS}


class FakeModel:
    """What a request asks of a model."""

    id = "demo"
    tokenizer_hash = "t" * 16

    def __init__(self, spec: RunSpec) -> None:
        self.dtype, self.weights_hash = spec.dtype, ("r" if spec.random_weights else "w") * 16


def scores(seed: int = 0) -> EdgeScores:
    values = np.random.default_rng(seed).normal(size=(GRAPH.n_sources, GRAPH.n_destinations))
    return EdgeScores(GRAPH, np.where(GRAPH.mask, values, 0.0))


def store(library: RunLibrary, spec: RunSpec, *, seed: int = 0) -> str:
    """Save a run that a spec asks for."""
    prompts = make_prompts(str(spec.task), spec.n_pairs or 4, seed=spec.seed, split=spec.split, **spec.task_options)
    options = resolve_options(spec)
    metric = spec.metric or prompts.metric
    how: dict[str, Any] = {"metric": metric, "seed": spec.seed, "intervention": spec.intervention}
    request = make_request(FakeModel(spec), prompts, method=spec.method, options=options, **how)
    result = Attribution(spec.method, options, scores(seed), np.ones(4), np.zeros(4), 1, 1, 0.1)
    return library.save(result, request, prompts, spec=spec).id


def test_the_defaults_of_the_sidebar_are_the_defaults_of_the_library() -> None:
    spec = settings.spec_of(VALUES)
    usual = RunSpec()
    assert (spec.model, spec.task, spec.n_pairs, spec.seed, spec.method) == ("demo", "ioi", 64, 0, "eap-gp")
    assert spec.metric is usual.metric
    assert resolve_options(spec) == resolve_options(usual)


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("method", list(METHODS))
def test_every_combination_makes_a_spec_whose_options_the_method_takes(task: str, method: str) -> None:
    spec = settings.spec_of({**VALUES, "task": task, "method": method, "step": "0.25"})
    resolve_options(spec)
    make_prompts(task, 1, **spec.task_options)
    back = settings.settings_of(spec, metric=TASKS[task].metric, options=resolve_options(spec))
    assert back["task"] == task and back["method"] == method and back["metric"] == "task"
    assert {**VALUES, **back}["pairs"] == 64
    if "step" in spec.options:
        assert spec.options["step"] == 0.25 and back["step"] == "0.25"


@pytest.mark.parametrize("name", list(METHODS))
def test_short_names_begin_with_a_registered_name_so_that_figures_know_their_colour(name: str) -> None:
    from eapgp.figures.style import METHOD_STYLES, method_of

    assert registry.blurb(name).endswith(".")
    if name in METHOD_STYLES:
        assert method_of(variant(name, {"step": "unit"})) == name


def test_variants_are_told_apart() -> None:
    shown = {
        variant("eap-gp", {"steps": 5, "step": "relative", "objective": "all"}),
        variant("eap-gp", {"steps": 5, "step": "unit", "objective": "all"}),
        variant("eap-gp", {"steps": 9, "step": "unit", "objective": "all"}),
        variant("eap-gp", {"steps": 5, "step": "unit", "objective": "last"}),
        variant("eap-gp", {"steps": 5, "step": "descend"}),
        variant("eap-gp", {"steps": 5, "step": "unit", "norm": "batch"}),
        variant("eap-gp", {"steps": 5, "step": "unit", "points": "0..k-1"}),
        variant("eap-gp", {"steps": 5, "step": "unit", "direction": "random", "seed": 0}),
        variant("eap-gp", {"steps": 5, "step": "unit", "direction": "reversed"}),
        variant("eap-ig", {"steps": 5, "points": "right"}),
        variant("eap-ig", {"steps": 5, "points": "left"}),
        variant("mask-ig", {"steps": 5, "nodes": "midpoints"}),
        variant("mask-ig", {"steps": 5, "nodes": "calibrated"}),
        variant("exact", {"edges": None}),
        variant("exact", {"edges": ["m0->logits"]}),
        variant("exact", {"edges": "m0->logits, m1->logits"}),
    }
    assert len(shown) == 16
    assert variant("eap-gp", {"step": "unit"}) == "EAP-GP · unit (our reading of the paper)"


def test_the_shelf_finds_what_was_asked_and_sees_new_runs_by_itself(tmp_path: Path) -> None:
    library = RunLibrary(tmp_path)
    shelf = Shelf(library, None)
    assert shelf.cards() == []
    spec = RunSpec(task="ioi", n_pairs=4, method="eap-gp", options={"steps": 3})
    run_id = store(library, spec)
    same = RunSpec(task="ioi", n_pairs=4, method="eap-gp", options={"steps": 3, "step": "relative"})
    other = RunSpec(task="ioi", n_pairs=4, method="eap-gp", options={"steps": 3, "step": "unit"})

    def key(one: RunSpec) -> str:
        return question_key(one, metric="logit-diff", options=resolve_options(one))

    found = shelf.find(key(same))
    assert found is not None and found.id == run_id and not found.example
    assert shelf.find(key(other)) is None
    assert shelf.find(key(replace(same, task_options={"corruption": "third-name"}))) == found, "the task's own default"
    assert shelf.find(key(replace(same, task_options={"corruption": "hard"}))) is None
    assert shelf.find(key(replace(same, dtype="bfloat16"))) is None
    assert shelf.get(run_id[:8]) == found
    library.delete(run_id)
    assert shelf.cards() == []


UNUSUAL: list[dict[str, Any]] = [
    {"method": "eap", "intervention": "zero"},
    {"method": "atp-graddrop", "intervention": "mean-positional"},
    {"method": "eap", "dtype": "bfloat16"},
    {"method": "eap", "random_weights": True, "seed": 4},
    {"method": "mask-ig", "options": {"nodes": "calibrated", "steps": 4}},
    {"method": "exact", "options": {"edges": ["m0->logits", "input->a0.h0<q>"]}},
    {"method": "eap-gp", "options": {"step": 0.5, "objective": "last"}, "split": "test", "metric": "prob-diff"},
    {"method": "eap", "task_options": {"corruption": "hard"}},
    {"method": "eap-gp", "options": {"step": "descend", "norm": "batch", "points": "0..k-1"}},
    {"method": "eap-gp", "options": {"direction": "random"}, "seed": 3},
    {"method": "eap-ig", "options": {"points": "right"}},
]


@pytest.mark.parametrize("unusual", UNUSUAL, ids=str)
def test_whatever_the_command_line_computes_the_settings_can_ask_for(unusual: dict[str, Any], tmp_path: Path) -> None:
    """The settings of an opened run, written to a link and read again, are answered by that run and no other."""
    library = RunLibrary(tmp_path)
    usual = RunSpec(task="ioi", n_pairs=4, method=str(unusual["method"]))
    stored = {store(library, one): one for one in (usual, replace(usual, **unusual))}
    shelf = Shelf(library, None)
    for run_id, one in stored.items():
        card = shelf.get(run_id)
        assert card is not None
        found = settings.settings_of(one, metric=card.metric, options=card.options)
        read, problems = read_url(write_url(found, settings.FIELDS), settings.FIELDS)
        assert problems == []
        asked = settings.spec_of(VALUES | read)
        key = question_key(asked, metric=settings.metric_of(VALUES | read), options=resolve_options(asked))
        assert shelf.find(key) == card
        for name in ("intervention", "dtype", "random_weights", "seed", "split"):
            assert getattr(asked, name) == getattr(one, name)


def test_commas_alone_name_no_edge() -> None:
    for typed, meant in ((" , ", None), ("", None), ("m0->logits,, input->m0 ", ["input->m0", "m0->logits"])):
        spec = settings.spec_of({**VALUES, "method": "exact", "edges": typed})
        assert resolve_options(spec)["edges"] == meant


def test_a_method_that_needs_patching_is_asked_for_by_patching() -> None:
    assert settings.spec_of({**VALUES, "method": "eap", "intervention": "zero"}).intervention == "zero"
    assert settings.spec_of({**VALUES, "method": "eap-gp", "intervention": "zero"}).intervention == "patching"


def test_the_user_s_own_run_comes_before_an_example(tmp_path: Path) -> None:
    examples, own = RunLibrary(tmp_path / "examples"), RunLibrary(tmp_path / "own")
    spec = RunSpec(task="sva", n_pairs=4, method="eap")
    store(examples, spec)
    shelf = Shelf(own, examples.runs)
    key = question_key(spec, metric="prob-diff", options={})
    assert shelf.find(key).example  # type: ignore[union-attr]
    store(own, spec)
    assert not shelf.find(key).example  # type: ignore[union-attr]


def test_a_broken_run_is_left_out(tmp_path: Path) -> None:
    library = RunLibrary(tmp_path)
    run_id = store(library, RunSpec(task="sva", n_pairs=4, method="eap"))
    (library.runs / run_id / "run.json").write_text("{")
    assert Shelf(library, None).cards() == []


def test_four_lists_hold_the_strongest_edges_of_a_node_by_direction_and_sign() -> None:
    one = scores()
    lists = four_lists(one, "a1.h0", n=3)
    into = [edge for key in ("in+", "in-") for edge in lists[key]["edge"]]
    assert all(edge.split("->")[1].startswith("a1.h0<") for edge in into)
    assert all(edge.startswith("a1.h0->") for key in ("out+", "out-") for edge in lists[key]["edge"])
    assert (lists["in+"]["score"] > 0).all() and (lists["out-"]["score"] < 0).all()
    columns = GRAPH.destination_nodes == GRAPH.nodes.index("a1.h0")
    assert lists["in+"]["score"].iloc[0] == np.where(GRAPH.mask, one.values, 0)[:, columns].max()
    assert four_lists(one, "input")["in+"].empty and four_lists(one, "logits")["out+"].empty


def test_a_selection_is_a_node_or_an_edge_of_this_graph_or_nothing() -> None:
    assert selected(GRAPH, "m0").node == "m0"
    assert selected(GRAPH, "input->m0").edge == "input->m0"
    assert not selected(GRAPH, "m1->m0") and not selected(GRAPH, "m7") and not selected(GRAPH, "")
    one = scores()
    name, _ = one.top(1)[0]
    assert rank_of(one, name) == 1


def test_snippets_ask_for_the_same_run(tmp_path: Path) -> None:
    spec = RunSpec(
        task="ioi",
        task_options={"corruption": "hard"},
        n_pairs=4,
        seed=3,
        method="eap-gp",
        options={"steps": 2, "step": "unit"},
        metric="prob-diff",
    )
    scope: dict[str, Any] = {}
    code = snippets.run_python(spec).split("run = compute_run")[0]
    exec(code, scope)
    assert scope["spec"].job_key() == spec.job_key()
    shell = snippets.run_shell(spec)
    for part in (
        "--task ioi",
        "--pairs 4",
        "--seed 3",
        "--step unit",
        "--corruption hard",
        "--metric prob-diff",
    ):
        assert part in shell


def test_the_script_thread_s_modules_import_no_torch() -> None:
    code = (
        "import sys\n"
        "import eapgp.ui.explore.views, eapgp.ui.compare.fields, eapgp.ui.path.picture\n"
        "import eapgp.ui.parts.inspector, eapgp.ui.parts.exports\n"
        "import eapgp.ui.sidebar.settings as s, eapgp.ui.parts.provenance\n"
        "import eapgp.figures.curves, eapgp.evaluation.statistics\n"
        "s.method_names(), s.task_names(), s.metric_names(), s.spec_of({f.name: f.default for f in s.FIELDS})\n"
        "print(','.join(m for m in ('torch', 'transformers', 'transformer_lens') if m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_two_lanes_never_load_a_model_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    import time

    from eapgp.ui.jobs.workshop import Workshop

    inside, most = [0], [0]

    def read(*_: Any) -> tuple[Any, tuple[str, ...]]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1
        raise ModelError("read no further")

    monkeypatch.setattr("eapgp.models.load._trained", read)
    shop, refused = Workshop(), []

    def model(lane: str) -> None:
        try:
            shop.model(lane, "demo", device="cpu")
        except ModelError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=model, args=(lane,)) for lane in ("cpu", "live", "cuda")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["read no further"] * 3
    assert most == [1]


def test_libraries_are_left_to_no_collection_once_they_are_imported() -> None:
    """In a process of its own: freezing is for good."""
    code = (
        "import gc\n"
        "from eapgp.ui.jobs.workshop import import_for_good\n"
        "import_for_good()\n"
        "assert gc.get_freeze_count() > 100_000, gc.get_freeze_count()\n"
        "assert len(gc.get_objects()) < 20_000, len(gc.get_objects())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_model_is_made_ready_once_after_the_first_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st

    from eapgp.ui.jobs import server
    from eapgp.ui.library import measure, results

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    monkeypatch.setattr(measure, "WARM_UP_AFTER", 0.0)
    ready: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "eapgp.ui.jobs.workshop.Workshop.runner", lambda self, lane, run, progress: ready.append((lane, run.id))
    )
    st.cache_resource.clear()
    try:
        first, second = [card for card in results.shelf().cards() if card.example][:2]
        monkeypatch.setenv("EAPGP_WARM_UP", "0")
        measure.warm_up(first)
        assert not server.manager().live() and server.job(f"ready-{first.id}") is None
        monkeypatch.setenv("EAPGP_WARM_UP", "1")
        measure.warm_up(first)
        measure.warm_up(second)  # the same model: nothing is left to do
        for _ in range(100):
            job = server.manager().wait(f"ready-{first.id}", 0.1)
            if job is not None and job.state == "done":
                break
        assert ready == [("live", first.id)]
        assert server.job(f"ready-{second.id}") is None
    finally:
        st.cache_resource.clear()


def test_a_circuit_is_measured_unasked_where_it_is_quick_and_a_run_s_cost_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"n_layer": 1, "n_head": 1, "n_embd": 8}')

    def card(model: str, seconds: float) -> Any:
        record = {"forward_passes": 4, "backward_passes": 3, "seconds": seconds}
        return SimpleNamespace(id=f"{model}{seconds}", model=model, seconds=seconds, record=record)

    assert consent.cost(card("demo", 5.0)) == pytest.approx(1.0)
    assert consent.agreed(card(str(tmp_path), 5.0)) and not consent.agreed(card(str(tmp_path), 50.0))
    assert not consent.agreed(card(str(tmp_path / "gone"), 5.0)) and consent.agreed(card("demo", 50.0))

    spec = RunSpec(model="demo", task="ioi", n_pairs=64, method="eap-ig", options={"steps": 5})
    seconds = measure.run_cost(spec)
    assert seconds is not None and 0 < seconds < 600
    assert measure.run_cost(replace(spec, n_pairs=128)) == pytest.approx(2 * seconds)
    passes = 2 + 5 + 2 * 5, 2 + 20 + 2 * 20  # with the two reference runs; a backward pass counts as two
    longer = measure.run_cost(replace(spec, options={"steps": 20}))
    assert longer == pytest.approx(seconds * passes[1] / passes[0])
    assert measure.run_cost(replace(spec, model="nobody/knows")) is None
