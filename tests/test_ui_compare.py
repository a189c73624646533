"""What the Compare page proposes, finds, and says about runs that differ; without a browser and without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.models.catalogue import find_model
from eapgp.runs import RunLibrary, RunSpec, make_request
from eapgp.runs.compute import resolve_options
from eapgp.runs.info import RunInfo
from eapgp.tasks import TASKS, make_prompts
from eapgp.ui.compare import choice as compare_choice
from eapgp.ui.compare import fields as compare
from eapgp.ui.library import results
from eapgp.ui.library.results import Shelf
from eapgp.ui.parts import run_choice
from eapgp.ui.sidebar import settings

ENTRY = find_model("demo")
assert ENTRY is not None
GRAPH = ENTRY.graph


class FakeModel:
    """What a request asks of a model."""

    tokenizer_hash = "t" * 16

    def __init__(self, name: str, weights: str, dtype: str) -> None:
        self.id, self.weights_hash, self.dtype = name, weights, dtype


Save = Callable[..., RunInfo]


def test_runs_of_as_many_steps_are_proposed_first(save: Save) -> None:
    ten, five = (save(RunSpec(task="ioi", method="eap-ig", options={"steps": steps})) for steps in (10, 5))
    eap = save(RunSpec(task="ioi", method="eap"))
    assert run_choice.default_runs(five)[-1] == ten.id
    assert set(run_choice.default_runs(five)) == {eap.id, five.id, ten.id}
    assert run_choice.default_runs(ten)[-1] == five.id


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """`save(RunSpec(...))` puts a run on the shelf and returns its card."""
    library = RunLibrary(tmp_path)
    shelf = Shelf(library, None)
    monkeypatch.setattr(results, "shelf", lambda: shelf)

    def store(spec: RunSpec) -> RunInfo:
        prompts = make_prompts(str(spec.task), spec.n_pairs or 4, seed=spec.seed, **spec.task_options)
        options = resolve_options(spec)
        model = FakeModel(spec.model, "r" * 16 if spec.random_weights else "w" * 16, spec.dtype)
        metric = spec.metric or prompts.metric
        how: dict[str, Any] = {"metric": metric, "seed": spec.seed, "intervention": spec.intervention}
        request = make_request(model, prompts, method=spec.method, options=options, **how)
        values = np.random.default_rng(0).normal(size=GRAPH.mask.shape) * GRAPH.mask
        result = Attribution(spec.method, options, EdgeScores(GRAPH, values), np.ones(4), np.zeros(4), 1, 1, 0.1)
        card = shelf.get(library.save(result, request, prompts, spec=spec).id)
        assert card is not None
        return card

    return store


def spec_of(**changes: Any) -> RunSpec:
    given: dict[str, Any] = {
        "n_pairs": 4,
        "task": "sva",
        "method": "eap-gp",
        "options": {"steps": 5, "step": "relative", "objective": "all"},
    }
    return RunSpec(**{**given, **changes})


@pytest.mark.parametrize("axis", [axis for axis in compare.AXES if axis != "runs"])
@pytest.mark.parametrize("method", ["eap", "eap-ig", "eap-gp", "mask-ig", "exact"])
def test_everything_proposed_can_be_computed(axis: str, method: str, save: Save) -> None:
    context = save(spec_of())
    options = resolve_options(spec_of(method=method, options={}))
    made = compare_choice.proposals(axis, spec_of(method=method, options=options), context)
    assert len(made) >= 2 and len({one.key for one in made}) == len(made) == len({one.label for one in made})
    for one in made:
        resolve_options(one.spec)
        make_prompts(str(one.spec.task), 1, **one.spec.task_options)
    field = next(field for field in compare.FIELDS if field.name == "these")
    for one in made:  # each key survives the link
        assert field.parse(field.show((one.key,))) == (one.key,)


@pytest.mark.parametrize(
    ("axis", "other"),
    [
        ("methods", {"method": "eap", "options": {}}),
        ("steps", {"options": {"steps": 10, "step": "relative", "objective": "all"}}),
        ("tasks", {"task": "hypernymy"}),
        ("seeds", {"seed": 1}),
        ("models", {"random_weights": True}),
    ],
)
def test_a_stored_run_answers_exactly_one_proposal(axis: str, other: dict[str, Any], save: Save) -> None:
    context = save(spec_of())
    stored = save(spec_of(**other))
    found = [one for one in compare_choice.proposals(axis, spec_of(), context) if one.card is not None]
    assert {one.card.id for one in found if one.card} == {context.id, stored.id} and len(found) == 2
    assert set(compare_choice.usual(found)) == {one.key for one in found}


def test_a_random_twin_is_not_taken_for_the_trained_model(save: Save) -> None:
    trained, twin = save(spec_of()), save(spec_of(random_weights=True))
    answers = results.shelf().answers()
    assert compare_choice.answer(spec_of(), trained, answers).id == trained.id  # type: ignore[union-attr]
    assert compare_choice.answer(spec_of(random_weights=True), trained, answers).id == twin.id  # type: ignore[union-attr]
    assert [card.id for card in results.comparable(trained)] == [trained.id]
    assert run_choice.differences([trained, twin]) == ["model"]
    assert run_choice.label_of(twin, trained).endswith("untrained")


def test_what_differs_is_named_and_forbids_pairing(save: Save) -> None:
    base = save(spec_of())
    method, seed, task = save(spec_of(method="eap", options={})), save(spec_of(seed=3)), save(spec_of(task="ioi"))
    steps = save(spec_of(options={"steps": 9}))
    assert run_choice.differences([base, method]) == ["method"] and run_choice.unpaired(base, method) == ""
    assert run_choice.differences([base, steps]) == ["step settings"]
    assert run_choice.differences([base, seed]) == ["prompts"]
    assert run_choice.differences([base, task]) == ["task", "prompts", "metric"]
    assert run_choice.unpaired(base, task) == "they have different prompts and metric"


def test_scores_by_another_intervention_are_told_apart_and_never_paired(save: Save) -> None:
    eap: dict[str, Any] = {"method": "eap", "options": {}}
    patched, zero = save(spec_of(**eap)), save(spec_of(**eap, intervention="zero"))
    half = save(spec_of(**eap, dtype="bfloat16"))
    assert run_choice.differences([patched, zero]) == ["intervention"]
    assert run_choice.unpaired(patched, zero) == "they have different intervention"
    assert [card.id for card in results.comparable(zero)] == [zero.id]
    assert zero.id not in {card.id for card in results.comparable(patched)}
    assert list(run_choice.named([patched, zero, half], patched)) == ["EAP", "EAP · zero", "EAP · bfloat16"]
    assert list(run_choice.named([patched, zero], zero)) == ["EAP · patching", "EAP"]
    ioi = {**eap, "task": "ioi"}
    easy, hard = save(spec_of(**ioi)), save(spec_of(**ioi, task_options={"corruption": "hard"}))
    assert list(run_choice.named([easy, hard], easy)) == ["EAP", "EAP · 4 pairs, corruption hard, seed 0"]
    assert zero.run.spec is not None
    path = settings.with_method(zero.run.spec, "eap-gp", {})
    assert path.intervention == "patching" and settings.with_method(zero.run.spec, "relp", {}).intervention == "zero"


def test_two_runs_of_one_label_both_stay(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = save(spec_of(method="eap", options={})), save(spec_of(method="eap", options={}, seed=1))
    monkeypatch.setattr(run_choice, "label_of", lambda card, context: "EAP")
    found = run_choice.named([one, two], one)
    assert list(found.values()) == [one, two] and all(name.startswith("EAP · ") for name in found)


def test_exact_patching_of_some_edges_is_no_reference(save: Save) -> None:
    from eapgp.attribution.registry import every_edge

    context = save(spec_of())
    some = save(spec_of(method="exact", options={"edges": ["m0->logits"]}))
    other = save(spec_of(method="exact", options={"edges": ["m1->logits"]}))
    whole = save(spec_of(method="exact", options={}))
    assert [every_edge(card.method, card.options) for card in (some, whole)] == [False, True]
    made = [one for one in compare_choice.proposals("methods", spec_of(), context) if one.spec.method == "exact"]
    assert {one.card.id for one in made if one.card} == {some.id, other.id, whole.id}


def test_before_a_choice_at_least_two_are_shown_and_none_that_estimates_nothing(save: Save) -> None:
    context = save(spec_of())
    save(spec_of(method="exact", options={}))
    made = compare_choice.proposals("methods", spec_of(), context)
    shown = compare_choice.usual(made)
    assert len(shown) == 2 and "exact" not in shown
    assert [one.card is not None for one in made if one.key in shown].count(True) == 1
    assert set(TASKS) == {one.key for one in compare_choice.proposals("tasks", spec_of(), context)}
