"""What keeps a page cheap where a class looks at it: settings without a lock, short lists of jobs, tables' texts."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import streamlit as st
from streamlit import config
from streamlit.elements.lib.pandas_styler_utils import marshall_styler
from streamlit.proto.ArrowData_pb2 import ArrowData

from eapgp.errors import ComputationError
from eapgp.numerals import score
from eapgp.ui.base.draw import MOST_WRITTEN, written
from eapgp.ui.jobs import follow, server
from eapgp.ui.jobs.manager import JobManager, JobView
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


def test_a_busy_server_is_asked_less_often() -> None:
    assert follow.pause(0.4, 0) == 0.4 and follow.pause(0.4, 1) < 0.5
    assert follow.pause(0.4, 40) == pytest.approx(2.4) and follow.pause(0.4, 10_000) == follow.SELDOM
    assert follow.pause(5.0, 100) == 5.0, "never more often than on a quiet one"


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
