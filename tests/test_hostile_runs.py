"""A run whose record somebody bent is refused by name or does no harm; every other run stays usable."""

from __future__ import annotations

import copy
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs_made import made_attribution, made_prompts, made_request
from streamlit.testing.v1 import AppTest

from eapgp.cli import main
from eapgp.errors import InputError, RunError
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run, open_run
from eapgp.runs.spec import RunSpec, request_key

ROOT = Path(__file__).resolve().parent.parent
Place = tuple[str | int, ...]
NESTED: Any = "x"
for _ in range(200):
    NESTED = [NESTED]
MISSING = object()
BENT: dict[str, Any] = {
    "text": "x",
    "none": None,
    "huge": 10**40,
    "negative": -1,
    "nan": float("nan"),
    "infinity": float("inf"),
    "nested": NESTED,
    "list": ["x"],
    "empty": {},
    "true": True,
    "long": "y" * 2_000_000,
    "surrogate": "\ud800",
    "markup": "<script>alert(1)</script>\n# [a](javascript:b)",
    "missing": MISSING,
}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every field of a record, those within others too; of a list the first entry."""
    inner = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, one in inner:
        yield (*place, key)
        yield from places(one, (*place, key))


def bent(record: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy of the record with another value at a place, under the id that belongs to its request."""
    record = copy.deepcopy(record)
    at: Any = record
    for key in place[:-1]:
        at = at[key]
    if value is MISSING:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    if place[0] == "request" and isinstance(record.get("request"), dict):
        try:
            record["id"] = request_key(record["request"])
            if isinstance(record["request"].get("options"), dict):  # as one who knows the format would write it
                record["options"] = record["request"]["options"]
        except (UnicodeEncodeError, RecursionError):
            pass
    return record


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunLibrary]:
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    st.cache_resource.clear()
    yield RunLibrary(tmp_path / "home")
    st.cache_resource.clear()


@pytest.fixture
def sound(library: RunLibrary) -> Run:
    prompts, spec = made_prompts(), RunSpec(task="ioi", n_pairs=4, seed=3, options={"steps": 3})
    return library.save(made_attribution(), made_request(prompts), prompts, spec=spec, device="cpu")


def archive_of(run: Run, record: dict[str, Any], path: Path) -> Path:
    name = (
        record["id"]
        if isinstance(record.get("id"), str) and len(record["id"]) < 99 and record["id"].isalnum()
        else run.id
    )
    with zipfile.ZipFile(path, "w") as file:
        for member in run.path.iterdir():
            if not member.name.startswith(".") and member.name != "run.json":
                file.write(member, f"{name}/{member.name}")
        file.writestr(f"{name}/run.json", json.dumps(record))
    return path


def runs_page() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/runs.py").run()


def test_every_field_bent_every_way_is_refused_or_harmless(sound: Run, library: RunLibrary, tmp_path: Path) -> None:
    record = json.loads((sound.path / "run.json").read_text())
    fields = list(places(record))
    assert len(fields) > 90 and ("metric_clean", "pairs", 0) in fields and ("spec", "options", "steps") in fields
    imported: dict[str, Place] = {}
    for place in fields:
        for kind, value in BENT.items():
            packed = archive_of(sound, bent(record, place, value), tmp_path / "bent.zip")
            other = RunLibrary(tmp_path / "other")
            try:
                (run,) = other.import_(packed)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) <= 1600, (place, kind)
                assert str(error).isprintable() and str(error).startswith(str(packed)), (place, kind)
                assert not other.folders(), (place, kind)
                continue
            assert other.problems() == [], (place, kind)
            run.attribution(), run.scores(), run.prompts(), run.evaluation(), run.meta, run.spec
            if run.id == sound.id:
                shutil.rmtree(run.path)
            else:  # another request: beside the sound one
                run.path.rename(library.runs / run.id)
            imported[run.id] = place
    assert {place[0] for place in imported.values()} >= {"request"}, (
        "free texts, such as a task's name, may be anything"
    )
    assert main(["runs", "list", "--json"]) == 0 and library.problems() == []
    assert len(library.list()) == len({*imported, sound.id})
    app = runs_page()
    assert not app.exception and not any("Unreadable" in one.value for one in app.subheader)


def test_bent_runs_in_a_library_are_listed_beside_the_sound_one(
    sound: Run, library: RunLibrary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((sound.path / "run.json").read_text())
    for number, place in enumerate(places(record)):
        for kind, value in BENT.items():
            folder = library.runs / f"{number:04x}{list(BENT).index(kind):04x}"
            folder.mkdir()
            for member in ("prompts.json", "scores.safetensors", "path.safetensors"):
                os.link(sound.path / member, folder / member)
            (folder / "run.json").write_text(json.dumps(bent(record, place, value)))
    (library.runs / os.fsdecode(b"odd \xff\n name")).mkdir()
    monkeypatch.setattr("eapgp.runs.files.REPLACED_WITHIN", -1.0)  # as a second later: nobody is replacing them
    assert [run.id for run in library.list()] == [sound.id]
    assert main(["runs", "list"]) == 0
    told = capsys.readouterr()
    assert sound.id[:12] in told.out and "cannot be read" in told.err
    app = runs_page()
    assert not app.exception
    assert any(one.value == f"Unreadable · {len(library.problems())}" for one in app.subheader)
    first = library.problems()[0][0].name
    app.button(key=f"unreadable-{first}").click().run()
    assert not app.exception and library.deleted() == [first]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("meta.json", '{"name": ["x"]}', "name"),
        ("meta.json", '{"note": NaN}', "NaN"),
        ("evaluation.json", '{"circuits-0123456789": {"circuits": 1}}', "circuits-0123456789"),
        ("evaluation.json", '{"curve": 7}', "curve"),
        ("evaluation.json", '{"curve": {"x": 1e999}}', "finite"),
        ("evaluation.json", '{"curve": ' + "[" * 100 + "]" * 100 + "}", "deeper"),
        ("prompts.json", '{"task": "ioi"}', "metric"),
    ],
)
def test_its_other_files_are_checked_too(sound: Run, file: str, content: str, expected: str) -> None:
    (sound.path / file).write_text(content)
    run = open_run(sound.path) if file != "prompts.json" else sound
    with pytest.raises(RunError, match=expected):
        run.meta, run.evaluation(), run.prompts()


def test_an_archive_s_numbers_are_those_of_its_arrays(sound: Run, tmp_path: Path) -> None:
    record = json.loads((sound.path / "run.json").read_text())
    record["metric_clean"]["pairs"][0] += 1.0
    with pytest.raises(RunError, match=r"metric_clean: expected the numbers of scores\.safetensors"):
        RunLibrary(tmp_path / "other").import_(archive_of(sound, record, tmp_path / "a.zip"))


def test_import_says_which_run_was_there_already(
    sound: Run, library: RunLibrary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library.export(sound.id, tmp_path / "a.zip")
    assert main(["runs", "import", str(tmp_path / "a.zip"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["present"] == [sound.id] and "is in the library already" in told.err
    assert main(["runs", "import", str(tmp_path / "a.zip"), "--home", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": [sound.id], "present": []}
