"""What keeps a page cheap where a class looks at it: settings without a lock, short lists, tables' texts, figures."""

from __future__ import annotations

import io
import os
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
import pytest
import streamlit as st
from streamlit import config
from streamlit.elements.lib.pandas_styler_utils import marshall_styler
from streamlit.proto.ArrowData_pb2 import ArrowData

from eapgp.errors import ComputationError
from eapgp.numerals import score
from eapgp.ui.base import draw
from eapgp.ui.base.draw import MOST_WRITTEN, written
from eapgp.ui.jobs import follow, server
from eapgp.ui.jobs.follow import CROWD, MOST, PAGES, SECONDS, TOGETHER, Looks, looks_so_far, watch
from eapgp.ui.jobs.manager import BEHIND, LIVE, STORED, JobManager, JobView
from eapgp.ui.shell import frame

TABLE = pd.DataFrame(
    {
        "edge": ["input->a0.h0<q>", "<script>", "m0->logits"],
        "score": [0.25, -0.0095, np.nan],
        "share": [1 / 3, 0.5, np.nan],
        "rank": [1, 2, 3],
        "kept": [True, False, True],
    }
)


def shown(styler: Any) -> pd.DataFrame:
    """What Streamlit sends the browser to show."""
    proto = ArrowData()
    marshall_styler(proto, styler, "x")
    return pa.ipc.open_stream(io.BytesIO(proto.styler.display_values)).read_pandas()


def test_a_written_table_shows_what_pandas_would_write() -> None:
    mine, theirs = shown(written(TABLE, {"score": score})), shown(TABLE.style.format({"score": score}, na_rep="–"))
    assert mine["score"].tolist() == theirs["score"].tolist() == [score(0.25), score(-0.0095), "–"]
    assert "−" in mine["score"][1]
    for name in ("edge", "rank", "kept"):
        assert mine[name].tolist() == theirs[name].tolist()
    assert mine["share"].tolist() == ["0.333333", "0.500000", "–"], "no number with sixteen digits"


def test_a_written_table_keeps_its_values_and_a_long_one_stays_as_it_is() -> None:
    assert written(TABLE, {"score": score}).data.equals(TABLE)
    long = pd.DataFrame({"score": np.zeros(MOST_WRITTEN + 1)})
    assert written(long, {"score": score}) is long


def test_streamlit_looks_settings_up_without_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Lock:
        def __enter__(self) -> None:
            taken.append("lock")

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(config, "_config_lock", Lock())
    before = config.get_option("server.port")
    assert taken, "Streamlit has changed: see server.read_settings_without_lock"
    taken.clear()
    server.read_settings_without_lock()
    assert config.get_option("server.port") == before and not taken


