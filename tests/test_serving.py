"""A public server: what it refuses, whose runs and jobs are whose, what no page may show, and the proxy before it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from proxy_made import PASSWORD, USER, nginx_before
from streamlit.testing.v1 import AppTest

from eapgp.cli import main
from eapgp.cli.dashboard import is_this_machine
from eapgp.errors import ComputationError, ModelError, RunError
from eapgp.models.catalogue import CATALOGUE
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.bundled import examples_folder
from eapgp.runs.compute import compute_run
from eapgp.runs.library import RunLibrary
from eapgp.runs.spec import RunSpec
from eapgp.runs.visitors import visitor_libraries
from eapgp.tasks import make_prompts
from eapgp.ui.base.policy import LOCAL, PUBLIC, Policy, policy
from eapgp.ui.base.routes import PAGES
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobManager
from eapgp.ui.jobs.server import VisitorJobs
from eapgp.ui.jobs.workshop import Workshop
from eapgp.ui.library.own_prompts import PromptStore
from tests.browser.conftest import free_port

ROOT = Path(__file__).resolve().parent.parent
ANNA, BERT = "a" * 32, "b" * 32

# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/etc", "~", ".", "owner/name", "gpt2-xl", "model.gguf", "owner/name@main"])
def test_only_listed_models_of_a_size(name: str) -> None:
    assert PUBLIC.refuses_model(name)
    assert not LOCAL.refuses_model(name)


def test_listed_models_with_their_own_tokenizer() -> None:
    small = [entry.name for entry in CATALOGUE if entry.parameters <= PUBLIC.parameters]
    assert "demo" in small and not any(PUBLIC.refuses_model(name) for name in small)
    assert "tokenizer" in PUBLIC.refuses_model("demo", "/etc")


def test_pairs_times_steps_times_size() -> None:
    """By hand: 10 pairs of EAP-IG with 5 steps take 10 · (2 + 5 + 2 · 5) = 170 passes over a pair."""
    spec = RunSpec(model="demo", task="ioi", method="eap-ig", options={"steps": 5}, n_pairs=10)
    size = next(entry.parameters for entry in CATALOGUE if entry.name == "demo")
    fits, over = (Policy(public=True, work=passes * size) for passes in (170, 169))
    assert not fits.refuses_run(spec)
    assert "170 passes, more than the 169" in over.refuses_run(spec)
    assert "513 pairs" in PUBLIC.refuses_run(RunSpec(model="demo", task="ioi", n_pairs=513))
    assert "900 pairs" in PUBLIC.refuses_run(RunSpec(model="demo", prompts_file="x.csv"), n_pairs=900)
    assert not LOCAL.refuses_run(RunSpec(model="demo", task="ioi", n_pairs=5000, method="exact"))


def test_room_on_the_disk(tmp_path: Path) -> None:
    home = tmp_path / "visitors" / "one"
    home.mkdir(parents=True)
    (home / "file").write_bytes(b"x" * 1000)
    Policy(public=True, visitor_bytes=1001, bytes=1001).check_room(home)
    with pytest.raises(RunError, match="your library"):
        Policy(public=True, visitor_bytes=999).check_room(home)
    with pytest.raises(RunError, match="this server's disk"):
        Policy(public=True, bytes=999).check_room(home)
    Policy(visitor_bytes=0, bytes=0).check_room(home)


def test_a_model_that_an_imported_run_names_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAPGP_PUBLIC", "1")
    with pytest.raises(ModelError, match="listed models only"):
        Workshop().model("cpu", "/etc", dtype="float32")
    with pytest.raises(ModelError, match="tokenizer"):
        Workshop().try_tokenizer(RunSpec(model="demo", task="ioi", tokenizer="/etc"))


# ---- jobs ----------------------------------------------------------------------------------------


def test_visitors_take_turns() -> None:
    """Twenty jobs of one and two of another: the other's are the second and the fourth."""
    manager, order, go = JobManager(), [], threading.Event()
    anna, bert = (VisitorJobs(manager, name, PUBLIC) for name in ("anna", "bert"))

    def work(name: str) -> Callable[..., None]:
        return lambda progress: (go.wait(10), order.append(name))[1]

    for place in range(20):
        anna.submit(f"a{place}", "", work(f"a{place}"))
    time.sleep(0.1)  # the first runs
    for place in range(2):
        bert.submit(f"b{place}", "", work(f"b{place}"))
    waiting = bert.view("b0"), bert.view("b1"), anna.view("a1")
    assert [job and job.position for job in waiting] == [1, 3, 2]
    go.set()
    anna.wait("a19", 10)
    assert order[:5] == ["a0", "b0", "a1", "b1", "a2"]
    assert order[5:] == [f"a{place}" for place in range(3, 20)]


