"""Loading from a hub: against one on loopback that speaks its protocol (hub_server)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_made import one_thread, tiny_folder
from hub_server import Hub, hub_server, refusing_address, silent_server

from eapgp.errors import Cancelled, ModelError
from eapgp.models import load_model
from eapgp.models.catalogue import in_hub_cache
from eapgp.models.hub import HubName, cached, fetch
from eapgp.runs.compute import compute_run
from eapgp.runs.library import RunLibrary
from eapgp.runs.spec import RunSpec

one_thread()
ROOT = Path(__file__).resolve().parent.parent
NAME = "people/tiny"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub with a tiny model, an empty cache and nobody logged in."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("eapgp.models.hub.PAUSE", 0.01)
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.add(NAME, tiny_folder("llama"), README__md=b"about", training__json=b"{}")
        yield server


def large(hub: Hub, n_bytes: int = 600_000) -> None:
    """Make the tiny model's weights large; they are fetched, not loaded."""
    hub.files[NAME, "main"]["model.safetensors"] = os.urandom(n_bytes)


def refused(name: str, *parts: str, **options: Any) -> str:
    with pytest.raises(ModelError) as error:
        load_model(name, device="cpu", **options)
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return text


# ---- what is fetched ---------------------------------------------------------------------------


def test_a_model_is_fetched_with_no_request_but_for_its_files(hub: Hub) -> None:
    heard: list[tuple[str, float]] = []
    model = load_model(NAME, device="cpu", progress=lambda phase, fraction: heard.append((phase, fraction)))
    assert model.weights_hash == load_model(str(tiny_folder("llama")), device="cpu").weights_hash
    assert model.tokenizer_hash == load_model(str(tiny_folder("llama")), device="cpu").tokenizer_hash
    assert model.id == NAME
    commit = hub.commit(NAME, "main")
    assert model.commit == model.describe()["commit"] == commit
    files = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    at = f"/{NAME}/resolve/{commit}/"
    blob = f"/blobs/{NAME}/{commit}/model.safetensors"
    assert hub.requests == [
        ("GET", f"/api/models/{NAME}/revision/main"),
        *(("HEAD", at + file) for file in files),
        *(("GET", at + file) for file in files),
        ("GET", blob),
    ]
    total = sum(len(hub.files[NAME, "main"][file]) for file in files)
    fetching = [(phase, fraction) for phase, fraction in heard if phase.startswith("fetching")]
    assert {phase for phase, _ in fetching} == {f"fetching {NAME} ({total / 1e6:,.1f} MB)"}
    fractions = [fraction for _, fraction in fetching]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_the_second_time_only_asks_whether_there_is_something_new(hub: Hub) -> None:
    load_model(NAME, device="cpu")
    hub.requests.clear()
    load_model(NAME, device="cpu")
    assert hub.requests == [("GET", f"/api/models/{NAME}/revision/main")]
    hub.add(NAME, tiny_folder("llama", seed=5))
    newer = load_model(NAME, device="cpu")
    assert newer.weights_hash == load_model(str(tiny_folder("llama", seed=5)), device="cpu").weights_hash


def test_the_cache_is_the_hub_library_s(hub: Hub) -> None:
    """What is fetched here is there for other programs, and the reverse."""
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    folder = fetch(HubName(NAME))
    assert try_to_load_from_cache(NAME, "model.safetensors") == str(folder / "model.safetensors")
    (repo,) = scan_cache_dir().repos
    (revision,) = repo.revisions
    assert (repo.repo_id, revision.commit_hash, revision.refs) == (NAME, hub.commit(NAME, "main"), {"main"})


