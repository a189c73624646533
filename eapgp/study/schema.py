"""The study file: what may stand in it, and where it is wrong.

name: steps
models: [demo]
tasks: [ioi, {name: sva, pairs: 32}]
methods: [eap, {name: eap-gp, options: {step: unit}, vary: {steps: [3, 5, 10]}}]
seeds: [0, 1, 2]
pairs: 64
evaluations: [{grid: mib}]
execution: {workers: 2}
"""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from eapgp.errors import FormatError
from eapgp.prompts.prompting import ANSWERS
from eapgp.strict_json import check_value

MAX_BYTES = 2**20
MAX_NODES, MAX_DEPTH, MAX_PROBLEMS = 20_000, 20, 100
"""Values of a study file, and lists and mappings within each other; a large study has a few hundred, and six."""
EXECUTORS = ("local", "slurm", "debug", "in-process")

_NAME: dict[str, Any] = {"type": "string", "minLength": 1}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_SEED: dict[str, Any] = {"type": "integer", "minimum": 0}
_OPTIONS: dict[str, Any] = {"type": "object"}
_SPLIT: dict[str, Any] = {"enum": ["all", "train", "test"]}


_YES_NO: dict[str, Any] = {"type": "boolean"}
_PROMPTED: dict[str, Any] = {
    "tokenizer": _NAME,
    "bos": _NAME,
    "chat": _YES_NO,
    "answers": {"enum": list(ANSWERS)},
    "only_correct": _YES_NO,
    "skip_unusable": _YES_NO,
}
"""How prompts reach a model, in its entry; in its `vary` or a method's: several, one after another."""
_SEVERAL: dict[str, Any] = {"type": "array", "minItems": 1}
_VARIED: dict[str, Any] = {
    "type": "object",
    "properties": {name: {**_SEVERAL, "items": rule} for name, rule in _PROMPTED.items()},
    "additionalProperties": _SEVERAL,
}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _named(properties: dict[str, Any]) -> dict[str, Any]:
    """A list whose entries are names, or mappings that hold a name and more."""
    entry = _object({"name": _NAME, **properties}, "name")
    return {
        "type": "array",
        "minItems": 1,
        "items": {"if": {"type": "object"}, "then": entry, "else": _NAME},
    }


