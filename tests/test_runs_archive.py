"""Zip files of runs: they come back whole, and a hostile one adds nothing."""

from __future__ import annotations

import json
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from runs_made import assert_same, made_attribution, made_prompts, made_request

from eapgp.errors import FormatError, InputError, RunError
from eapgp.runs import Run, RunLibrary, archive

Change = Callable[[dict[str, bytes]], dict[str, bytes]]


@pytest.fixture
def library(tmp_path: Path) -> RunLibrary:
    return RunLibrary(tmp_path / "home")


@pytest.fixture
def run(library: RunLibrary) -> Run:
    prompts = made_prompts()
    stored = library.save(made_attribution(), made_request(prompts), prompts)
    stored.add_evaluation("curve", {"x": 1})
    stored.set_meta(name="mine")
    return stored


@pytest.fixture
def packed(library: RunLibrary, run: Run, tmp_path: Path) -> Path:
    return library.export(run.id, tmp_path / "run.zip")


@pytest.fixture
def other(tmp_path: Path) -> RunLibrary:
    return RunLibrary(tmp_path / "other")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def test_a_run_travels_whole(packed: Path, other: RunLibrary, run: Run) -> None:
    (came,) = other.import_(packed)
    assert came.id == run.id
    assert_same(came.attribution(), made_attribution())
    assert came.prompts() == made_prompts()
    assert came.evaluation() == {"curve": {"x": 1}} and came.meta["name"] == "mine"
    assert list((other.home / "tmp").iterdir()) == []
    assert sorted(path.name for path in packed.parent.iterdir()) == ["home", "other", "run.zip"]


def test_importing_what_is_there_keeps_it(packed: Path, library: RunLibrary, run: Run) -> None:
    run.set_meta(name="changed since")
    library.import_(packed)
    assert library.open(run.id).meta["name"] == "changed since"
    assert len(library.list()) == 1


def test_a_damaged_run_is_not_exported(library: RunLibrary, run: Run, tmp_path: Path) -> None:
    content = bytearray((run.path / "scores.safetensors").read_bytes())
    content[-1] ^= 1
    (run.path / "scores.safetensors").write_bytes(content)
    with pytest.raises(RunError, match="SHA-256"):
        library.export(run.id, tmp_path / "bad.zip")
    assert not list(tmp_path.glob("*bad*"))


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/etc/run.json",
        "abc/../run.json",
        "abc/sub/run.json",
        "abc/evil.py",
        "abc/scores.pkl",
        "run.json",
        "..\\abc\\run.json",
        "C:/run.json",
        "xyz/run.json",
        "abc/.lock",
    ],
)
def test_unknown_names_and_paths_that_leave_are_refused(packed: Path, other: RunLibrary, name: str) -> None:
    hostile = rewrite(packed, {**members(packed), name: b"{}"})
    with pytest.raises(FormatError, match="refused as unsafe"):
        other.import_(hostile)
    assert_nothing_added(other, packed)


def assert_nothing_added(library: RunLibrary, packed: Path) -> None:
    assert library.list() == [] and list((library.home / "tmp").iterdir()) == []
    assert sorted(path.name for path in packed.parent.iterdir()) == ["home", "other", "run.zip"]


def test_links_are_refused(packed: Path, other: RunLibrary, run: Run) -> None:
    info = zipfile.ZipInfo(f"{run.id}/path.safetensors")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = {name: content for name, content in members(packed).items() if name != info.filename}
    rewrite(packed, files)
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(FormatError, match="refused as unsafe"):
        other.import_(packed)
    assert_nothing_added(other, packed)


def test_a_name_that_comes_twice_is_refused(packed: Path, other: RunLibrary, run: Run) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr(f"{run.id}/run.json", b"{}")
    with pytest.raises(FormatError, match="is in it twice"):
        other.import_(packed)


def test_bombs_are_refused_before_they_unpack(packed: Path, other: RunLibrary, run: Run) -> None:
    rewrite(packed, {**members(packed), f"{run.id}/evaluation.json": b" " * 30_000_000 + b"{}"})
    with pytest.raises(FormatError, match="refused as too large"):
        other.import_(packed)
    assert_nothing_added(other, packed)


def test_size_bounds_hold(packed: Path, other: RunLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(FormatError, match="refused as too large"):
        other.import_(packed)


def swapped(run_id: str, file: str, old: str, new: str) -> Change:
    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        key = f"{run_id}/{file}"
        assert old.encode() in files[key]
        return {**files, key: files[key].replace(old.encode(), new.encode())}

    return change


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("prompts.json", "Max saw 1", "Tim saw 1"),
        ("run.json", '"seed": 0', '"seed": 1'),
        ("run.json", '"method": "eap-gp"', '"method": "eap-ig"'),
        ("run.json", '"format_version": 1', '"format_version": 2'),
        ("run.json", '"prompts.json"', '"../../prompts.json"'),
        ("run.json", "{", "["),
        ("evaluation.json", "{", "["),
    ],
)
def test_changed_content_is_found(packed: Path, other: RunLibrary, run: Run, file: str, old: str, new: str) -> None:
    rewrite(packed, swapped(run.id, file, old, new)(members(packed)))
    with pytest.raises(InputError) as caught:
        other.import_(packed)
    assert "\n" not in str(caught.value)
    assert_nothing_added(other, packed)


def test_a_run_under_another_name_or_with_unlisted_files_is_refused(packed: Path, other: RunLibrary, run: Run) -> None:
    files = members(packed)
    rewrite(packed, {name.replace(run.id, "abcd" * 5): content for name, content in files.items()})
    with pytest.raises(RunError, match="expected run abcd"):
        other.import_(packed)
    record = json.loads(files[f"{run.id}/run.json"])
    del record["files"]["path.safetensors"]
    rewrite(packed, {**files, f"{run.id}/run.json": json.dumps(record).encode()})
    with pytest.raises(RunError, match="does not list; refused"):
        other.import_(packed)
    assert_nothing_added(other, packed)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_truncated_zip_is_told(packed: Path, other: RunLibrary, keep: int) -> None:
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(FormatError, match="expected a whole zip file of runs"):
        other.import_(packed)
    assert_nothing_added(other, packed)


def test_flipped_bytes_are_told(packed: Path, other: RunLibrary) -> None:
    content = bytearray(packed.read_bytes())
    for position in range(100, len(content) // 2, 97):
        content[position] ^= 0x55
    packed.write_bytes(content)
    with pytest.raises(InputError):
        other.import_(packed)
    assert_nothing_added(other, packed)


def test_no_zip_and_an_empty_one_are_told(other: RunLibrary, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        other.import_(tmp_path / "absent.zip")
    with pytest.raises(FormatError, match="expected 1 to"):
        other.import_(rewrite(tmp_path / "empty.zip", {}))
