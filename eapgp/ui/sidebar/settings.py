"""What to compute: the settings in the sidebar, shared by the pages that show a run.

Each setting is a `Field`, so it lives in the URL; `spec_of` turns them into the `RunSpec` that the
command line and the library take too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from eapgp.attribution.registry import ALL_INTERVENTIONS, ELSEWHERE, METHODS, short_name
from eapgp.metrics import METRICS
from eapgp.models.catalogue import CATALOGUE, find_model, is_gguf
from eapgp.models.load import DTYPES
from eapgp.options import Option
from eapgp.places import is_folder
from eapgp.prompts.columns import CUSTOM
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.prompting import ANSWERS, ONE_TOKEN
from eapgp.prompts.prompting import NONE as NO_START
from eapgp.prompts.prompting import OWN as OWN_START
from eapgp.runs.compute import resolve_options
from eapgp.runs.spec import SELECTION_FIELDS, RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.base import visitor
from eapgp.ui.base.fields import Field, choice, flag, integer
from eapgp.ui.base.policy import policy
from eapgp.ui.library.own_prompts import KeptPrompts, PromptStore
from eapgp.ui.library.results import question_key
from eapgp.ui.sidebar.rows import option_fields, option_settings, option_values

MAX_PAIRS = 5000
USUAL_MODEL = "demo"
_PATH_STARTS = ("/", "~", ".")
_HUB_ID = re.compile(r"[\w.\-]{1,96}/[\w.\-]{1,96}")
_ONE_LINE = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,300}")
OWN = "own"  # the task of pairs that are being made on the Prompts page
_OWN_PAIRS = "eapgp-own-pairs"
USUAL_START = "usual"
START_TOKENS = {USUAL_START: "As the model has it", OWN_START: "The tokenizer's own", NO_START: "None"}
SPLITS = {"all": "All prompts", "train": "Trained on", "test": "Held out"}


def task_names() -> list[str]:
    """Tasks with a generator."""
    return list(TASKS)


def prompt_names() -> list[str]:
    """What the prompts may come from: the tasks, then the pairs of one's own by their ids, then those being made."""
    return [*task_names(), *(own.id for own in PromptStore(visitor.home()).all()), OWN]


def own_pairs_now() -> PromptSet | None:
    """The pairs that the Prompts page shows under My own pairs in this session, as a run would take them."""
    return st.session_state.get(_OWN_PAIRS)


def set_own_pairs(pairs: PromptSet | None) -> None:
    """Say what Run takes while the task is `OWN`; the page runs once more where that has changed."""
    before = own_pairs_now()
    st.session_state[_OWN_PAIRS] = pairs
    if (before is None) != (pairs is None) or (before is not None and pairs is not None and before != pairs):
        st.rerun()


def own_prompts(task: str) -> KeptPrompts | None:
    """The kept pairs that the setting `task` names, or None where it names a task."""
    return PromptStore(visitor.home()).get(task)


def prompts_title(task: str) -> str:
    """How lists show a task or a set of own pairs."""
    if task == OWN:
        return "My own pairs…"
    own = own_prompts(task)
    if own is not None:
        return own.title
    return TASKS[task].title if task in TASKS else "Own pairs" if task == CUSTOM else task


def method_names() -> list[str]:
    """Methods that give edge scores."""
    return list(METHODS)


def metric_names() -> list[str]:
    """`task` (the task's own), then every metric."""
    return ["task", *METRICS]


def intervention_names(method: str | None = None) -> list[str]:
    """The interventions that a method allows; all of them without one."""
    return list(METHODS[method].interventions if method is not None else ALL_INTERVENTIONS)


def dtype_names() -> list[str]:
    """The number formats that a model can be loaded in."""
    return list(DTYPES)


