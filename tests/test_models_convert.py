"""Pickled weights into safetensors: what is read, what is refused, and that it is the same model."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_made import one_thread, tiny_folder
from hub_server import hub_server
from safetensors.torch import load_file

from eapgp.cli import main
from eapgp.errors import ModelError
from eapgp.models import load_model

one_thread()


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A tiny model as it was saved before safetensors."""
    folder = tmp_path / "my model"
    shutil.copytree(tiny_folder("gpt2"), folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def call(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


def same(folder: Path) -> bool:
    ours, theirs = (load_model(str(place), device="cpu") for place in (folder, tiny_folder("gpt2")))
    return (ours.weights_hash, ours.tokenizer_hash) == (theirs.weights_hash, theirs.tokenizer_hash)


def test_the_command_that_the_refusal_names_makes_it_the_same_model(
    pickled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError) as error:
        load_model(str(pickled), device="cpu")
    program, *arguments = shlex.split(str(error.value).partition("nothing else: ")[2])
    assert program == "eapgp"
    assert call(capsys, 0, *arguments)["folder"] == str(pickled)
    assert same(pickled)
    assert "is there already" in call(capsys, 2, *arguments)["error"]["message"]


def test_to_another_folder_and_in_several_files(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    halves = {"a.bin": list(weights)[::2], "b.bin": list(weights)[1::2]}
    for file, names in halves.items():
        torch.save({name: weights[name] for name in names}, pickled / file)
    (pickled / "pytorch_model.bin").unlink()
    index = {"weight_map": {name: file for file, names in halves.items() for name in names}}
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    before = sorted(path.name for path in pickled.iterdir())
    call(capsys, 0, "models", "convert", str(pickled), "--out", str(tmp_path / "out"))
    assert same(tmp_path / "out")
    assert sorted(path.name for path in pickled.iterdir()) == before


def test_from_the_hub(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("people/old", pickled)
        assert call(capsys, 0, "models", "convert", "people/old")["folder"] == "old"
    assert same(tmp_path / "old")


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["code", "no mapping", "other values", "no pickle", "one number seen as many"])
def test_what_is_more_than_weights_is_refused(
    kind: str, pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pickled / "pytorch_model.bin"
    contents: dict[str, Any] = {
        "code": {"wte.weight": _Touch(tmp_path / "touched")},
        "no mapping": [torch.ones(2)],
        "other values": {"wte.weight": "text"},
        "one number seen as many": {"wte.weight": torch.ones(1).expand(10**11)},
    }
    if kind in contents:
        torch.save(contents[kind], file)
    else:
        file.write_bytes(b"no pickle")
    message = call(capsys, 2, "models", "convert", str(pickled))["error"]["message"]
    assert "was not converted" in message
    assert not (tmp_path / "touched").exists()
    assert not list(pickled.glob("*.safetensors*"))


def test_what_needs_no_conversion_or_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_folder("gpt2"), tmp_path / "new")
    out = ("--out", str(tmp_path / "out"))
    assert (
        "needs no conversion" in call(capsys, 2, "models", "convert", str(tmp_path / "new"), *out)["error"]["message"]
    )
    assert "expected a folder" in call(capsys, 2, "models", "convert", "nowhere")["error"]["message"]
