"""Loading: what is found, what is refused and in which words."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from engine_made import one_thread, random_pairs, tiny_folder, tiny_model
from tiny import build_folder, build_tokenizer

from eapgp.attribution.api import attribute
from eapgp.circuits.circuit import Circuit
from eapgp.errors import InputError, ModelError, OptionError, PromptError, UnknownNameError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.graph import Graph
from eapgp.models import load_model
from eapgp.models.checkpoint import byte_tokenizer
from eapgp.prompts import PromptPair, PromptSet
from eapgp.tasks import make_prompts

one_thread()

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}
LLAMA = {**SMALL, "intermediate_size": 40, "num_key_value_heads": 4, "max_position_embeddings": 32}


@pytest.mark.parametrize(
    ("graph", "edges"),
    [
        (Graph(12, 12), 32_491),  # GPT-2 small
        (Graph(24, 16), 231_877),  # GPT-2 medium
        (Graph(48, 25), 2_235_025),  # GPT-2 XL
        (Graph(24, 14), 179_749),  # Qwen2.5-0.5B
        (Graph(26, 8), 74_218),  # Gemma-2-2B
        (Graph(32, 32), 1_592_881),  # Llama-3-8B
        (Graph(5, 8), 2_461),  # stories260K
        (Graph(4, 4), 479),
        (Graph(3, 4), 262),
        (Graph(2, 4, parallel=True), 102),
    ],
)
def test_edge_counts(graph: Graph, edges: int) -> None:
    assert graph.n_edges == edges == int(graph.mask.sum())
    assert graph.mask.shape == (graph.n_sources, graph.n_destinations)


def one_line(error: pytest.ExceptionInfo[Any], *parts: str) -> None:
    """The message is one line that holds every part."""
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError) as error:
        load_model("gpt22")
    one_line(error, "unknown model 'gpt22'", "gpt2", "local folder")


def test_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        load_model(str(tmp_path))
    one_line(error, "holds no config.json")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(InputError) as error:
        load_model(str(path))
    one_line(error, str(path))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    """Unpickling runs code: only safetensors are read, and what is pickled is never opened."""
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder("gpt2"), folder)
    (folder / "model.safetensors").unlink()
    touched = tmp_path / "touched"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (touched,))

    torch.save({"trap": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError) as error:
        load_model(str(folder))
    one_line(error, "cannot be read", "model.safetensors")
    assert not touched.exists()


def test_broken_weights(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder("gpt2"), folder)
    (folder / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ModelError) as error:
        load_model(str(folder))
    one_line(error, "cannot be read")


def rewritten(name: str, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> str:
    """A tiny model's folder whose weights were changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_folder(name), folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("gpt2-scaled", "lm_head.weight"),
        ("gpt2", "transformer.h.1.mlp.c_fc.bias"),
        ("llama", "model.embed_tokens.weight"),
    ],
)
def test_missing_weights_are_named_and_no_random_ones_take_their_place(name: str, gone: str, tmp_path: Path) -> None:
    folder = rewritten(name, tmp_path / "model", lambda weights: weights.pop(gone))
    with pytest.raises(ModelError) as error:
        load_model(folder, device="cpu")
    one_line(error, f"{gone} is missing from its weights")


def test_many_missing_weights_are_counted(tmp_path: Path) -> None:
    folder = rewritten(
        "llama", tmp_path / "model", lambda weights: [weights.pop(k) for k in list(weights) if ".1." in k]
    )
    with pytest.raises(ModelError) as error:
        load_model(folder, device="cpu")
    one_line(error, "model.layers.1.", "and 4 more weights are missing")