_SLURM = _object(
    {
        "partition": _NAME,
        "account": _NAME,
        "qos": _NAME,
        "constraint": _NAME,
        "timeout_min": _COUNT,
        "mem_gb": {"type": "number", "exclusiveMinimum": 0},
        "cpus_per_task": _COUNT,
        "gpus_per_node": {"type": "integer", "minimum": 0},
        "array_parallelism": _COUNT,
        "setup": {"type": "array", "items": {"type": "string"}},
        "additional_parameters": _OPTIONS,
    }
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "eapgp study",
    **_object(
        {
            "name": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"},
            "description": {"type": "string"},
            "models": _named({"dtype": _NAME, "random_weights": _YES_NO, **_PROMPTED, "vary": _VARIED}),
            "tasks": _named(
                {
                    "pairs": _COUNT,
                    "options": _OPTIONS,
                    "split": _SPLIT,
                    "metric": _NAME,
                    "prompts": _NAME,
                    "columns": _OPTIONS,
                }
            ),
            "methods": _named(
                {
                    "label": _NAME,
                    "options": _OPTIONS,
                    "vary": _VARIED,
                    "intervention": _NAME,
                    "keep_pairs": {"type": "boolean"},
                }
            ),
            "seeds": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _SEED},
            "pairs": _COUNT,
            "split": _SPLIT,
            "evaluations": {
                "type": "array",
                "items": _object(
                    {
                        "name": _NAME,
                        "sizes": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
                        "thresholds": {"type": "array", "minItems": 1, "items": {"type": "number"}},
                        "grid": {"enum": ["default", "mib"]},
                        "rule": {"enum": ["top-n", "greedy"]},
                        "absolute": {"type": "boolean"},
                        "prune": {"type": "boolean"},
                        "metric": _NAME,
                        "intervention": _NAME,
                        "resamples": _COUNT,
                        "level": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                        "baseline": {"type": "integer", "minimum": 0},
                        "pairs": _COUNT,
                        "seed": _SEED,
                        "split": _SPLIT,
                        "manual": {"type": "boolean"},
                    }
                ),
            },
            "execution": _object(
                {
                    "executor": {"enum": list(EXECUTORS)},
                    "workers": _COUNT,
                    "cells_per_job": _COUNT,
                    "threads": _COUNT,
                    "device": _NAME,
                    "batch_size": _COUNT,
                    "timeout_min": _COUNT,
                    "slurm": _SLURM,
                }
            ),
        },
        "name",
        "models",
        "tasks",
        "methods",
    ),
}


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The content of a study file (YAML, of which JSON is a part), checked against the schema.

    Errors: FormatError in one line that names the file and the place.
    """

    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise FormatError(f"{file}: expected a study of at most {MAX_BYTES:,} bytes, got {file.stat().st_size:,}.")
        value = _value_of(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{file}: expected a study file, found none.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: expected a readable text file, got {_line(error)}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError(f"{file}: expected YAML, got {_yaml_problem(error)}.") from None
    check_mapping(value, str(file))
    return dict(value)


def _value_of(text: str) -> Any:
    """The value of a YAML text, whose nodes are counted before any is made. Errors: yaml.YAMLError, ValueError."""
    nodes, opened, sizes = 0, list[tuple[str | None, int]](), dict[str | None, int]()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes[anchor] = nodes - before
        if isinstance(event, yaml.AliasEvent):  # stands for all that its anchor does, aliases in it too
            if event.anchor in [anchor for anchor, _ in opened]:
                raise _problem(event, f"*{event.anchor} within itself")
            nodes += sizes.get(event.anchor, 1)
        nodes += isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if len(opened) > MAX_DEPTH or nodes > MAX_NODES:
            deep = len(opened) > MAX_DEPTH
            what = f"deeper than {MAX_DEPTH} lists and mappings" if deep else f"more than {MAX_NODES:,} values"
            raise _problem(event, f"{what}, aliases written out")
    value = yaml.safe_load(text)
    check_value(value)
    return value


def _problem(event: Any, text: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)


def check_mapping(value: Any, where: str) -> None:
    """Raise FormatError naming the first place that does not fit the schema."""
    from jsonschema import Draft202012Validator  # a tenth of a second, which no other command needs

    errors = itertools.islice(Draft202012Validator(SCHEMA).iter_errors(value), MAX_PROBLEMS)
    problem = min(errors, key=lambda error: list(map(str, error.path)), default=None)
    if problem is not None:
        raise FormatError(f"{where}: {place(problem.absolute_path)}: {_said(problem)}")


def place(path: Iterable[str | int]) -> str:
    """`methods[1].options` from the parts of a path; the whole file is `study`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "study"


def _said(problem: Any) -> str:
    if problem.validator == "additionalProperties" and isinstance(problem.instance, dict):
        properties = problem.schema.get("properties", {})
        extra = next((key for key in problem.instance if key not in properties), None)
        if extra is not None:
            return f"unknown key {str(extra)!r}; expected some of {', '.join(properties)}."
    if problem.validator == "required":
        missing = next(key for key in problem.validator_value if key not in problem.instance)
        return f"expected the key {missing!r}, found none; add it."
    if problem.validator == "type":
        kinds = problem.validator_value
        wanted = kinds if isinstance(kinds, str) else " or ".join(kinds)
        return f"expected {_KINDS.get(wanted, wanted)}, got {_short(problem.instance)}."
    if problem.validator == "enum":
        return f"expected one of {', '.join(map(str, problem.validator_value))}, got {_short(problem.instance)}."
    return f"{_short(problem.instance)}: {_line(problem.message)[:160]}."


_KINDS = {"object": "a mapping", "array": "a list", "string": "a text", "integer": "a whole number"}


def _short(value: Any) -> str:
    return (
        reprlib.repr(value)[:60] if not isinstance(value, str) else repr(value if len(value) < 60 else f"{value[:58]}…")
    )


def _line(error: object) -> str:
    return " ".join(str(error).split())


def _yaml_problem(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return _line(error)[:160]
    return f"{_line(problem or 'a mistake')} in line {mark.line + 1}, column {mark.column + 1}"