def test_what_cannot_be_drawn_by_itself_is_said_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor whose queue is full: the page asks by itself how well the model does, and is refused."""
    said: list[str] = []
    monkeypatch.setattr(st, "fragment", lambda look, **_: look)
    monkeypatch.setattr(st, "caption", said.append)

    def full() -> None:
        raise ComputationError("20 jobs of yours wait or run, as many as you may have; wait, or cancel some.")

    follow.watch(full, lambda: False, every=1.0)
    assert len(said) == 1 and said[0].startswith("20 jobs of yours wait or run")


@pytest.mark.parametrize(("pages", "every"), [(1, 0.4), (50, 5.0), (40, 0.4)])
def test_pages_look_as_often_as_they_want_until_they_are_many(pages: int, every: float) -> None:
    now = [0.0]
    looks = Looks(lambda: now[0])
    due, stretches, seen = [0.0] * pages, [1.0] * pages, 0
    for tick in range(1_200):  # a minute and before it another, in which they find their pace
        now[0] = tick / 10
        for page in range(pages):
            if now[0] >= due[page]:
                looks.note(stretches[page], "one")
                stretches[page] = looks.stretch()
                due[page] = now[0] + every * stretches[page]
                seen += tick >= 600
    wanted = pages * 60 / every
    most = max(TOGETHER * 60, wanted / MOST)
    assert 0.7 * min(wanted, most) <= seen <= 1.3 * min(wanted, most)


def test_of_many_jobs_some_are_listed_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    one = view("job")
    jobs = [replace(one, id=f"job-{number}") for number in range(500)]
    said: list[str] = []
    stopped: list[str] = []
    monkeypatch.setattr(frame, "_listed", lambda: jobs)
    monkeypatch.setattr(st, "markdown", said.append)
    monkeypatch.setattr(st, "caption", said.append)
    monkeypatch.setattr(st, "progress", lambda *_, **__: None)
    monkeypatch.setattr(frame, "stop_button", lambda job, **_: stopped.append(job.id))
    frame._list("job-1")
    assert said[0].startswith("**500 jobs**") and said[-1] == "… and 495 more, listed as these end."
    assert stopped == ["job-0", "job-2", "job-3", "job-4"], "its own job's progress stands further up"


def view(name: str) -> JobView:
    manager = JobManager()
    manager.submit(name, name, lambda _: None, lane="never")
    job = manager.wait(name, 5)
    assert job is not None
    return job


def test_a_figure_is_made_once_for_all_who_look_at_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    look = {"dark": False, "phone": False}
    drawn: list[go.Figure] = []
    monkeypatch.setattr(draw, "dark", lambda: look["dark"])
    monkeypatch.setattr(draw, "phone", lambda: look["phone"])
    monkeypatch.setattr(st, "plotly_chart", lambda figure, **_: drawn.append(figure))
    made: list[bool] = []

    def figure() -> go.Figure:
        made.append(look["dark"])
        fig = go.Figure([go.Scatter(y=[1, 2], name=str(place)) for place in range(7)])
        return fig.update_layout(title={"text": "T", "subtitle": {"text": "a note"}}, height=300)

    st.cache_resource.clear()
    for of, height in ((("a", 1), 0), (("a", 1), 0), (("a", 2), 0), (("a", 1), 200)):
        draw.chart(figure, "once", of=of, height=height)
    assert len(made) == 3 and drawn[0] is drawn[1] and drawn[0] is not drawn[2]
    assert drawn[0].layout.title.text == "T" and drawn[3].layout.title.text is None
    look["dark"] = True
    draw.chart(figure, "once", of=("a", 1))
    assert made == [False, False, False, True]
    look["phone"] = True
    for _ in range(3):  # the room for its legend is made once
        draw.chart(figure, "once", of=("a", 1))
    assert len(made) == 5 and drawn[-1].layout.height == drawn[-3].layout.height > 300
    st.cache_resource.clear()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_in_a_crowd_a_long_job_stands_back_and_what_a_page_waits_for_does_not() -> None:
    jobs, own = JobManager(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def nice(lane: str, number: int) -> int:
        key = f"{lane}-{number}"
        jobs.submit(key, key, lambda _: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), lane=lane)
        done = jobs.wait(key, 10.0)
        assert done is not None and done.state == "done"
        return done.result - own

    assert [nice(lane, 1) for lane in ("cpu", LIVE, STORED)] == [0, 0, 0]  # nobody waits for another
    jobs.crowded()
    back = min(BEHIND, 19 - own)
    assert [nice(lane, 2) for lane in ("cpu", LIVE, STORED)] == [back, 0, 0]
    assert nice("cpu", 3) == back  # once


def test_pages_that_wait_for_one_another_make_long_jobs_stand_back(monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    crowded: list[bool] = []
    monkeypatch.setattr(JobManager, "crowded", lambda _: crowded.append(True))
    enough = round(CROWD * TOGETHER * SECONDS)
    one_page = ["a"] * (2 * enough)  # a slow machine on which one page watches four bars
    few = [str(number) for number in range(PAGES)]
    assert not _crowd(few) and not _crowd(one_page) and not _crowd(one_page + few[2:]) and _crowd(one_page + few[1:])
    for looking, told in ((one_page, 0), (few[2:], 0), (few[1:2], 1)):
        for page in looking:
            looks_so_far().note(1.0, page)
        watch(lambda: None, lambda: False, every=1.0)
        assert len(crowded) == told
    st.cache_resource.clear()


def _crowd(looking: list[str]) -> bool:
    looks = Looks(lambda: 0.0)
    for page in looking:
        looks.note(1.0, page)
    return looks.crowd()


def test_runs_by_several_methods_on_the_same_prompts_share_the_model_s_two_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from eapgp.evaluation import runner
    from eapgp.ui.jobs import workshop

    made: list[str] = []

    class Runner:
        nbytes = 100

        def __init__(self, model: object, prompts: Any, **_: object) -> None:
            made.append(prompts)

    def run(name: str, prompts: str) -> Any:
        request = {"model": {"weights_hash": "a"}, "prompts": {"hash": prompts}, "metric": "logit-diff", "method": name}
        return SimpleNamespace(id=name + prompts, request=request, prompts=lambda: prompts)

    shop = workshop.Workshop()
    monkeypatch.setattr(runner, "CircuitRunner", Runner)
    monkeypatch.setattr(shop, "model_of", lambda *_: None)

    def ask(*names: str) -> list[str]:
        made.clear()
        for name in names:
            shop.runner("live", run(name[0], name[1:]), lambda *_: None)
        return made

    assert ask("ax", "bx", "ay", "bx", "cz", "aw") == ["x", "y", "z", "w"]
    assert ask("ax", "ay", "az", "aw") == [], "small ones are all kept"
    monkeypatch.setattr(workshop, "RUNNERS_BYTES", 150)
    assert ask("av", "aw", "az") == ["v"], "the two newest, and 150 bytes of others"
    assert ask("ax") == ["x"]