def test_a_visitor_sees_and_stops_their_own_jobs_alone() -> None:
    manager, go = JobManager(), threading.Event()
    anna, bert = (VisitorJobs(manager, name, PUBLIC) for name in ("anna", "bert"))
    anna.submit("run-1", "", lambda progress: go.wait(10))
    assert [job.id for job in anna.live()] == ["run-1"]
    assert bert.live() == [] and bert.view("run-1") is None and bert.view("anna:run-1") is None
    bert.cancel("run-1")
    bert.cancel("anna:run-1")
    bert.submit("run-1", "", lambda progress: "bert's")
    go.set()
    done = anna.wait("run-1", 10), bert.wait("run-1", 10)
    assert [job and job.result for job in done] == [True, "bert's"]


def test_queues_have_an_end() -> None:
    manager, go = JobManager(), threading.Event()
    rules = Policy(public=True, visitor_jobs=2, jobs=3)
    anna, bert = (VisitorJobs(manager, name, rules) for name in ("anna", "bert"))
    for place in range(2):
        anna.submit(str(place), "", lambda progress: go.wait(10))
    anna.submit("1", "", lambda progress: None)  # the same job
    with pytest.raises(ComputationError, match="2 jobs of yours"):
        anna.submit("2", "", lambda progress: None)
    bert.submit("0", "", lambda progress: None)
    with pytest.raises(ComputationError, match="queue is full"):
        bert.submit("1", "", lambda progress: None)
    go.set()


def test_a_computation_has_an_end() -> None:
    now = [0.0]
    manager = JobManager(seconds=60, clock=lambda: now[0])

    def work(progress: Callable[[str, float], None]) -> None:
        progress("first", 0.1)
        now[0] += 61
        progress("second", 0.2)

    manager.submit("k", "", work)
    job = manager.wait("k", 10)
    assert job is not None and job.state == "failed" and "gives a computation 1 minutes" in job.message


# ---- pages ---------------------------------------------------------------------------------------

Open = Callable[..., AppTest]


@pytest.fixture
def open_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """`open_app(page, visitor=, **query)`: a public server's page."""
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home-of-the-server"))
    monkeypatch.setenv("EAPGP_PUBLIC", "1")
    monkeypatch.setenv("EAPGP_WARM_UP", "0")
    st.cache_resource.clear()

    def start(page: str = "", visitor: str = ANNA, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
        app.session_state["eapgp-visitor-key"] = visitor
        for name, value in query.items():
            app.query_params[name] = value
        if page:
            app.switch_page(f"pages/{page}.py")
        return app.run()

    yield start
    for job in server._manager().live():
        server._manager().wait(job.id, 60)
    st.cache_resource.clear()


def everything(app: AppTest) -> str:
    """All that was sent to the browser, as text."""
    texts = []

    def walk(block: Any) -> None:
        for child in block.children.values():
            texts.append(str(getattr(child, "proto", "")))
            if hasattr(child, "children"):
                walk(child)

    walk(app._tree)
    return "\n".join(texts)


@pytest.mark.parametrize("page", [name for name, _, _ in PAGES])
def test_no_page_shows_a_place_of_the_machine(open_app: Open, page: str, tmp_path: Path) -> None:
    app = open_app(page)
    assert not app.exception
    text = everything(app)
    assert len(text) > 2000
    for place in {str(tmp_path), str(ROOT), str(Path.home()) + "/", sys.prefix}:
        assert place not in text, text[max(0, text.index(place) - 200) : text.index(place) + 200]


def test_nothing_that_is_said_of_own_pairs_and_runs_shows_a_place(open_app: Open, tmp_path: Path) -> None:
    """The lines of a program that name a file of one's own, and errors that do."""
    home = tmp_path / "home-of-the-server" / "visitors" / hashlib.sha256(ANNA.encode()).hexdigest()[:24]
    pairs = make_prompts("ioi", 2).pairs
    own = PromptStore(home).add(PromptSet("custom", pairs, "logit-diff", {}), name="mine")
    spec = RunSpec(model="demo", task="mine", prompts_file=str(own.path), method="eap")
    run = compute_run(spec, library=RunLibrary(home))
    damaged = home / "runs" / "damaged"
    shutil.copytree(run.path, damaged)
    (damaged / "run.json").write_text("{")
    opened = [
        open_app("", run=run.id),
        open_app("runs", picked=run.id, tab="made"),
        open_app("faithfulness", runs=run.id, tab="code"),
        open_app("prompts", task=own.id),
    ]
    for app in opened:
        assert not app.exception
        texts = everything(app)
        assert str(tmp_path) not in texts, texts[texts.index(str(tmp_path)) - 300 :][:600]
    assert "VISITORS" in everything(opened[1])  # the name of the place instead


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"model": "/etc"}, "listed models only"),
        ({"model": "owner/name"}, "listed models only"),
        ({"model": "gpt2-xl"}, "million parameters are more than"),
        ({"tokenizer": "/etc"}, "no other tokenizer"),
    ],
)
def test_a_link_that_asks_for_too_much_is_told_so(open_app: Open, query: dict[str, str], text: str) -> None:
    app = open_app("", **query)
    assert not app.exception
    assert any(text in one.value.replace("\\", "") for one in app.warning), [one.value for one in app.warning]
    assert app.sidebar.selectbox(key="field-model").value == "demo"