def test_the_head_of_a_tied_model_is_not_missing(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    assert "lm_head.weight" not in load_file(tiny_folder("gpt2") / "model.safetensors")
    assert load_model(str(tiny_folder("gpt2")), device="cpu").notes == ()


@pytest.mark.parametrize("key", ["transformer.h.2.attn.c_attn.weight", "h.0.attn.q_norm.weight", "lm_head.bias"])
def test_weights_that_the_configuration_leaves_out_are_refused(key: str, tmp_path: Path) -> None:
    """One layer more, a norm of another architecture, a bias: another model would be computed."""
    folder = rewritten("gpt2", tmp_path / "model", lambda weights: weights.update({key: torch.ones(3)}))
    with pytest.raises(ModelError) as error:
        load_model(folder, device="cpu")
    one_line(error, key, "not in the model that config.json describes")


def test_another_head_is_a_remark_of_every_result(tmp_path: Path) -> None:
    folder = rewritten("gpt2", tmp_path / "model", lambda weights: weights.update({"score.weight": torch.ones(2, 24)}))
    model = load_model(folder, device="cpu")
    assert model.weights_hash == load_model(str(tiny_folder("gpt2")), device="cpu").weights_hash
    (note,) = model.notes
    assert "score.weight is in its weights but no part of a language model" in note
    assert note in attribute(model, random_pairs(2), method="eap").messages


def test_an_unembedding_that_config_json_does_not_speak_of_is_a_remark(tmp_path: Path) -> None:
    """Transformers then uses the file's own, and says so only in a log."""

    def untie(weights: dict[str, torch.Tensor]) -> None:
        weights["lm_head.weight"] = torch.flip(weights["transformer.wte.weight"], (0,))

    model = load_model(rewritten("gpt2", tmp_path / "model", untie), device="cpu")
    assert model.weights_hash != load_model(str(tiny_folder("gpt2")), device="cpu").weights_hash
    (note,) = model.notes
    assert "the weights hold an unembedding of their own; that one is used" in note


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("gpt2", "h.0.attn.bias"),
        ("gpt2", "transformer.h.0.attn.masked_bias"),
        ("gpt-neo", "transformer.h.0.attn.attention.bias"),
        ("pythia", "gpt_neox.layers.0.attention.rotary_emb.inv_freq"),
    ],
)
def test_masks_and_rotary_frequencies_of_older_checkpoints_are_no_weights(name: str, key: str, tmp_path: Path) -> None:
    folder = rewritten(name, tmp_path / "model", lambda weights: weights.update({key: torch.ones(3)}))
    assert load_model(folder, device="cpu").notes == ()


def test_the_published_case_without_its_head(shared: Path) -> None:
    folder = shared / "cases" / "models" / "missing_head_model"
    if not folder.is_dir():
        pytest.skip("the reference material holds no cases")
    with pytest.raises(ModelError, match=r"lm_head\.weight is missing"):
        load_model(str(folder), device="cpu")
    assert load_model(str(folder.with_name("complete_head_model")), device="cpu").notes == ()


def test_broken_config(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder("gpt2"), folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "nothing-known"}))
    with pytest.raises(ModelError) as error:
        load_model(str(folder))
    one_line(error, "cannot be read")


def test_remote_code_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "remote"
    shutil.copytree(tiny_folder("gpt2"), folder)
    touched = tmp_path / "touched"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(touched)!r}).touch()\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as error:
        load_model(str(folder))
    one_line(error, "cannot be read")
    assert not touched.exists()


