"""GGUF files as models: the weights are those of the file, read once, and nothing else is taken for granted."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eapgp import load_model
from eapgp.errors import ModelError
from eapgp.models import gguf as gguf_files
from eapgp.models.checkpoint import origin
from eapgp.models.store import models_home
from tests.gguf_made import TEMPLATE, tiny_llama, tiny_qwen2, write_gguf

F32, F16, Q8, Q4 = (getattr(gguf.GGMLQuantizationType, name) for name in ("F32", "F16", "Q8_0", "Q4_1"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("architecture", "kind"), [("llama", F32), ("llama", F16), ("llama", Q8), ("llama", Q4), ("qwen2", Q8)]
)
def test_the_weights_are_the_file_s_and_are_kept_once(
    tmp_path: Path, home: Path, architecture: str, kind: gguf.GGMLQuantizationType
) -> None:
    source = tiny_llama() if architecture == "llama" else tiny_qwen2()
    file = tmp_path / "tiny.gguf"
    expected = write_gguf(file, source, architecture, kind)
    folder = gguf_files.converted(file)
    assert folder.parent == home / "gguf" and models_home() == home
    weights = load_file(folder / "model.safetensors")
    assert set(weights) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(weights[name].numpy(), values, err_msg=name)
    about = origin(folder)
    assert about["quantisation"] == kind.name
    assert about["weights"] == (kind.name if kind in (F32, F16) else f"dequantised from {kind.name}")
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [type(source).__name__] and "quantization_config" not in config
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert gguf_files.converted(file) == folder and (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_model_from_a_file_answers_as_the_model_it_was_made_of(tmp_path: Path) -> None:
    source = tiny_llama(tied=True)
    file = tmp_path / "tied.gguf"
    write_gguf(file, source, "llama")
    model = load_model(file, device="cpu")
    assert model.id == str(file) and model.graph.n_layers == 2 and model.graph.n_heads == 4
    ids = torch.tensor([[1, 5, 9, 33, 60]])
    with torch.no_grad():
        torch.testing.assert_close(model.bridge(ids, return_type="logits"), source(ids).logits, atol=1e-5, rtol=1e-5)
    assert model.tokenizer.bos_token == "<s>" and model.tokenizer.chat_template == TEMPLATE
    assert not [note for note in model.notes if "dequantised" in note]


def test_quantised_weights_are_said_and_are_another_model(tmp_path: Path) -> None:
    source = tiny_llama()
    whole, coarse = tmp_path / "whole.gguf", tmp_path / "coarse.gguf"
    write_gguf(whole, source, "llama")
    write_gguf(coarse, source, "llama", Q4)
    models = [load_model(file, device="cpu") for file in (whole, coarse)]
    assert models[0].weights_hash != models[1].weights_hash
    assert any("dequantised from Q4_1" in note for note in models[1].notes)


def test_what_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.gguf", tmp_path / "text.gguf"
    empty.write_bytes(b"")
    text.write_text("not a model at all, only some words that go on for a while")
    for file in (empty, text):
        with pytest.raises(ModelError, match=rf"{file.name}: expected a GGUF file"):
            load_model(file)
    with pytest.raises(ModelError, match="expected a GGUF file, there is none"):
        load_model(tmp_path / "absent.gguf")
    other = tmp_path / "other.gguf"
    write_gguf(other, tiny_llama(), "rwkv6")
    with pytest.raises(ModelError, match=r"architecture that Transformers reads from GGUF .*got 'rwkv6'"):
        load_model(other)


def test_a_cut_off_file_leaves_nothing_behind(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "cut.gguf"
    write_gguf(file, tiny_llama(), "llama")
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        load_model(file)
    assert not home.exists() or not [path for path in home.rglob("*") if path.suffix == ".safetensors"]


@pytest.mark.parametrize("kind", [0, 4, 6, 7, 10])
def test_values_beyond_the_file_s_end_are_refused(kind: int, tmp_path: Path) -> None:
    """The library found empty values there, as many as the header said, for hours."""
    path = tmp_path / "long.gguf"
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    path.write_bytes(header + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, kind, 2**40) + bytes(64))
    with pytest.raises(ModelError, match="ends at byte") as error:
        gguf_files.inspect(path)
    assert "\n" not in str(error.value)
