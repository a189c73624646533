"""A toy method and a toy task with an option of each kind, added as docs/architecture.md says: a module and a row.

Run as a script it registers them in its own process, before anything else reads the registries, and prints what the
command line, the link, the sidebar, names and snippets make of the rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shlex
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import eapgp.attribution
from eapgp.attribution import registry
from eapgp.attribution.registry import Method
from eapgp.options import Choice, EdgeNames, OneOf, OneOfOrNumber, WholeNumber
from eapgp.prompts.pairs import PromptPair
from eapgp.tasks import TASKS, Task, sva
from eapgp.tasks.recipe import Point, Recipe, Vocabulary

ROOT = Path(__file__).resolve().parent.parent


# -- the module of the method ------------------------------------------------------------------------------------


def run(ctx: Any) -> Any:
    """EAP's scores as many times as is asked for."""
    from eapgp.attribution import eap

    outcome = eap.run(ctx)
    sign = -1 if ctx.options["polarity"] == "turned" else 1
    return dataclasses.replace(outcome, scores=outcome.scores * ctx.options["repeats"] * sign)


# -- its row ------------------------------------------------------------------------------------------------------

METHOD = Method(
    name="toy",
    title="Toy",
    paper="none",
    cost="1 forward and 1 backward pass",
    explanation="A toy. It shows what a row is for.",
    run=run,
    options=(
        WholeNumber(
            name="repeats",
            default=2,
            low=1,
            high=900,
            page_high=9,
            symbol="r",
            label="Repeats r",
            help="r: how often EAP's scores are added up. More changes nothing but the scale.",
        ),
        OneOf(
            name="polarity",
            default="usual",
            label="Polarity",
            help="Whether signs are as usual or turned. A toy needs one.",
            choices=(Choice("usual", "Usual"), Choice("turned", "Turned round", "turned")),
        ),
        OneOfOrNumber(
            name="strength",
            default="soft",
            label="Strength",
            help="How strong: soft, hard or a number. It does nothing.",
            choices=(Choice("soft", "Soft"), Choice("hard", "Hard", "hard")),
        ),
        EdgeNames(name="only", default=None, label="Only edges", help="Edges that are looked at. It does nothing."),
    ),
)

# -- the module of the task, and its row --------------------------------------------------------------------------


def recipe(vocabulary: Vocabulary, *, size: str, shift: int) -> Recipe:
    """Pairs of subject-verb agreement whose notes say how they were asked for."""
    usual = sva.recipe(vocabulary)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        pair = usual.write(point, rng)
        return dataclasses.replace(pair, note=f"{pair.note}, {size}, {shift}")

    return dataclasses.replace(usual, write=write)


TASK = Task(
    name="toy-task",
    title="Toy task",
    metric="prob-diff",
    explanation="A toy task. It shows what a row is for.",
    example=TASKS["sva"].example,
    recipe=recipe,
    phrases=sva.phrases,
    options=(
        OneOf(
            name="size",
            default="small",
            label="Size",
            help="How large: small or large. It goes into the notes.",
            choices=(Choice("small", "Small"), Choice("large", "Large", "large")),
        ),
        WholeNumber(name="shift", default=0, high=50, label="Shift", help="A number that goes into the notes."),
    ),
)


def register() -> None:
    """Add both rows to the registries."""
    methods = MappingProxyType({**registry.METHODS, METHOD.name: METHOD})
    registry.METHODS = eapgp.attribution.METHODS = methods
    TASKS[TASK.name] = TASK


def command_line(*words: str) -> str:
    """What a command prints."""
    from eapgp.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(list(words))
    assert code == 0, (words, out.getvalue())
    return out.getvalue()


def app_at(**query: str) -> Any:
    """Explore at a link."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page("pages/explore.py")
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def controls(app: Any) -> dict[str, tuple[str, Any]]:
    """Label and value of the controls of the toys' options."""
    names = {f"field-{row.name}" for row in (*METHOD.options, *TASK.options)}
    kinds = (app.sidebar.number_input, app.sidebar.selectbox, app.sidebar.button_group, app.sidebar.text_input)
    drawn = {one.key: one for kind in kinds for one in kind if one.key in names}
    return {key.removeprefix("field-"): (getattr(one, "label", ""), one.value) for key, one in drawn.items()}


def report() -> dict[str, Any]:
    """What everything makes of the rows."""
    from eapgp.attribution.registry import variant
    from eapgp.runs.spec import RunSpec
    from eapgp.ui.compare.choice import _slug
    from eapgp.ui.parts.snippets import run_python, run_shell

    flags = ("--repeats", "3", "--polarity", "turned", "--strength", "0.5", "--only", "a0.h1->m1,m0->logits")
    asked = ("attribute", "--method", "toy", "--task", "toy-task", "--size", "large", "--shift", "4", *flags)
    made = json.loads(command_line(*asked, "--pairs", "2", "--json"))
    spec = RunSpec.from_dict(json.loads((Path(made["run"]) / "run.json").read_text())["spec"])
    again = json.loads(command_line(*shlex.split(run_shell(spec))[1:]))
    space: dict[str, Any] = {}
    exec(run_python(spec), space)
    link = {"task": "toy-task", "size": "large", "shift": "4", "method": "toy"}
    link |= {"repeats": "3", "polarity": "turned", "strength": "0.5", "only": "m0->logits"}
    opened, changed = app_at(**link), app_at(method="toy", task="toy-task")
    before = controls(changed)
    changed.sidebar.number_input(key="field-repeats").set_value(5)
    changed.sidebar.text_input(key="field-only").set_value("m0->logits").run()
    return {
        "help": command_line("attribute", "--help"),
        "rows": json.loads(command_line("methods", "toy", "--json"))["methods"][0]["options"],
        "options": made["options"],
        "task_options": dict(spec.task_options),
        "again": [again["cached"], again["id"] == made["id"], space["run"].id == made["id"]],
        "variant": variant("toy", made["options"]),
        "usual": variant("toy", METHOD.settings({})),
        "slug": _slug("toy", made["options"]),
        "opened": controls(opened),
        "opened_link": dict(opened.query_params),
        "before": before,
        "changed_link": dict(changed.query_params),
        "wrong": [str(one.value) for one in app_at(method="toy", repeats="10", polarity="wild", size="huge").warning],
        "errors": [str(one.value) for app in (opened, changed) for one in (*app.error, *app.exception)],
    }


if __name__ == "__main__":
    register()
    print(json.dumps(report()))