def test_hub_id_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as error:
        load_model("eapgp-tests/there-is-no-such-model")
    one_line(error, "could not be fetched", "random weights")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        *([] if torch.cuda.is_available() else [({"device": "cuda"}, "'cuda' is not available on this machine")]),
    ],
)
def test_dtype_and_device(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as error:
        load_model(str(tiny_folder("gpt2")), **options)
    one_line(error, text)


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "opt-post-norm": ("OPTConfig", {**SMALL, "ffn_dim": 40, "word_embed_proj_dim": 24, "do_layer_norm_before": False}),
    "opt-350m": ("OPTConfig", {**SMALL, "ffn_dim": 40, "word_embed_proj_dim": 12, "do_layer_norm_before": False}),
    "bloom-post": (
        "BloomConfig",
        {
            "hidden_size": 24,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": 60,
            "apply_residual_connection_post_layernorm": True,
        },
    ),
    "phi-qk-norm": ("PhiConfig", {**LLAMA, "qk_layernorm": True}),
    "neox-without-bias": ("GPTNeoXConfig", {**SMALL, "intermediate_size": 40, "attention_bias": False}),
    "scaled-branches": ("GraniteConfig", {**LLAMA, "residual_multiplier": 0.5}),
    "stablelm-odd-rotary": ("StableLmConfig", {**LLAMA, "partial_rotary_factor": 0.25}),  # 1.5 of 6 dimensions
    "no-attention": ("MambaConfig", {"hidden_size": 24, "num_hidden_layers": 2, "vocab_size": 60}),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_not_supported_is_refused(name: str, tmp_path: Path) -> None:
    """In one line, before anybody waits; never a traceback, never wrong scores."""
    kind, arguments = REFUSED[name]
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**arguments, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    build_tokenizer(tmp_path, 60)
    with pytest.raises(ModelError) as error:
        load_model(str(tmp_path), device="cpu")
    one_line(error, "is not supported")


def test_sources_that_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The capability check says what does not hold: here an MLP whose output is scaled behind its hook."""
    from eapgp.models import load

    model = tiny_model("gpt2")
    real = load._expected_residuals

    def scaled(m: Any, run: Any) -> Any:
        run.mlp[0] = run.mlp[0] * 1.1
        return real(m, run)

    monkeypatch.setattr(load, "_expected_residuals", scaled)
    with pytest.raises(ModelError) as error:
        load.check_model(model)
    one_line(error, "do not add up to the residual stream that attention of layer 1 reads", "off by 0.0")


def test_loaded_model_describes_itself() -> None:
    model = tiny_model("llama", "float32")
    assert model.graph == Graph(2, 4)
    assert model.architecture == "LlamaForCausalLM"
    assert (model.dtype, str(model.device), model.n_vocab, model.n_context) == ("float32", "cpu", 60, 32)
    assert model.n_embeddings == model.bridge.original_model.get_input_embeddings().num_embeddings
    assert model.prepend_bos
    assert not any(parameter.requires_grad for parameter in model.bridge.parameters())
    again = load_model(str(tiny_folder("llama")), device="cpu")
    other = load_model(str(tiny_folder("llama", seed=5)), device="cpu")
    assert again.weights_hash == model.weights_hash != other.weights_hash
    assert again.tokenizer_hash == model.tokenizer_hash == other.tokenizer_hash
    assert json.loads(json.dumps(model.describe()))["weights_hash"] == model.weights_hash


def test_random_weights_are_seeded() -> None:
    folder = str(tiny_folder("gpt2"))
    first, again, other = (load_model(folder, device="cpu", random_weights=True, seed=seed) for seed in (1, 1, 2))
    assert first.weights_hash == again.weights_hash != other.weights_hash
    assert first.weights_hash != tiny_model("gpt2", "float32").weights_hash
    assert first.random_seed == 1


def test_byte_tokenizer_reads_any_text() -> None:
    tokenizer = byte_tokenizer()
    text = "When Zoë ate crêpes, 7 × 6 = 42"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_prompts_as_text_reach_the_engine() -> None:
    """Texts, with BOS, give what the same token ids give."""
    model = tiny_model("gpt2")
    pairs = (PromptPair("w3 w4 w5", "w3 w9 w5", ("w7",), ("w8",)), PromptPair("w3 w4", "w6 w4", ("w7",), ("w8",)))
    found = attribute(model, PromptSet("own", pairs, "logit-diff"), method="eap")
    from eapgp.prompts.encode import EncodedPairs

    encoded = EncodedPairs(
        np.array([[0, 3, 4, 5], [0, 3, 4, 0]]),
        np.array([[0, 3, 9, 5], [0, 6, 4, 0]]),
        np.array([4, 3]),
        ((7,), (7,)),
        ((8,), (8,)),
    )
    expected = attribute(model, encoded, method="eap")
    assert np.array_equal(found.scores.values, expected.scores.values)
    assert found.provenance["task"] == "own"
    assert found.provenance["n_pairs"] == 2
    with pytest.raises(PromptError, match="no prompt pairs"):
        attribute(model, PromptSet("own", (), "logit-diff"), method="eap")


@pytest.mark.slow
def test_gpt2_small_shape() -> None:
    """True size with random weights: 32,491 edges, one EAP pass on two pairs, no network."""
    model = load_model("gpt2", device="cpu", random_weights=True)
    assert model.graph.n_edges == 32_491
    assert (model.n_vocab, model.n_context) == (50_257, 1024)
    encoded = random_pairs(2, shortest=5, longest=6, vocab=50_257)
    result = attribute(model, encoded, method="eap")
    assert result.scores.values.shape == (157, 445)
    assert np.isfinite(result.scores.values).all()
    assert np.count_nonzero(result.scores.values) == 32_491
    assert result.provenance["random_seed"] == 0


def test_tiny_folder_is_made_as_asked(tmp_path: Path) -> None:
    folder = build_folder("gpt2", tmp_path, n_layer=1)
    assert load_model(str(folder), device="cpu").graph == Graph(1, 4)


def test_a_map_of_devices_gives_the_same_scores() -> None:
    """`device_map` goes to Transformers as it is; one model spread by name is the model in one piece."""
    folder, encoded = str(tiny_folder("llama")), random_pairs(2, seed=5, shortest=4, longest=5)
    parts = ("model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb", "lm_head")
    spread = load_model(folder, device_map=dict.fromkeys(parts, "cpu"))
    whole = load_model(folder, device="cpu")
    for method in ("eap-gp", "exact"):
        found, expected = (attribute(model, encoded, method=method).scores.values for model in (spread, whole))
        assert np.array_equal(found, expected)
    full = Circuit.full(spread.graph)
    assert CircuitRunner(spread, encoded).faithfulness(full) == pytest.approx(1.0, abs=1e-5)


def test_random_weights_are_the_seed_s_whatever_other_threads_load_and_leave_the_caller_s_draws_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def drawn(_: int) -> str:
        return load_model("demo", random_weights=True, seed=5).weights_hash

    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = torch.rand(1)
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(load_model, "demo") for _ in range(2)]
        hashes = set(pool.map(drawn, range(3)))
        assert len({other.result().weights_hash for other in others}) == 1
    assert hashes == {drawn(0)}
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_prompts_that_begin_with_what_also_pads_bring_no_warning_of_transformers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(logging.Logger, "warning_once", lambda _, message: heard.append(message))
    model = load_model("demo")
    assert model.tokenizer.bos_token_id == model.tokenizer.pad_token_id  # what every prompt begins with
    attribute(model, make_prompts("ioi", n=2), method="eap")
    assert not heard


def test_a_norm_s_statistics_are_taken_only_where_a_hook_reads_them() -> None:
    """The bridge takes them beside every norm; the model's output does not depend on it, to the last bit."""
    model, seen = tiny_model("llama"), []
    ids = torch.arange(1, 7)[None]
    norm = model.bridge.blocks[0].ln1
    taken: list[str] = []
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rsqrt", lambda x, rsqrt=torch.rsqrt: (taken.append("rsqrt"), rsqrt(x))[1])
        without = model.bridge(ids)
        in_model = len(taken)
        norm.hook_scale.add_hook(lambda value, hook: seen.append(value))
        hooked = model.bridge(ids)
        norm.hook_scale.remove_hooks()
    assert len(taken) - in_model == in_model + 1 and len(seen) == 1
    residual = model.bridge.embed(ids)
    assert torch.equal(without, hooked)
    assert torch.allclose(seen[0], (residual.square().mean(-1, keepdim=True) + model.layers[0].attn_norm.eps).sqrt())


def test_what_the_bridge_imports_and_is_not_used_is_imported_when_it_is_used() -> None:
    """In a process of its own: nobody but TransformerLens got a stand-in, and those work as what they stand for."""
    lines = (
        "import sys",
        "from eapgp.models import load",
        "load.bridge_class()",
        "assert not {'datasets', 'pandas'} & set(sys.modules), 'they were imported, or a stand-in was left'",
        "standing_in = (load._Later, load._Name)",
        "holders = {n for n, m in [*sys.modules.items()] for v in vars(m).values() if isinstance(v, standing_in)}",
        "assert holders and all(name.startswith('transformer_lens.') for name in holders), holders",
        "from transformer_lens import patching",
        "from transformer_lens.utilities import hf_utils",
        "frame = patching.pd.DataFrame({'a': [1, 2]})",
        "assert frame.shape == (2, 1) and isinstance(frame, patching.pd.DataFrame)",
        "assert patching.pd.DataFrame.from_dict({'a': [1]}).shape == (1, 1)",
        "made = hf_utils.Dataset.from_dict({'text': ['x']})",
        "assert isinstance(made, hf_utils.Dataset) and not isinstance(frame, hf_utils.Dataset)",
        "import datasets, pandas",
        "assert type(made) is datasets.Dataset and type(frame) is pandas.DataFrame",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