def model_problem(name: str) -> str:
    """Why a name can be no model here, or "": it is listed, a folder, or of a Hugging Face id's form.

    A folder that is gone is told too, though its runs may still be in the library.
    """
    if policy().public:
        return policy().refuses_model(name)
    if find_model(name) is not None or is_folder(name) or is_gguf(name):
        return ""
    if name.startswith(_PATH_STARTS):
        return "expected a folder in Hugging Face layout or a GGUF file, there is none"
    if _HUB_ID.fullmatch(name):
        return ""
    near = difflib.get_close_matches(name, [entry.name for entry in CATALOGUE], n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return f"expected a model of the list{guess}, a Hugging Face id such as owner/name, or a folder"


def _model(value: str) -> str:
    if not _ONE_LINE.fullmatch(value):
        raise ValueError("expected a model name, Hugging Face id or folder")
    problem = model_problem(value)
    if problem and (policy().public or not value.startswith(_PATH_STARTS)):
        raise ValueError(problem)
    return value


def _start_token(value: str) -> str:
    if not _ONE_LINE.fullmatch(value):
        raise ValueError(f"expected {', '.join(START_TOKENS)} or the text of a token")
    return value


def _tokenizer(value: str) -> str:
    if not re.fullmatch(r"[^\x00-\x1f\ud800-\udfff]{0,300}", value):
        raise ValueError("expected a name, Hugging Face id or folder")
    if value and (problem := policy().refuses_model(USUAL_MODEL, value)):
        raise ValueError(problem)
    return value


def _task_rows() -> list[Option]:
    return [row for task in TASKS.values() for row in task.options]


def _method_rows() -> list[Option]:
    return [row for method in METHODS.values() for row in method.own_options]


PROMPTING: tuple[Field, ...] = (
    Field(
        "bos",
        USUAL_START,
        _start_token,
        "Which token stands before each prompt: many models read their first token in a way of its own, so the choice "
        "changes scores. Another token of the tokenizer, such as <|endoftext|>, can be typed.",
        label="Start token",
    ),
    flag(
        "chat",
        False,
        "Each prompt becomes the user's turn in the chat template of the model's tokenizer, and the answer begins the "
        "model's turn; clean and corrupted alike. Base models have no template.",
        label="Chat template",
    ),
    choice(
        "answers",
        ONE_TOKEN,
        ANSWERS,
        "What becomes of an answer of several tokens: pairs that have one are refused, or its first token counts.",
        label="Answers",
    ),
    Field(
        "tokenizer",
        "",
        _tokenizer,
        "Another tokenizer in place of the model's own: a name, a Hugging Face id or a folder. It must be the one that "
        "the model was trained with, or every token means something else.",
        label="Tokenizer",
    ),
    flag(
        "skip_unusable",
        False,
        "Leave out pairs that this model cannot use (unequal lengths, answers of several tokens, unknown words) "
        "instead of refusing all of them. What was left out is said and recorded.",
        label="Skip pairs that do not fit",
    ),
    flag(
        "only_correct",
        False,
        "Keep only pairs that the model gets right on the clean prompt. A circuit explains a behaviour the model has; "
        "leaving the others out makes the set easier than the task. What was left out is said and recorded.",
        label="Keep only pairs it gets right",
    ),
)
FIELDS: tuple[Field, ...] = (
    Field(
        "model",
        USUAL_MODEL,
        _model,
        "The language model whose edges are scored. “demo” is bundled and runs in seconds on a laptop; the others "
        "are fetched from Hugging Face when you press Run. You can also type any Hugging Face id or a local folder.",
        label="Model",
    ),
    choice(
        "task",
        "ioi",
        prompt_names,
        "The behaviour to explain. Each task makes pairs of a clean prompt and a corrupted one that changes the "
        "right answer. Pairs of your own, made on the Prompts page, are listed below the tasks.",
        label="Task",
        titles=prompts_title,
    ),
    *option_fields(_task_rows()),
    integer(
        "pairs",
        64,
        1,
        MAX_PAIRS,
        "How many prompt pairs the scores are averaged over. More pairs take longer and give steadier scores; "
        "16 is enough for a first look.",
        label="Prompt pairs",
    ),
    integer(
        "seed",
        0,
        0,
        2**31 - 1,
        "Which prompts are drawn. The same seed gives the same prompts; compare two seeds to see how much the "
        "scores depend on them.",
        label="Seed",
    ),
    choice(
        "split",
        "all",
        SPLITS,
        "Which of a task's prompts are drawn: all, those whose words and templates the demo model was trained on, or "
        "those that were held out from its training.",
        label="Drawn from",
    ),
    choice(
        "method",
        "eap-gp",
        method_names,
        "How edges are scored. EAP takes one gradient at the clean prompt; EAP-IG averages gradients on the straight "
        "line to the corrupted prompt; EAP-GP follows the model's own gradient (GradPath); exact patches every edge "
        "for real and is slow on large models.",
        label="Method",
        titles=short_name,
    ),
    *option_fields(_method_rows()),
    choice(
        "metric",
        "task",
        metric_names,
        "What the scores explain: one number per prompt, higher when the behaviour is stronger. “task” uses the "
        "metric this task is usually measured with.",
        label="Metric",
    ),
    choice(
        "intervention",
        "patching",
        intervention_names,
        "What an edge that is cut carries: the corrupted run's activation (patching), zero, or the mean over the "
        "corrupted prompts, at all positions together or one by one. Methods that follow a path need patching. The "
        f"circuit's faithfulness is measured the same way. {ELSEWHERE}",
        label="Intervention",
    ),
    choice(
        "dtype",
        "float32",
        dtype_names,
        "The model's number format. Half precision takes half the memory and is coarser; scores stay float32 or wider.",
        label="Number format",
    ),
    choice(
        "weights",
        "trained",
        {"trained": "Trained", "random": "Random"},
        "Random: the model's shape with weights drawn from the seed, a control in which there is nothing to find.",
        label="Weights",
    ),
    *PROMPTING,
)
NAMES = tuple(field.name for field in FIELDS)


def spec_of(values: Mapping[str, Any]) -> RunSpec:
    """The run that the settings ask for."""
    task, method = str(values["task"]), str(values["method"])
    own = own_prompts(task)
    prompts: dict[str, Any] = {
        "task": task,
        "task_options": option_values(TASKS[task].options, values) if task in TASKS else {},
        "n_pairs": int(values["pairs"]),
        "split": str(values["split"]),
    }
    if own is not None:
        prompts = {"task": own.name, "prompts_file": str(own.path)}
    return RunSpec(
        model=str(values["model"]),
        **prompts,
        seed=int(values["seed"]),
        metric=None if values["metric"] == "task" else str(values["metric"]),
        method=method,
        options=option_values(METHODS[method].own_options, values),
        intervention=values["intervention"] if values["intervention"] in intervention_names(method) else "patching",
        dtype=str(values["dtype"]),
        random_weights=values["weights"] == "random",
        bos=None if values["bos"] == USUAL_START else str(values["bos"]),
        tokenizer=str(values["tokenizer"]) or None,
        answers=str(values["answers"]),
        chat=bool(values["chat"]),
        only_correct=bool(values["only_correct"]),
        skip_unusable=bool(values["skip_unusable"]),
    )


def settings_of(spec: RunSpec, *, metric: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `spec_of`, for a run whose metric and options are known in full."""
    own = PromptStore(visitor.home()).at(spec.prompts_file) if spec.prompts_file else None
    usual = own.read().metric if own is not None else TASKS[spec.task].metric if spec.task in TASKS else None
    values: dict[str, Any] = {
        "model": spec.model,
        "task": own.id if own is not None else spec.task,
        "split": spec.split,
        "pairs": spec.n_pairs if spec.n_pairs is not None else 64,
        "seed": spec.seed,
        "method": spec.method,
        "metric": "task" if metric == usual else metric,
        "intervention": spec.intervention,
        "dtype": spec.dtype,
        "weights": "random" if spec.random_weights else "trained",
        "bos": spec.bos or USUAL_START,
        "tokenizer": spec.tokenizer or "",
        **{name: getattr(spec, name) for name in ("answers", "chat", *SELECTION_FIELDS)},
    }
    values |= option_settings(TASKS[spec.task].options if spec.task in TASKS else (), spec.task_options)
    values |= option_settings(METHODS[spec.method].own_options if spec.method in METHODS else (), options)
    return values


def metric_of(values: Mapping[str, Any]) -> str:
    """Name of the metric that the settings mean."""
    if values["metric"] != "task":
        return str(values["metric"])
    if values["task"] == OWN:
        pairs = own_pairs_now()
        return pairs.metric if pairs is not None else "logit-diff"
    own = own_prompts(str(values["task"]))
    return own.read().metric if own is not None else TASKS[str(values["task"])].metric


def question(values: Mapping[str, Any]) -> tuple[RunSpec, str]:
    """The spec that the settings ask for, and the key under which its answer is found."""
    spec = spec_of(values)
    return spec, question_key(spec, metric=metric_of(values), options=resolve_options(spec))


def with_method(spec: RunSpec, method: str, options: Mapping[str, Any]) -> RunSpec:
    """The same question with another method, by patching where the method allows nothing else."""
    usual = RunSpec().intervention
    intervention = spec.intervention if spec.intervention in intervention_names(method) else usual
    return replace(spec, method=method, options=dict(options), intervention=intervention)
