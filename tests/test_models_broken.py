"""Model folders that cannot be read: each ends in one line that says what is wrong, before anything is allocated."""

from __future__ import annotations

import base64
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_made import one_thread, tiny_folder
from safetensors.torch import load_file, save_file

from eapgp.cli import main
from eapgp.errors import ModelError, is_panic
from eapgp.models import load_model

one_thread()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model of its own to break."""
    shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    return tmp_path / "model"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refused(folder: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(ModelError) as error:
        load_model(str(folder), device="cpu", **options)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 600
    for part in parts:
        assert part in text


# ---- config.json -------------------------------------------------------------------------------

WRONG = (0, -4, "four", [4], {}, True, 2.5, None, math.nan)


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("key", ["num_attention_heads", "num_hidden_layers", "hidden_size", "vocab_size"])
def test_a_size_that_is_none(key: str, value: object, folder: Path) -> None:
    change(folder / "config.json", **{key: value})
    refused(
        folder, "cannot be read", "config.json", *([f"{key}: expected a whole number"] if value is not None else [])
    )


def test_sizes_are_called_as_the_file_calls_them(tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("gpt2"), tmp_path / "model")
    change(tmp_path / "model" / "config.json", n_head=0)
    refused(tmp_path / "model", "config.json: n_head: expected a whole number of at least 1, got 0")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"num_key_value_heads": 3}, "divides the 4 heads"),
        ({"num_hidden_layers": 10**9}, "layers: expected at most 1,000"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, "multiple of the number of attention heads (5)"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"rms_norm_eps": [1e-5]}, "rms_norm_eps"),
        ({"model_type": ["llama"]}, "config.json"),
    ],
)
def test_sizes_that_do_not_go_together(values: dict[str, Any], text: str, folder: Path) -> None:
    change(folder / "config.json", **values)
    refused(folder, "cannot be read", text)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"llama"', "{", "\0", "[" * 100_000])
def test_a_configuration_that_is_none(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    refused(folder, "cannot be read", "config.json")


@pytest.mark.parametrize(
    "values", [{"vocab_size": 10**11}, {"intermediate_size": 10**11}, {"hidden_size": 4 * 10**8, "head_dim": 6}]
)
def test_a_size_that_the_checkpoint_does_not_hold_allocates_nothing(values: dict[str, Any], folder: Path) -> None:
    before = psutil.Process().memory_info().rss
    change(folder / "config.json", **values)
    refused(folder, "million weights, and its checkpoint holds 0.0 million")
    refused(folder, "GB of memory", random_weights=True)
    assert psutil.Process().memory_info().rss - before < 500e6


# ---- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 4, 8, 100, 0.5, -1])
def test_weights_that_are_cut_off(left: float, folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left])
    refused(folder, "cannot be read", "model.safetensors missing, cut off or no safetensors file")


def test_a_header_of_any_length_is_not_read(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes((10**15).to_bytes(8, "little") + file.read_bytes()[8:])
    refused(folder, "header too large")


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ({}, "weight_map"),
        ([1], "weight_map"),
        ({"weight_map": {"a": 3}}, "weight_map"),
        ({"weight_map": {"a": "../model.safetensors"}}, "of the same folder"),
        ({"weight_map": {"a": "part.safetensors"}}, "part.safetensors missing"),
    ],
)
def test_an_index_of_files_that_are_none(index: Any, text: str, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, text)


def test_weights_of_another_shape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"].repeat(2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "model.norm.weight is of another shape")


# ---- tokenizer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia", "qwen2"])
def test_a_missing_tokenizer_is_not_made_up(name: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder(name), tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer.json"))
    refused(tmp_path / "model", "holds no tokenizer")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "3"])
def test_a_tokenizer_that_is_none(text: str, folder: Path) -> None:
    (folder / "tokenizer.json").write_text(text)
    refused(folder, "the tokenizer of", "cannot be read")


def test_a_tokenizer_without_words(folder: Path) -> None:
    state = json.loads((folder / "tokenizer.json").read_text())
    state["model"] = {"type": "BPE", "vocab": {}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(state))
    refused(folder, "the tokenizer of", "gives no token for any text")


@pytest.mark.parametrize(
    ("change_of", "words"),
    [
        ({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}, "2 words 1 ids"),
        ({"model": {"type": "BPE", "vocab": {"a": 4_000_000_000}, "merges": []}}, "the id 4,000,000,000"),
        ({"model": {"type": "Unigram", "vocab": [["a", -1.0], ["", 0.0]], "unk_id": 0}}, "without letters"),
        ({"model": {"type": "Unigram", "vocab": [["a", -1e308]], "unk_id": 0}}, "no log probability"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////25vIHRyaWU="}}, "is cut off"),
        (
            {
                "normalizer": {
                    "type": "Sequence",
                    "normalizers": [{"type": "Replace", "pattern": {"Regex": "a{99999}"}, "content": "x"}],
                }
            },
            "more than 1,000 times",
        ),
    ],
)
def test_a_tokenizer_that_would_end_the_process_is_refused_before_it_is_read(
    change_of: dict[str, Any], words: str, folder: Path
) -> None:
    """Each of these aborted the process for lack of memory, or kept it busy for half a minute."""
    change(folder / "tokenizer.json", **change_of)
    refused(folder, "the tokenizer of", "cannot be read", words)


def panicking(folder: Path) -> Path:
    """A folder whose tokenizer.json makes the tokenizer's library panic."""
    charsmap = base64.b64encode(b"\xff\xff\xff\xffno trie").decode()
    change(folder / "tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap})
    return folder


def test_a_tokenizer_that_panics(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tokenizers import Tokenizer

    with pytest.raises(BaseException) as error:
        Tokenizer.from_file(str(panicking(folder) / "tokenizer.json"))
    assert is_panic(error.value), "else this tests nothing"
    assert not isinstance(error.value, Exception)
    capfd.readouterr()
    refused(folder, "the tokenizer of", "cannot be read")
    assert "panicked" not in capfd.readouterr().err


def test_the_published_tokenizers_that_panic(folder: Path, shared: Path) -> None:
    files = sorted((shared / "cases" / "tokenizers").glob("panic-*.json"))
    if not files:
        pytest.skip("the reference material holds no cases")
    for file in files:
        shutil.copy(file, folder / "tokenizer.json")
        refused(folder, "the tokenizer of", "cannot be read")


def test_a_panic_on_the_command_line_is_one_object_and_exit_2(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    assert main(["attribute", "--model", str(panicking(folder)), "--task", "ioi", "--json", "--quiet"]) == 2
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["type"] == "ModelError"
    assert [line for line in err.splitlines() if line.startswith("eapgp: ")] == [
        f"eapgp: {json.loads(out)['error']['message']}"
    ]
    assert "panicked" not in err


@pytest.mark.parametrize("breaking", [panicking, lambda folder: (folder / "tokenizer.json").unlink()])
def test_random_weights_do_with_bytes_then(breaking: Callable[[Path], Any], folder: Path) -> None:
    breaking(folder)
    assert load_model(str(folder), device="cpu", random_weights=True).tokenizer("ab")["input_ids"]


def test_a_panic_elsewhere_is_reported_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a text that only a prompt holds, say: exit 1, one object, no traceback."""

    class PanicException(BaseException):
        pass

    def panic(*_: Any, **__: Any) -> None:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr("eapgp.cli.catalogue.stacked", panic)
    monkeypatch.setattr("eapgp.cli.catalogue.table", panic)
    assert main(["models", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "PanicException"