def test_a_run_that_is_too_large_has_no_button(open_app: Open) -> None:
    app = open_app("", pairs="4000")
    button = app.sidebar.button(key="run-button")
    assert button.disabled and "4,000 pairs are more than the 512" in button.help


def test_runs_are_their_visitors(open_app: Open, tmp_path: Path) -> None:
    """Anna computes; Bert sees nothing of it, by no list and no link; published runs are seen by both."""
    app = open_app("", method="eap", pairs="3", task="sva")
    app.sidebar.button(key="run-button").click().run()
    homes = tmp_path / "home-of-the-server" / "visitors"
    deadline = time.monotonic() + 90
    while not (runs := list(homes.glob("*/runs/*/run.json"))) and time.monotonic() < deadline:
        time.sleep(0.3)
    [record] = runs
    run_id = record.parent.name
    assert ANNA not in str(record)
    home = record.parents[2]
    for path in (*home.rglob("*"), home):
        os.utime(path, (0, 0))
    anna, bert = open_app("runs"), open_app("runs", visitor=BERT)
    assert [one.days < 1 for one in visitor_libraries(homes.parent)] == [True], "opening a page is use"
    assert "Your runs · 1" in [one.value for one in anna.subheader]
    assert "Your runs · 0" in [one.value for one in bert.subheader]
    linked = open_app("", visitor=BERT, run=run_id)
    assert any("not in this library" in one.value.replace("\\", "") for one in linked.warning)
    example = next(path for path in (examples_folder() or Path()).iterdir() if (path / "run.json").is_file())
    published = tmp_path / "home-of-the-server" / "published" / "runs" / "class"
    shutil.copytree(example, published)
    before = [one.value for one in bert.subheader if "published" in one.value]
    after = [one.value for one in open_app("runs", visitor=BERT).subheader if "published" in one.value]
    assert [int(re.findall(r"\d+", one)[0]) for one in after] == [int(re.findall(r"\d+", before[0])[0]) + 1]


def test_without_public_nothing_of_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in {"": LOCAL, "0": LOCAL, "1": PUBLIC}.items():
        monkeypatch.setenv("EAPGP_PUBLIC", value)
        assert policy() is expected


# ---- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "public", "warned"),
    [
        ([], "0", False),
        (["--public"], "1", False),
        (["--address", "0.0.0.0"], "0", True),
        (["--address", "0.0.0.0", "--public"], "1", False),
        (["--address", "127.0.0.1"], "0", False),
    ],
)
def test_the_command_says_what_an_address_means(
    arguments: list[str],
    public: str,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(
        "eapgp.cli.dashboard.run_until_stopped", lambda line, environment, cwd: bool(ran.append((line, environment)))
    )
    assert main(["app", "--no-browser", "--port", str(free_port()), *arguments]) == 0
    [(line, environment)] = ran
    assert environment["EAPGP_PUBLIC"] == public
    assert ("--server.enableXsrfProtection" in line) == (public == "1")
    assert ("without --public" in capsys.readouterr().err) == warned


def test_addresses_of_this_machine_alone() -> None:
    assert all(map(is_this_machine, ["localhost", "127.0.0.1", "127.8.0.1", "::1"]))
    assert not any(map(is_this_machine, ["0.0.0.0", "::", "192.168.1.4", "circuits.example.org"]))


# ---- the proxy -----------------------------------------------------------------------------------


class Behind(BaseHTTPRequestHandler):
    """What stands behind the proxy: tells what reached it."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    """Where nginx serves `Behind`."""
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    try:
        with nginx_before(behind.server_port, tmp_path) as port:
            yield f"https://127.0.0.1:{port}"
    finally:
        behind.shutdown()
        behind.server_close()


def answer(url: str, *, user: str = "") -> Any:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    return urllib.request.urlopen(request, context=context, timeout=10)


def test_the_proxy_asks_who_it_is_and_sends_the_headers(proxy: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        answer(proxy)
    assert refused.value.code == 401
    with answer(proxy, user=f"{USER}:{PASSWORD}") as page:
        reached = json.loads(page.read())
        headers = page.headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
    assert "Authorization" not in reached and reached["Host"] == proxy.removeprefix("https://")
