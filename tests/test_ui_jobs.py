"""The job manager: shared jobs, queueing, cancelling, and what is said when work fails."""

from __future__ import annotations

import threading
import time

import pytest

from eapgp.errors import OptionError
from eapgp.ui.jobs.manager import JobManager, Progress


def _gate() -> tuple[threading.Event, threading.Event]:
    return threading.Event(), threading.Event()


def test_result_and_progress_of_one_job() -> None:
    manager = JobManager()

    def work(progress: Progress) -> int:
        progress("first", 0.5)
        return 42

    seen = manager.wait(manager.submit("k", "Label", work), 5)
    assert seen is not None and (seen.state, seen.result, seen.label) == ("done", 42, "Label")
    assert (seen.phase, seen.fraction) == ("first", 0.5)
    assert manager.view("other") is None


def test_the_same_key_runs_once_while_it_lives_and_after_it_is_done() -> None:
    manager, calls, go = JobManager(), [], threading.Event()

    def work(progress: Progress) -> str:
        calls.append(1)
        go.wait(5)
        return "run"

    assert manager.submit("k", "", work) == manager.submit("k", "", work)
    go.set()
    manager.wait("k", 5)
    manager.submit("k", "", work)
    assert manager.view("k").result == "run" and len(calls) == 1  # type: ignore[union-attr]
    manager.forget("k")
    manager.submit("k", "", work)
    manager.wait("k", 5)
    assert len(calls) == 2


def test_one_at_a_time_in_a_lane_with_positions_and_lanes_beside_each_other() -> None:
    manager, (go, started) = JobManager(), _gate()
    running = [0]

    def work(progress: Progress) -> None:
        running[0] += 1
        assert running[0] == 1
        started.set()
        go.wait(5)
        running[0] -= 1

    for key in "abc":
        manager.submit(key, key, work)
    started.wait(5)
    assert [manager.view(k).position for k in "abc"] == [0, 1, 2]  # type: ignore[union-attr]
    assert [view.id for view in manager.live()] == ["a", "b", "c"]
    other = manager.wait(manager.submit("x", "", lambda progress: 1, lane="second"), 5)
    assert other is not None and other.state == "done"
    go.set()
    assert [manager.wait(k, 5).state for k in "abc"] == ["done"] * 3  # type: ignore[union-attr]


def test_cancel_of_a_running_job_is_seen_at_once_and_frees_the_lane_within_a_second() -> None:
    manager, started = JobManager(), threading.Event()
    ticks = []

    def work(progress: Progress) -> None:
        started.set()
        for step in range(10_000):
            progress("loop", step / 10_000)
            ticks.append(step)
            time.sleep(0.01)

    manager.submit("long", "", work)
    started.wait(5)
    before = time.monotonic()
    manager.cancel("long")
    assert manager.view("long").state == "cancelled"  # type: ignore[union-attr]
    following = manager.wait(manager.submit("next", "", lambda progress: "ran"), 5)
    assert following is not None and following.result == "ran"
    assert time.monotonic() - before < 1
    assert len(ticks) < 1000


def test_a_cancelled_key_can_be_run_again_and_a_queued_job_is_dropped_unrun() -> None:
    manager, (go, started) = JobManager(), _gate()
    calls = []

    def block(progress: Progress) -> None:
        started.set()
        go.wait(5)

    manager.submit("block", "", block)
    started.wait(5)
    manager.submit("k", "", calls.append)
    manager.cancel("k")
    go.set()
    manager.wait("block", 5)
    assert calls == [] and manager.view("k").state == "cancelled"  # type: ignore[union-attr]
    again = manager.wait(manager.submit("k", "", lambda progress: "second"), 5)
    assert again is not None and again.result == "second"


def test_work_that_ignores_the_cancel_does_not_turn_it_into_done() -> None:
    manager, (go, started) = JobManager(), _gate()

    def stubborn(progress: Progress) -> str:
        started.set()
        go.wait(5)
        return "late"

    manager.submit("k", "", stubborn)
    started.wait(5)
    manager.cancel("k")
    go.set()
    manager.wait(manager.submit("after", "", lambda progress: None), 5)
    assert manager.view("k").state == "cancelled" and manager.view("k").result is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OptionError("steps must be at least 1; got 0.\nsecond line"), "steps must be at least 1; got 0."),
        (MemoryError(), "Not enough memory"),
        (KeyError("z"), "Unexpected error (KeyError: 'z')"),
    ],
)
def test_failure_is_one_line_and_never_a_traceback(error: Exception, said: str) -> None:
    manager = JobManager()

    def work(progress: Progress) -> None:
        raise error

    seen = manager.wait(manager.submit("k", "", work), 5)
    assert seen is not None and seen.state == "failed"
    assert seen.message.startswith(said) and "\n" not in seen.message and "Traceback" not in seen.message


