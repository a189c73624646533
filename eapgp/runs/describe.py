"""What is worth telling of a run: what is not usual about it, and what two runs differ in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eapgp.runs.spec import PATCHING, UNKNOWN, RunSpec
from eapgp.tasks import TASKS

_SELECTIONS = {"skip_unusable": "only pairs that fit", "only_correct": "only pairs it gets right"}
_SPLITS = {"train": "trained-on prompts", "test": "held-out prompts"}


def usual_task_options(task: str | None) -> dict[str, Any]:
    """A task's options at their defaults; none for prompts of one's own."""
    return {option.name: option.default for option in TASKS[task].options} if task in TASKS else {}


def prompt_conditions(spec: RunSpec | None) -> tuple[str, ...]:
    """What is not usual about prompts, their number and seed apart: the task's options, the split, how they are put."""
    if spec is None:
        return ()
    if spec.prompts or spec.prompts_file:
        return prompting_conditions(spec)
    usual = usual_task_options(spec.task)
    options = [f"{name} {value}" for name, value in spec.task_options.items() if value != usual.get(name)]
    split = (_SPLITS[spec.split],) if spec.split in _SPLITS else ()
    return (*options, *split, *prompting_conditions(spec))


def prompting_conditions(spec: RunSpec) -> tuple[str, ...]:
    """What is not usual about how prompts reach the model, and which of them do."""
    words = () if spec.tokenizer is None else (f"tokenizer {spec.tokenizer}",)
    return (*words, *spec.prompting.conditions, *(_SELECTIONS[name] for name in spec.selection))


def differences(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What some requests differ in, in words. Imported scores come without an intervention, and differ in none."""

    def distinct(value: Callable[[Mapping[str, Any]], Any]) -> bool:
        return len({str(value(request)) for request in requests}) > 1

    cuts = {str(request.get("intervention", PATCHING)) for request in requests}
    methods = distinct(lambda request: request["method"])
    found = {
        "method": methods,
        "step settings": distinct(lambda request: request["options"]) and not methods,
        "task": distinct(lambda request: request["task"]),
        "prompts": distinct(lambda request: request["prompts"]["hash"]),
        "metric": distinct(lambda request: request["metric"]),
        "intervention": len(cuts - {UNKNOWN}) > 1,
        "model": distinct(lambda request: request["model"].get("weights_hash", "")),
        "start token or chat template": distinct(lambda request: request.get("prompting", {})),
        "tokenizer": distinct(lambda request: request["model"].get("tokenizer_hash", "")),
    }
    found["tokenizer"] = found["tokenizer"] and not found["model"]
    return [name for name, differs in found.items() if differs]