def test_a_checkpoint_in_several_files(hub: Hub, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "sharded"
    shutil.copytree(tiny_folder("llama"), folder, ignore=shutil.ignore_patterns("model.safetensors"))
    AutoModelForCausalLM.from_pretrained(tiny_folder("llama")).save_pretrained(folder, max_shard_size="20kB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    hub.add("people/sharded", folder)
    model = load_model("people/sharded", device="cpu")
    assert model.weights_hash == load_model(str(tiny_folder("llama")), device="cpu").weights_hash


def test_a_mirror_that_passes_on_files_only(hub: Hub) -> None:
    hub.info = False
    model = load_model(NAME, device="cpu")
    assert model.weights_hash == load_model(str(tiny_folder("llama")), device="cpu").weights_hash


def test_a_tokenizer_by_the_id_of_its_model(hub: Hub) -> None:
    model = load_model(str(tiny_folder("llama")), tokenizer=NAME, device="cpu")
    assert model.tokenizer_hash == load_model(str(tiny_folder("llama")), device="cpu").tokenizer_hash
    assert not any("safetensors" in path for _, path in hub.requests)


# ---- revisions ---------------------------------------------------------------------------------


def test_revisions_are_models_of_their_own(hub: Hub, tmp_path: Path) -> None:
    hub.add(NAME, tiny_folder("llama", seed=5), revision="step1000")
    first, later = load_model(NAME, device="cpu"), load_model(f"{NAME}@step1000", device="cpu")
    assert later.id == f"{NAME}@step1000"
    assert later.weights_hash != first.weights_hash
    commit = hub.commit(NAME, "step1000")
    hub.requests.clear()
    assert not in_hub_cache(f"{NAME}@elsewhere")
    assert all(in_hub_cache(name) for name in (NAME, f"{NAME}@step1000", f"{NAME}@{commit}"))
    assert load_model(f"{NAME}@{commit}", device="cpu").weights_hash == later.weights_hash
    assert hub.requests == [], "a commit never changes: nothing is asked"
    pair = {"clean": "w3 w4 w5", "corrupted": "w3 w9 w5", "correct": "w7", "incorrect": "w8"}
    library = RunLibrary(tmp_path / "home")
    specs = [RunSpec(model=name, prompts=(pair,), method="eap", device="cpu") for name in (NAME, f"{NAME}@step1000")]
    runs = [compute_run(spec, library=library) for spec in specs]
    assert runs[0].id != runs[1].id
    assert [run.request["model"]["id"] for run in runs] == [NAME, f"{NAME}@step1000"]
    assert runs[1].provenance["provenance"]["commit"] == commit


def test_a_revision_that_is_not_there(hub: Hub) -> None:
    refused(f"{NAME}@nowhere", "has no revision 'nowhere'", f"{hub.url}/{NAME}")


def test_names_of_the_catalogue_have_revisions_too(hub: Hub) -> None:
    hub.add("EleutherAI/pythia-70m", tiny_folder("pythia"), revision="step512")
    model = load_model("pythia-70m@step512", device="cpu")
    assert model.weights_hash == load_model(str(tiny_folder("pythia")), device="cpu").weights_hash


@pytest.mark.parametrize("text", ["gpt2", "./a/b", "/a/b", "~/a", "a/b/c", "a/b@", "../b", "a/"])
def test_what_is_no_hub_name(text: str) -> None:
    assert HubName.of(text) is None


# ---- what is refused ---------------------------------------------------------------------------


def test_a_gated_model_says_how_to_get_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated[NAME] = "hf_right"
    parts = ("is gated", f"accept its terms on {hub.url}/{NAME}", "'hf auth login'", "HF_TOKEN")
    refused(NAME, "(401)", *parts)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused(NAME, "(403)", *parts)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert load_model(NAME, device="cpu").id == NAME
    sent = {host.split(":")[0] for host, token in hub.tokens if token}
    assert sent == {"127.0.0.1"}, "the token went to the hub alone, not to the place it sends to for large files"


def test_a_model_that_is_not_there(hub: Hub) -> None:
    refused("people/none", "the hub has none of that name", "private or gated", "'hf auth login'")


def test_pickled_weights_are_not_fetched(hub: Hub) -> None:
    hub.add("people/old", tiny_folder("llama"), without=("model.safetensors",), pytorch_model__bin=b"pickled")
    refused("people/old", "pickled weights only (pytorch_model.bin)", "eapgp models convert people/old")
    assert not any("pytorch_model" in path or "resolve" in path for _, path in hub.requests)


def test_an_adapter_says_how_to_merge_it(hub: Hub, tmp_path: Path) -> None:
    hub.files["people/lora", "main"] = {"adapter_config.json": b"{}", "adapter_model.safetensors": b""}
    refused("people/lora", "is an adapter", "merge_and_unload()", "people/lora")
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(str(tmp_path), "is an adapter", "merge_and_unload()")


def test_what_came_is_held_against_what_the_hub_says(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Hub.at

    def altered(self: Hub, name: str, revision: str) -> Any:
        commit, held = right(self, name, revision) or ("", {})
        if any(path.startswith("/blobs/") for _, path in self.requests[-1:]):
            held = held | {"model.safetensors": held["model.safetensors"][::-1]}
        return commit, held

    monkeypatch.setattr(Hub, "at", altered)
    refused(NAME, "model.safetensors is not what the hub says it is")
    monkeypatch.setattr(Hub, "at", right)
    assert load_model(NAME, device="cpu").id == NAME


def test_no_room_on_the_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eapgp.models.hub.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))  # type: ignore[attr-defined]
    refused(NAME, "of free disk", "HF_HOME")
    assert not any(method == "GET" and "resolve" in path for method, path in hub.requests)


# ---- broken off --------------------------------------------------------------------------------


def test_a_cut_connection_is_taken_up_again_at_once(hub: Hub) -> None:
    large(hub)
    hub.cut_after, hub.cuts = 250_000, 2
    folder = fetch(HubName(NAME))
    assert (folder / "model.safetensors").read_bytes() == hub.files[NAME, "main"]["model.safetensors"]
    assert hub.ranges == ["bytes=250000-", "bytes=500000-"]


def test_what_broke_off_goes_on_at_the_next_try(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    large(hub)
    at_once = Hub.commit(hub, NAME, "main")
    monkeypatch.setattr("eapgp.models.hub.TRIES", 1)
    hub.cut_after, hub.cuts = 250_000, 1

    def cut_now(phase: str, fraction: float) -> None:
        if fraction > 0.3:
            hub.broken = 503

    with pytest.raises(ModelError, match=r"503|broke off after 0\.2 of 0\.6 MB"):
        fetch(HubName(NAME), progress=cut_now)
    assert cached(HubName(NAME)) is None
    hub.broken = 0
    folder = fetch(HubName(NAME))
    assert folder.name == at_once
    assert (folder / "model.safetensors").read_bytes() == hub.files[NAME, "main"]["model.safetensors"]
    assert hub.ranges[-1] == "bytes=250000-"


def test_cancelled_soon_and_resumed(hub: Hub) -> None:
    large(hub, 4_000_000)
    hub.slowly = 0.02

    def stop(phase: str, fraction: float) -> None:
        if phase.startswith("fetching") and fraction > 0.2:
            raise Cancelled("enough")

    started = time.monotonic()
    with pytest.raises(Cancelled, match="enough"):
        fetch(HubName(NAME), progress=stop)
    assert time.monotonic() - started < 4
    hub.slowly = 0.0
    folder = fetch(HubName(NAME))
    assert (folder / "model.safetensors").read_bytes() == hub.files[NAME, "main"]["model.safetensors"]
    (asked,) = hub.ranges
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 500_000


def test_a_job_of_the_dashboard_shows_the_download_and_stops_it(hub: Hub) -> None:
    from eapgp.ui.jobs.manager import JobManager
    from eapgp.ui.jobs.workshop import Workshop

    large(hub, 4_000_000)
    hub.slowly = 0.02
    jobs, shop = JobManager(), Workshop()
    job = jobs.submit("fetch", "a model", lambda progress: shop.model("cpu", NAME, device="cpu", progress=progress))
    deadline = time.monotonic() + 60  # the libraries are imported first
    while (view := jobs.view(job)) and view.live and view.fraction < 0.1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert view is not None
    assert (view.state, view.phase) == ("running", f"fetching {NAME} (4.0 MB)")
    jobs.cancel(job)
    after = jobs.submit("next", "the next job", lambda progress: "done")
    seen = jobs.wait(after, 3)
    assert seen is not None
    assert (seen.state, seen.result) == ("done", "done"), "the lane is free at the next bytes"


# ---- a hub that does not answer ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["silent", "refusing", "failing", "gone"])
def test_the_cache_is_read_within_seconds_where_the_hub_does_not_answer(
    how: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_model(NAME, device="cpu").weights_hash
    with silent_server() as silent:
        if how in ("silent", "refusing"):
            monkeypatch.setenv("HF_ENDPOINT", silent if how == "silent" else refusing_address())
        hub.broken = {"failing": 503, "gone": 404}.get(how, 0)
        started = time.monotonic()
        assert load_model(NAME, device="cpu").weights_hash == before
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("how", ["silent", "refusing", "failing"])
def test_what_was_never_fetched_is_refused_in_one_line(how: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eapgp.models.hub.PATIENCE", 1.0)
    with silent_server() as silent:
        if how in ("silent", "refusing"):
            monkeypatch.setenv("HF_ENDPOINT", silent if how == "silent" else refusing_address())
        hub.broken = 503
        refused(NAME, "could not be fetched", "not in the local cache", "random weights")


def test_waiting_for_the_hub_can_be_cancelled(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    def stop(phase: str, fraction: float) -> None:
        raise Cancelled

    with silent_server() as silent:
        monkeypatch.setenv("HF_ENDPOINT", silent)
        started = time.monotonic()
        with pytest.raises(Cancelled):
            fetch(HubName(NAME), progress=stop)
        assert time.monotonic() - started < 1


def test_offline_asks_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model(NAME, device="cpu")
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_model(NAME, device="cpu").id == NAME
    refused("people/other", "offline mode is enabled")
    assert hub.requests == []


# ---- folders that are named like something else ------------------------------------------------


def test_a_folder_named_like_a_model_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    ours = load_model("demo", device="cpu")
    assert ours.architecture == "GPT2LMHeadModel"
    assert any("'./demo'" in note for note in ours.notes)
    theirs = load_model("./demo", device="cpu")
    assert theirs.architecture == "LlamaForCausalLM"
    assert theirs.notes == ()


# ---- the command line, with the libraries as a user's process has them -------------------------


def test_the_command_line_fetches_with_progress_and_no_other_request(hub: Hub, tmp_path: Path) -> None:
    """A process of its own: libraries read their settings when they are imported."""
    (tmp_path / "pairs.csv").write_text("clean,corrupted,correct,incorrect\nw3 w4 w5,w3 w9 w5,w7,w8\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "EAPGP_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "eapgp", "attribute", "--model", NAME, "--prompts", "pairs.csv", "--method", "eap"]
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]
    assert f"fetching {NAME} (" in done.stderr
    kinds = {path.split("/")[1] if path.startswith(("/api", "/blobs")) else "files" for _, path in hub.requests}
    assert kinds == {"api", "blobs", "files"}
    assert [path for _, path in hub.requests if path.startswith("/api")] == [f"/api/models/{NAME}/revision/main"]