def test_a_slot_keeps_only_its_newest_job_unless_another_slot_wants_the_older_one() -> None:
    manager, (go, started) = JobManager(), _gate()

    def block(progress: Progress) -> None:
        started.set()
        go.wait(5)

    manager.submit("block", "", block)
    started.wait(5)
    manager.submit("k=10", "", lambda progress: 10, slot="tab 1")
    manager.submit("k=20", "", lambda progress: 20, slot="tab 1")
    manager.submit("k=20", "", lambda progress: 20, slot="tab 2")
    manager.submit("k=30", "", lambda progress: 30, slot="tab 1")
    go.set()
    manager.wait("k=30", 5)
    states = {key: manager.view(key).state for key in ("k=10", "k=20", "k=30")}  # type: ignore[union-attr]
    assert states == {"k=10": "cancelled", "k=20": "done", "k=30": "done"}


def test_time_left_follows_from_the_phase() -> None:
    now = [100.0]
    manager = JobManager(clock=lambda: now[0])
    (reported, go) = _gate()

    def work(progress: Progress) -> None:
        progress("slow", 0.0)
        now[0] += 10
        progress("slow", 0.25)
        reported.set()
        go.wait(5)

    manager.submit("k", "", work)
    reported.wait(5)
    seen = manager.view("k")
    assert seen is not None and seen.seconds == pytest.approx(10) and seen.seconds_left == pytest.approx(30)
    go.set()


def test_a_lane_that_gets_no_thread_leaves_no_job_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    manager = JobManager()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError):
            manager.submit("a", "", lambda progress: 1, slot="place")
    assert manager.view("a") is None
    job = manager.wait(manager.submit("a", "", lambda progress: 1, slot="place"), 10)
    assert job is not None and job.state == "done"


def test_old_finished_jobs_are_forgotten() -> None:
    manager = JobManager(keep=3)
    for key in "abcdef":
        manager.wait(manager.submit(key, "", lambda progress: None), 5)
    assert manager.view("a") is None and manager.view("f") is not None


def test_a_job_behind_a_cancelled_one_says_what_it_waits_for() -> None:
    manager, (go, started) = JobManager(), _gate()

    def deaf(progress: Progress) -> None:
        started.set()
        go.wait(5)
        progress("later", 0.5)

    manager.submit("deaf", "", deaf)
    assert started.wait(5)
    manager.cancel("deaf")
    assert manager.view("deaf").state == "cancelled"  # type: ignore[union-attr]
    manager.submit("next", "", lambda progress: 1)
    waiting = manager.view("next")
    assert waiting is not None and (waiting.state, waiting.position, waiting.stopping) == ("queued", 0, True)
    go.set()
    done = manager.wait("next", 5)
    assert done is not None and done.state == "done" and not done.stopping


def test_every_job_imports_the_libraries_first_and_one_thread_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second thread that imports transformers meanwhile would find it without its names."""
    from eapgp.ui.jobs import workshop as work

    order: list[str] = []

    def slow_import() -> None:
        order.append("begun")
        time.sleep(0.2)
        order.append("imported")

    monkeypatch.setattr(work, "import_for_good", slow_import)
    jobs = [work.with_gradients(lambda progress: order.append("work")) for _ in range(2)]
    threads = [threading.Thread(target=job, args=(lambda *_: None,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order.count("work") == 2
    assert [what for what in order if what != "work"] == ["begun", "imported"] * 2, "one after the other"
    assert order.index("work") > order.index("imported")


def test_quick_work_leaves_cores_to_the_browser_and_other_threads_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from eapgp.ui.jobs import workshop as work

    monkeypatch.setattr(work, "all_threads", lambda: 6)
    monkeypatch.setattr(work, "import_for_good", lambda: None)
    before, found = torch.get_num_threads(), []

    def lane() -> None:
        for quick in (True, False, True):
            work.with_gradients(lambda progress: found.append(torch.get_num_threads()), quick=quick)(lambda *_: None)

    thread = threading.Thread(target=lane)
    thread.start()
    thread.join()
    assert found == [3, 6, 3]
    assert torch.get_num_threads() == before


class PanicException(BaseException):
    """As pyo3 raises it: no Exception."""


@pytest.mark.parametrize("error", [PanicException("a library panicked"), SystemExit(3), KeyboardInterrupt()])
def test_no_job_ends_its_lane(error: BaseException) -> None:
    def work(progress: Progress) -> None:
        raise error

    jobs = JobManager()
    failed = jobs.wait(jobs.submit("bad", "bad", work), 5)
    assert failed is not None
    assert failed.state == "failed"
    assert type(error).__name__ in failed.message
    assert "\n" not in failed.message
    after = jobs.wait(jobs.submit("next", "next", lambda progress: 7), 5)
    assert after is not None
    assert (after.state, after.result) == ("done", 7)
