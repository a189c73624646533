"""The run library: what is stored comes back bit for bit, and damage is told, not returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runs_made import GRAPH, FakeModel, assert_same, made_attribution, made_prompts, made_request, same_bits

from eapgp.attribution.result import EdgeScores
from eapgp.errors import OptionError, RunError
from eapgp.graph import Graph
from eapgp.models.store import set_title
from eapgp.runs import RunLibrary, RunSpec, copy_run, make_request, open_run, request_key, write_run
from eapgp.runs.arrays import FORMAT_VERSION, Migration, migrate_arrays, migrate_record
from eapgp.runs.files import canonical, plain
from eapgp.runs.info import RunInfo, model_title

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def library(tmp_path: Path) -> RunLibrary:
    return RunLibrary(tmp_path / "home")


def store(library: RunLibrary, seed: int = 0, **changes: Any) -> Any:
    prompts = made_prompts()
    return library.save(made_attribution(seed), made_request(prompts, seed, **changes), prompts, device="cpu")


@pytest.mark.parametrize(("paths", "pairs"), [(True, True), (False, False), (True, False)])
def test_a_run_comes_back_bit_for_bit(library: RunLibrary, paths: bool, pairs: bool) -> None:
    prompts, result = made_prompts(), made_attribution(paths=paths, pairs=pairs)
    saved = library.save(result, made_request(prompts), prompts, device="cpu")
    run = open_run(saved.path)
    assert_same(run.attribution(), result)
    assert run.prompts() == prompts
    assert run.prompts().origin == prompts.origin
    assert (run.path / "path.safetensors").exists() == paths
    run.verify()


def test_the_scores_of_a_large_graph_are_stored_by_edge_and_come_back_bit_for_bit(
    library: RunLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    monkeypatch.setattr("eapgp.runs.arrays.EDGES_ALONE", GRAPH.mask.size - 1)
    prompts, result = made_prompts(), made_attribution()
    saved = library.save(result, made_request(prompts), prompts)
    assert load_file(saved.path / "scores.safetensors")["scores"].shape == (GRAPH.n_edges,)
    assert_same(open_run(saved.path).attribution(), result)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_keep_their_dtype_and_memory_order_does_not_matter(library: RunLibrary, dtype: Any) -> None:
    values = np.asfortranarray(made_attribution().scores.values.astype(dtype))
    result = replace(made_attribution(), scores=EdgeScores(GRAPH, values))
    prompts = made_prompts()
    run = library.save(result, made_request(prompts), prompts)
    assert run.scores().values.dtype == dtype
    assert same_bits(np.ascontiguousarray(run.scores().values), np.ascontiguousarray(values))


def test_everybody_may_read_every_file_of_a_run(library: RunLibrary) -> None:
    run = store(library)
    assert {path.stat().st_mode & 0o777 for path in run.path.iterdir()} == {0o644}


def test_the_record_says_what_was_computed_and_how(library: RunLibrary) -> None:
    run = store(library)
    record = json.loads((run.path / "run.json").read_text())
    result = made_attribution()
    assert record["format_version"] == FORMAT_VERSION
    assert record["request"]["model"] == {
        "id": "tiny",
        "weights_hash": FakeModel.weights_hash,
        "tokenizer_hash": FakeModel.tokenizer_hash,
        "dtype": "float32",
    }
    assert record["request"]["prompts"] == {"hash": made_prompts().hash, "n_pairs": 4}
    assert record["device"] == "cpu"
    assert record["metric_clean"]["pairs"] == result.metric_clean.tolist()
    assert record["metric_clean"]["mean"] == pytest.approx(result.metric_clean.mean())
    assert record["forward_passes"] == 4 and record["backward_passes"] == 6
    assert record["messages"] == list(result.messages)
    assert {"torch", "transformer_lens", "numpy", "python", "eapgp"} <= set(record["libraries"])


def test_nan_never_reaches_the_json(library: RunLibrary) -> None:
    prompts = made_prompts()
    result = replace(made_attribution(), metric_clean=np.array([np.nan, 1.0, np.inf, 2.0]))
    run = library.save(result, made_request(prompts), prompts)
    text = (run.path / "run.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["metric_clean"]["pairs"] == [None, 1.0, None, 2.0]
    assert same_bits(run.attribution().metric_clean, result.metric_clean)


def test_the_name_is_the_hash_of_the_request_only(library: RunLibrary) -> None:
    prompts = made_prompts()
    request = made_request(prompts)
    run = library.save(replace(made_attribution(), seconds=99.0), request, prompts, device="cuda:3")
    assert run.path == library.home / "runs" / request_key(request)
    assert "cuda:3" not in canonical(request)


def test_equal_requests_have_one_key_whatever_the_order_and_types() -> None:
    prompts = made_prompts()
    one = made_request(prompts, options={"steps": 5, "step": 0.1, "edges": ("a", "b")})
    other = made_request(prompts, options={"edges": ["a", "b"], "step": np.float64(0.1), "steps": np.int64(5)})
    assert request_key(one) == request_key(dict(reversed(list(other.items()))))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "eap"},
        {"options": {"steps": 4, "step": "relative", "objective": "all"}},
        {"metric": "prob-diff"},
        {"seed": 1},
        {"intervention": "zero"},
        {"keep_pairs": True},
    ],
)
def test_every_part_of_a_request_changes_its_key(changes: dict[str, Any]) -> None:
    prompts = made_prompts()
    assert request_key(made_request(prompts)) != request_key(made_request(prompts, **changes))


@pytest.mark.parametrize("attribute", ["id", "weights_hash", "tokenizer_hash", "dtype"])
def test_every_part_of_the_model_changes_the_key(attribute: str) -> None:
    other = FakeModel()
    setattr(other, attribute, "other")
    given: dict[str, Any] = {"method": "eap", "options": {}, "metric": "logit-diff"}
    prompts = made_prompts()
    assert request_key(make_request(FakeModel(), prompts, **given)) != request_key(
        make_request(other, prompts, **given)
    )
    fewer = make_request(FakeModel(), prompts.take(3), **given)
    assert request_key(make_request(FakeModel(), prompts, **given)) != request_key(fewer)


def test_keys_are_the_same_in_another_process() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from runs_made import made_prompts, made_request\n"
        "from eapgp.runs import RunSpec, request_key\n"
        "print(request_key(made_request(made_prompts())), RunSpec(options={'steps': 3, 'step': 'unit'}).job_key())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    here = RunSpec(options={"step": "unit", "steps": 3}).job_key()
    assert answer.stdout.split() == [request_key(made_request(made_prompts())), here]


def test_reading_runs_imports_no_torch(library: RunLibrary) -> None:
    run = store(library)
    code = (
        "import sys\nfrom eapgp.runs import RunLibrary\n"
        f"library = RunLibrary({str(library.home)!r})\nlibrary.list()\nlibrary.open({run.id!r}).attribution()\n"
        "print([name for name in ('torch', 'transformer_lens', 'transformers', 'streamlit') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_find_answers_an_identical_request_only(library: RunLibrary) -> None:
    run = store(library)
    found = library.find(made_request(made_prompts()))
    assert found is not None and found.id == run.id and found.cached and not run.cached
    assert library.find(made_request(made_prompts(), seed=5)) is None


def test_a_run_with_pair_scores_answers_a_request_without_them_but_not_the_reverse(library: RunLibrary) -> None:
    store(library, keep_pairs=True)
    found = library.find(made_request(made_prompts()))
    assert found is not None and found.request["keep_pairs"]
    other = RunLibrary(library.home.parent / "other")
    store(other)
    assert other.find(made_request(made_prompts(), keep_pairs=True)) is None


def test_saving_again_keeps_the_first_and_replace_takes_the_new_one(library: RunLibrary) -> None:
    first = store(library)
    first.add_evaluation("curve", {"x": 1})
    again = store(library)
    assert again.evaluation() == {"curve": {"x": 1}}
    prompts = made_prompts()
    changed = made_attribution(9)
    new = library.save(changed, made_request(prompts), prompts, replace=True)
    assert_same(new.attribution(), changed)
    assert new.evaluation() == {} and library.deleted() == [first.id]
    assert list((library.home / "tmp").iterdir()) == []


def test_a_damaged_run_is_no_answer_and_is_replaced(library: RunLibrary) -> None:
    run = store(library)
    (run.path / "scores.safetensors").unlink()
    assert library.find(run.request) is None
    again = store(library)
    assert_same(again.attribution(), made_attribution())


@pytest.mark.parametrize("file", ["run.json", "prompts.json", "scores.safetensors", "path.safetensors"])
def test_truncated_files_are_told_by_name(library: RunLibrary, file: str) -> None:
    run = store(library)
    whole = (run.path / file).read_bytes()
    (run.path / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=file.replace(".", r"\.")) as caught:
        open_run(run.path)
    assert "\n" not in str(caught.value) and "eapgp runs rm" in str(caught.value)


@pytest.mark.parametrize("file", ["prompts.json", "scores.safetensors", "path.safetensors"])
def test_changed_bytes_of_the_same_size_are_told_by_verify(library: RunLibrary, file: str) -> None:
    run = store(library)
    whole = bytearray((run.path / file).read_bytes())
    whole[-3] ^= 1
    (run.path / file).write_bytes(whole)
    with pytest.raises(RunError, match=file.replace(".", r"\.")):
        open_run(run.path).verify()


def test_garbage_of_the_right_size_in_the_arrays_is_an_error_not_a_crash(library: RunLibrary) -> None:
    run = store(library)
    path = run.path / "scores.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(RunError, match=r"scores\.safetensors: expected a whole safetensors file"):
        open_run(run.path).attribution()


def test_changed_prompts_are_told_when_read(library: RunLibrary) -> None:
    run = store(library)
    path = run.path / "prompts.json"
    path.write_text(path.read_text().replace("Max saw 1", "Tim saw 1"))
    with pytest.raises(RunError, match=r"prompts\.json: expected pairs with hash"):
        open_run(run.path).prompts()


def edit_record(run: Any, **changes: Any) -> None:
    path = run.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_scores_of_another_shape_than_the_graph_are_refused(library: RunLibrary) -> None:
    run = store(library)
    edit_record(run, graph=Graph(3, 2).to_dict(), n_edges=Graph(3, 2).n_edges)
    with pytest.raises(RunError, match="expected scores of shape"):
        open_run(run.path).scores()
    edit_record(run, graph={"n_layers": 10**9, "n_heads": 2})
    with pytest.raises(RunError, match="expected a graph of real size"):
        open_run(run.path).scores()


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99])
def test_a_newer_version_says_to_update(library: RunLibrary, version: int) -> None:
    run = store(library)
    edit_record(run, format_version=version)
    with pytest.raises(RunError, match=rf"or older, got {version}; a newer eapgp wrote this run: update eapgp"):
        open_run(run.path)
    assert library.list() == []
    assert [folder.name for folder, _ in library.problems()] == [run.id]


@pytest.mark.parametrize("version", ["1", None, True, 0.5])
def test_a_version_that_is_no_number_is_refused(library: RunLibrary, version: Any) -> None:
    run = store(library)
    edit_record(run, format_version=version)
    with pytest.raises(RunError, match="whole number under format_version"):
        open_run(run.path)


def test_migrations_run_step_by_step_on_record_and_arrays(tmp_path: Path) -> None:
    migrations = {
        1: Migration(record=lambda record: {"request": record["asked"]}),
        2: Migration(arrays=lambda file, arrays: {"scores": 2 * arrays["values"]} if file == "s" else arrays),
    }
    old = {"format_version": 1, "asked": {"a": 1}}
    new = migrate_record(old, tmp_path, migrations=migrations, current=3)
    assert new == {"format_version": 3, "read_version": 1, "request": {"a": 1}}
    assert old == {"format_version": 1, "asked": {"a": 1}}
    arrays = {"values": np.ones(2)}
    assert migrate_arrays(arrays, "s", 1, tmp_path, migrations=migrations, current=3)["scores"].tolist() == [2, 2]
    assert migrate_arrays(arrays, "s", 3, tmp_path, migrations=migrations, current=3) is arrays
    with pytest.raises(RunError, match="can no longer read it"):
        migrate_record({"format_version": 0}, tmp_path, migrations=migrations, current=3)


def test_a_run_of_an_older_version_opens_through_a_registered_migration(
    library: RunLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store(library)
    renamed = {"seconds": None, "elapsed": 0.25}
    edit_record(run, format_version=0, **renamed)
    with pytest.raises(RunError, match="compute the run again"):
        open_run(run.path)
    migration = Migration(
        record=lambda record: {**record, "seconds": record["elapsed"]},
        arrays=lambda file, arrays: {**arrays, "scores": -arrays["scores"]} if file.startswith("scores") else arrays,
    )
    monkeypatch.setitem(__import__("eapgp.runs.arrays", fromlist=["MIGRATIONS"]).MIGRATIONS, 0, migration)
    migrated = open_run(run.path)
    assert migrated.attribution().seconds == 0.25
    assert same_bits(migrated.scores().values, -made_attribution().scores.values)


def test_list_is_newest_first_and_searches(library: RunLibrary) -> None:
    store(library, 1)
    prompts = made_prompts()
    other = made_request(prompts, method="eap", options={}, metric="prob-diff")
    library.save(replace(made_attribution(2), method="eap", options={}), other, prompts)
    library.rename(request_key(other), "Second Look")
    assert {summary.method for summary in library.list()} == {"eap", "eap-gp"}
    assert [summary.name for summary in library.list("second look")] == ["Second Look"]
    assert [summary.method for summary in library.list("method=eap")] == ["eap"]
    assert [summary.steps for summary in library.list("ioi steps=3 step=relative")] == [3]
    assert library.list("nothing of this") == []
    (library.runs / "leftover").mkdir()
    assert len(library.list()) == 2


def test_summaries_agree_with_the_run(library: RunLibrary) -> None:
    run, summary = store(library), library.list()[0]
    assert (summary.id, summary.path, summary.model, summary.n_pairs) == (run.id, run.path, "tiny", 4)
    assert summary.metric_clean == pytest.approx(made_attribution().metric_clean.mean())
    assert summary.bytes == run.size()


def test_titles_are_names_that_people_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def title(task: str, *, name: str = "", **asked: Any) -> str:
        record = {"request": {"task": task}, "method": "eap"}
        run = SimpleNamespace(record=record, name=name, spec=RunSpec(**asked) if asked else None)
        return RunInfo(run).task_title  # type: ignore[arg-type]

    one = {"clean": "The capital of France is", "corrupted": "The capital of Chad is"}
    assert title("ioi") == "Indirect object identification" and title("ioi", name="Mine") == "Mine"
    assert title("kings") == "kings" and title("custom") == "Own pairs"
    assert title("custom", prompts=[one]) == "“The capital of France is”"
    assert title("custom", prompts=[one, one]) == "Own pairs"

    monkeypatch.setenv("EAPGP_MODELS", str(tmp_path / "models"))
    folder = str(tmp_path / "checkpoint-500")
    assert model_title(folder) == "checkpoint-500" and model_title("gpt2") == "gpt2"
    set_title(folder, " My model ")
    set_title(str(tmp_path), "Another")
    assert model_title(folder) == "My model"
    set_title(folder, "")
    assert model_title(folder) == "checkpoint-500" and model_title(str(tmp_path)) == "Another"


def test_a_thousand_runs_are_listed_quickly(library: RunLibrary) -> None:
    run = store(library)
    for index in range(999):
        copied = library.runs / f"{index:020x}"
        copied.mkdir()
        request = {**run.request, "seed": index + 100}
        for path in run.path.iterdir():
            os.link(path, copied / path.name)
        (copied / "run.json").unlink()
        record = {**run.record, "request": request, "id": request_key(request)}
        (copied / "run.json").write_text(json.dumps(record))
        copied.rename(library.runs / record["id"])
    started = time.perf_counter()
    assert len(library.list()) == 1000
    assert time.perf_counter() - started < 5  # 0.2 s where nothing else runs


def test_open_takes_id_prefix_name_and_path(library: RunLibrary, tmp_path: Path) -> None:
    run = store(library)
    library.rename(run.id, "headline")
    for text in (run.id, run.id[:4], "headline", str(run.path), run.path):
        assert library.open(text).id == run.id
    for text in (run.id[:3], "nothing", "", ".", ".."):
        with pytest.raises(RunError, match="found none"):
            library.open(text)


def test_an_ambiguous_prefix_or_name_is_refused(library: RunLibrary) -> None:
    first, second = store(library, 1), store(library, 2)
    for run in (first, second):
        library.rename(run.id, "same")
    with pytest.raises(RunError, match="expected one run, got 2"):
        library.open("same")
    first.path.rename(library.runs / "abcd1")
    second.path.rename(library.runs / "abcd2")
    with pytest.raises(RunError, match="give more of the id"):
        library.open("abcd")


def test_name_and_note_leave_the_hashed_files_alone(library: RunLibrary) -> None:
    run = store(library)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    library.rename(run.id, "Ünïcode name")
    library.note(run.id, "two\nlines")
    assert library.open(run.id).meta == {"name": "Ünïcode name", "note": "two\nlines"}
    assert all((run.path / name).read_bytes() == content for name, content in before.items())


def test_delete_undelete_and_gc(library: RunLibrary) -> None:
    run = store(library)
    run.add_evaluation("curve", {"x": [1, 2]})
    library.delete(run.id[:6])
    assert library.list() == [] and library.find(run.request) is None
    assert open_run(library.undelete(run.id[:6])).evaluation() == {"curve": {"x": [1, 2]}}
    with pytest.raises(RunError, match="found none"):
        library.undelete(run.id)
    library.delete(run.id)
    store(library)
    with pytest.raises(RunError, match="the library has it again"):
        library.undelete(run.id)
    assert library.gc()["removed"] == 1
    assert library.deleted() == [] and len(library.list()) == 1


def test_delete_stays_inside_the_library(library: RunLibrary, tmp_path: Path) -> None:
    run = store(library)
    outside = copy_run(run, tmp_path / "outside")
    with pytest.raises(RunError, match="expected a run of the library"):
        library.delete(outside.path)
    for text in (".", "..", "", "../runs", str(library.runs)):
        with pytest.raises(RunError):
            library.delete(text)
    assert outside.path.exists() and run.path.exists()


def test_a_damaged_run_can_be_deleted_by_its_full_id(library: RunLibrary) -> None:
    run = store(library)
    (run.path / "run.json").write_text("{")
    assert library.delete(run.id) == run.id
    assert not run.path.exists()


def test_gc_keeps_what_a_live_process_writes_and_removes_what_a_dead_one_left(library: RunLibrary) -> None:
    store(library)
    temporary = library.home / "tmp"
    host = __import__("socket").gethostname()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    names = {
        f"aa--{host}--{os.getpid()}--x": True,
        f"bb--{host}--{dead.stdout.strip()}--x": False,
        "cc--elsewhere--1--x": True,
        "dd--elsewhere--1--x": False,
    }
    for name in names:
        (temporary / name).mkdir()
        (temporary / name / "prompts.json").write_text("{}")
    old = time.time() - 2 * 24 * 3600
    os.utime(temporary / "dd--elsewhere--1--x", (old, old))
    assert library.gc()["removed"] == 2
    assert {path.name for path in temporary.iterdir()} == {name for name, stays in names.items() if stays}


def test_disk_use_counts_runs_and_trash(library: RunLibrary) -> None:
    empty = library.disk_use()
    assert (empty["runs"], empty["bytes"]) == (0, 0) and empty["free_bytes"] > 0
    run = store(library)
    assert library.disk_use()["bytes"] == run.size() > 1000
    library.delete(run.id)
    assert library.disk_use()["trash_bytes"] > 1000


def test_evaluations_merge_and_hold_no_nan(library: RunLibrary) -> None:
    run = store(library)
    run.add_evaluation("a", {"y": float("nan"), "z": np.arange(2)})
    assert run.add_evaluation("b", {"n": 1}) == {"a": {"y": None, "z": [0, 1]}, "b": {"n": 1}}
    assert run.add_evaluation("a", {"y": 2})["a"] == {"y": 2}
    (run.path / "evaluation.json").write_text("[1]")
    with pytest.raises(RunError, match=r"evaluation\.json: expected a JSON object, got list"):
        run.evaluation()


def test_write_run_makes_the_same_folder_anywhere(library: RunLibrary, tmp_path: Path) -> None:
    prompts, result = made_prompts(), made_attribution()
    target = tmp_path / "deep" / "out"
    run = write_run(target, result, made_request(prompts), prompts, device="cpu", spec=RunSpec(task="ioi"))
    assert run.path == target and run.spec == RunSpec(task="ioi")
    assert_same(open_run(target).attribution(), result)
    write_run(target, made_attribution(4), made_request(prompts, 4), prompts)
    assert_same(open_run(target).attribution(), made_attribution(4))
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_write_run_never_replaces_what_is_no_run(tmp_path: Path) -> None:
    prompts = made_prompts()
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.tex").write_text("years")
    with pytest.raises(RunError, match=r"one that holds 'thesis\.tex'; name another"):
        write_run(target, made_attribution(), made_request(prompts), prompts)
    assert [path.name for path in target.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="got a file"):
        write_run(target / "thesis.tex", made_attribution(), made_request(prompts), prompts)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_copy_takes_evaluations_and_note_along(library: RunLibrary, tmp_path: Path) -> None:
    run = store(library)
    run.add_evaluation("curve", {"x": 1})
    run.set_meta(note="look")
    copied = copy_run(run, tmp_path / "copy")
    assert copied.evaluation() == {"curve": {"x": 1}} and copied.meta["note"] == "look"
    assert_same(copied.attribution(), run.attribution())
    assert copy_run(copied, copied.path) is copied


def test_the_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "there"))
    assert RunLibrary().home == tmp_path / "there"
    assert RunLibrary(tmp_path / "here").home == tmp_path / "here"
    monkeypatch.delenv("EAPGP_HOME")
    assert RunLibrary().home.name == "eapgp"


@pytest.mark.skipif(os.name == "nt", reason="needs a place that cannot be written")
def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="set EAPGP_HOME to another"):
        store(RunLibrary(tmp_path / "file" / "home"))


def test_spec_round_trips_and_rejects_what_it_does_not_know() -> None:
    spec = RunSpec(prompts=({"clean": "a", "corrupted": "b", "correct": ["c"], "incorrect": ["d"]},), task=None)
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    with pytest.raises(OptionError, match="unknown field 'stepz'"):
        RunSpec.from_dict({"stepz": 3})
    with pytest.raises(OptionError, match="expected at least 1, got 0"):
        RunSpec(n_pairs=0)
    with pytest.raises(OptionError, match="got both"):
        RunSpec(prompts=(), prompts_file="x.csv")


def test_spec_key_ignores_where_and_sees_what() -> None:
    spec = RunSpec()
    assert spec.job_key() == replace(spec, device="cuda", batch_size=3).job_key()
    assert spec.job_key() != replace(spec, seed=1).job_key()
    assert spec.job_key() != replace(spec, options={"steps": 4}).job_key()


def test_plain_refuses_what_json_cannot_hold() -> None:
    assert plain({"a": (1, {2}), "b": Path("x")}) == {"a": [1, [2]], "b": "x"}
    with pytest.raises(OptionError, match=r"options\.f\[0\]: expected a number"):
        plain({"f": [print]}, where="options")
