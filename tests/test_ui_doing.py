"""How prompts are put to a model, in the sidebar and in links; and the line that says how well the model does."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from eapgp.cli import main
from eapgp.evaluation.behaviour import behaviour
from eapgp.models import load_model
from eapgp.prompts import encode
from eapgp.runs import RunLibrary, compute_run
from eapgp.runs.compute import resolve_options
from eapgp.runs.info import info_of
from eapgp.runs.spec import LATER_FIELDS, RunSpec
from eapgp.tasks import make_prompts
from eapgp.ui.base.fields import read_url, write_url
from eapgp.ui.jobs import server
from eapgp.ui.library.results import Shelf, question_key
from eapgp.ui.parts import provenance, snippets
from eapgp.ui.sidebar import doing, settings

ROOT = Path(__file__).resolve().parent.parent
VALUES = {field.name: field.default for field in settings.FIELDS}
UNUSUAL: dict[str, Any] = {
    "bos": "<|endoftext|>",
    "chat": True,
    "answers": "first-token",
    "tokenizer": "gpt2",
    "only_correct": True,
    "skip_unusable": True,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    st.cache_resource.clear()
    yield tmp_path / "home"
    for job in server.manager().live():  # threads of torch must not outlive the interpreter
        server.manager().wait(job.id, 60)
    st.cache_resource.clear()


def test_links_and_specs_hold_how_prompts_are_put() -> None:
    assert set(UNUSUAL) == set(LATER_FIELDS) - {"columns"}
    link = write_url(VALUES | UNUSUAL, settings.FIELDS)
    assert set(link) == set(UNUSUAL), "what is usual is not in the link"
    values, problems = read_url(link, settings.FIELDS)
    assert not problems and values == UNUSUAL
    spec = settings.spec_of(VALUES | values)
    assert {name: getattr(spec, name) for name in UNUSUAL} == UNUSUAL
    back = settings.settings_of(spec, metric="logit-diff", options=resolve_options(spec))
    assert {name: back[name] for name in UNUSUAL} == UNUSUAL
    usual = settings.spec_of(VALUES)
    assert not set(LATER_FIELDS) & set(usual.to_dict())
    assert settings.settings_of(usual, metric="logit-diff", options={})["bos"] == settings.USUAL_START


@pytest.mark.parametrize("name", list(UNUSUAL))
def test_each_of_them_is_another_question(name: str) -> None:
    usual, other = (settings.spec_of(VALUES | change) for change in ({}, {name: UNUSUAL[name]}))
    asked = {"metric": "logit-diff", "options": resolve_options(usual)}
    assert question_key(usual, **asked) != question_key(other, **asked)
    assert doing.job_id(usual) != doing.job_id(other)
    assert doing.job_id(usual) == doing.job_id(replace(usual, method="eap", options={}))


@pytest.mark.parametrize("change", [{"bos": "none"}, {"bos": "own"}, {"bos": "<|endoftext|>", "only_correct": True}])
def test_the_command_that_the_page_shows_makes_the_same_run(
    change: dict[str, Any], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = settings.spec_of(VALUES | {"method": "eap", "pairs": 4} | change)
    run = compute_run(spec, library=RunLibrary(home))
    words = shlex.split(snippets.run_shell(spec))
    assert main([*words[1:], "--quiet"]) == 0
    assert f'"id": "{run.id}"' in capsys.readouterr().out
    code = snippets.run_python(spec)
    assert all(repr(change[name]) in code for name in change) and "skip_unusable" not in code
    card = info_of(run)
    facts = dict(provenance.facts(card))
    assert facts["Right answers"] == "100.0 % of the pairs"
    assert Shelf(RunLibrary(home), None).find(_key(spec)) is not None, "pages find it by what was asked"
    told = {"none": "no start token", "own": "the tokenizer's start token"}.get(change["bos"], "start token <|endoft")
    assert told in facts["Task and prompts"] and told in card.pairs_title


def _key(spec: RunSpec) -> str:
    return question_key(spec, metric="logit-diff", options=resolve_options(spec))


def test_the_job_says_what_forward_passes_say(home: Path) -> None:
    spec = settings.spec_of(VALUES | {"pairs": 16, "bos": "none", "only_correct": True})
    job = server.manager().wait(doing.submit(spec), 120)
    assert job is not None and job.state == "done", job
    model = load_model("demo", device="cpu")
    prompts = make_prompts("ioi", 16)
    how = model.with_prompting(spec.prompting)
    found = behaviour(how, encode(prompts, how), metric=prompts.metric)
    assert 0 < found.right.sum() < 16, "without its start token the model is wrong on some"
    assert job.result.n_pairs == job.result.n_right == found.right.sum()
    assert job.result.clean == pytest.approx(found.clean[found.right].mean(), rel=1e-4)
    assert job.result.corrupted == pytest.approx(found.corrupted[found.right].mean(), rel=1e-4)
    assert f"{16 - found.right.sum()} of 16 pairs" in job.result.remarks[0]


@pytest.fixture
def open_page(home: Path) -> Callable[..., AppTest]:
    def start(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
        for name, value in query.items():
            app.query_params[name] = value
        return app.switch_page(f"pages/{page}.py").run()

    return start


@pytest.mark.parametrize("page", ["explore", "compare", "path", "faithfulness", "ground_truth"])
def test_every_page_says_how_well_the_model_does_before_run(page: str, open_page: Callable[..., AppTest]) -> None:
    spec = settings.spec_of(VALUES | {"pairs": 8, "seed": 3})
    app = open_page(page, pairs="8", seed="3")
    assert not app.exception
    assert not [text for text in _captions(app) if "of 8 right" in text], "nothing is known yet"
    app.button(key="doing-button").click().run()
    assert server.manager().wait(doing.job_id(spec), 120) is not None
    app.run()
    done = server.job(doing.job_id(spec))
    assert done is not None and done.state == "done"
    numbers = f"{done.result.clean:.2f} clean / {done.result.corrupted:.2f} corrupted".replace("-", "−")
    line = [text for text in _captions(app) if "of 8 right" in text]
    assert line == [f"demo gets 8 of 8 right · logit difference {numbers}"]


def test_a_stored_run_says_it_without_a_job(home: Path, open_page: Callable[..., AppTest]) -> None:
    spec = settings.spec_of(VALUES | {"pairs": 8, "seed": 3, "method": "eap"})
    compute_run(spec, library=RunLibrary(home))
    app = open_page("explore", pairs="8", seed="3", method="eap")
    assert [text for text in _captions(app) if text.startswith("demo gets 8 of 8 right")]
    assert server.job(doing.job_id(spec)) is None


def _captions(app: AppTest) -> list[str]:
    return [caption.value for caption in app.sidebar.caption]
