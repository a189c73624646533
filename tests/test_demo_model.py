"""The bundled model: loads like any other, knows its tasks on unseen combinations, and can be made again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eapgp.errors import Cancelled, OptionError
from eapgp.metrics import METRICS, accuracy, targets_of
from eapgp.prompts import TokenizerOnly, encode
from eapgp.tasks import TASKS, make_prompts
from tools.training.demo import Recipe, build_tokenizer, learning_rate, main, train_demo

DEMO = Path(__file__).resolve().parent.parent / "assets" / "demo"
SMALL = Recipe(n_layers=2, n_heads=2, d_model=16, batch_per_task=4, pairs_per_task=20, test_pairs=12)


@pytest.fixture(scope="module")
def demo():
    """Hugging Face's own model and tokenizer, read from the folder without network."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(DEMO), local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(str(DEMO), local_files_only=True)


def _answer_logits(model, ids, encoded):
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(encoded.mask).long()).logits
    return logits[torch.arange(encoded.n), torch.from_numpy(encoded.lengths) - 1]


@pytest.mark.parametrize("task", TASKS)
def test_held_out_accuracy_on_fresh_pairs(task, demo):
    model, tokenizer = demo
    prompts = make_prompts(task, 200, seed=77, split="test")
    encoded = encode(prompts, TokenizerOnly(tokenizer))
    targets = targets_of(encoded)
    clean, corrupted = (_answer_logits(model, ids, encoded) for ids in (encoded.clean, encoded.corrupted))
    assert accuracy(clean, targets).float().mean() >= 0.98
    metric = METRICS[TASKS[task].metric].compute
    apart = metric(clean, targets) - metric(corrupted, targets)
    assert (apart > 0).float().mean() >= 0.9 and apart.mean() > 0.5


def test_hard_ioi_asks_for_the_wrong_answer(demo):
    model, tokenizer = demo
    prompts = make_prompts("ioi", 100, seed=5, split="test", corruption="hard")
    encoded = encode(prompts, TokenizerOnly(tokenizer))
    corrupted = _answer_logits(model, encoded.corrupted, encoded)
    assert METRICS["logit-diff"].compute(corrupted, targets_of(encoded)).mean() < -3


def test_bridge_gives_hugging_face_logits(demo, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformer_lens.model_bridge import TransformerBridge

    model, tokenizer = demo
    bridge = TransformerBridge.boot_transformers(str(DEMO), device="cpu")
    encoded = encode(make_prompts("ioi", 6, seed=1), TokenizerOnly(tokenizer)).take([0])
    ids = torch.from_numpy(encoded.clean)
    with torch.no_grad():
        torch.testing.assert_close(bridge(ids), model(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


def test_tokenizer_follows_gpt2s_convention(demo):
    _, tokenizer = demo
    text = "When Mary and John went to the store, John gave a drink to"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text and len(ids) == 14
    assert tokenizer.decode([ids[1]]) == " Mary"
    years = tokenizer("The war went on from the year 1352 to the year 13", add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode([i]) for i in years[-6:]] == [" 13", "52", " to", " the", " year", " 13"]
    assert tokenizer.bos_token_id is not None and tokenizer.bos_token_id != tokenizer.unk_token_id


def test_the_folder_holds_the_vocabulary_of_the_tasks(demo):
    """The committed tokenizer is what the tasks give today: no word was added without training again."""
    assert demo[1].get_vocab() == build_tokenizer().get_vocab()


def test_folder_is_small_and_the_card_tells_the_figures():
    assert sum(path.stat().st_size for path in DEMO.iterdir()) <= 8 * 2**20
    assert not [path.name for path in DEMO.iterdir() if path.suffix in (".bin", ".pt", ".py", ".pkl")]
    figures = json.loads((DEMO / "training.json").read_text(encoding="utf-8"))
    card = (DEMO / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert set(figures["tasks"]) == set(TASKS)
    for name, row in figures["tasks"].items():
        assert row["accuracy"] >= 0.98
        assert f"| {name} | {row['pairs']} | {100 * row['accuracy']:.1f} %" in card
    assert f"{figures['steps']:,} steps" in card and "must not be used for" in card and "479 edges" in card


def test_training_writes_a_loadable_model_and_is_deterministic(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    seen = []
    figures = [
        train_demo(
            tmp_path / name, steps=3, seed=seed, threads=1, recipe=SMALL, progress=lambda *event: seen.append(event)
        )
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "training.json", "MODEL_CARD.md"} <= files
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert [loss["step"] for loss in figures[0]["losses"]] == [1, 2, 3]
    assert figures[0]["losses"] == figures[1]["losses"]
    assert ("training", 1.0) in seen and ("done", 1.0) in seen
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path / "a"))
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path / "a"))
    assert model.config.vocab_size == len(tokenizer) and model.config.n_layer == 2
    assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()


def test_training_lowers_the_loss(tmp_path):
    losses = train_demo(tmp_path, steps=30, threads=1, recipe=replace(SMALL, learning_rate=0.02))["losses"]
    assert losses[-1]["answer"] < losses[0]["answer"] - 0.5


def test_cancelled_training_writes_nothing(tmp_path):
    def stop(phase, fraction):
        if phase == "training":
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        train_demo(tmp_path / "out", steps=3, threads=1, recipe=SMALL, progress=stop)
    assert not (tmp_path / "out").exists()


def test_training_leaves_the_global_state_alone(tmp_path):
    torch.manual_seed(4)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train_demo(tmp_path, steps=1, threads=threads + 1, recipe=SMALL)
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("options", [{"steps": 0}, {"threads": 0}])
def test_bad_training_options(options, tmp_path):
    with pytest.raises(OptionError, match="at least 1"):
        train_demo(tmp_path, **options)


def test_the_command_refuses_a_place_before_it_trains(tmp_path, capsys):
    (tmp_path / "file").touch()
    for words, message in ((["--out", str(tmp_path / "file")], "expected a folder"), (["--steps", "0"], "at least 1")):
        with pytest.raises(SystemExit) as ended:
            main([*words, *([] if "--out" in words else ["--out", str(tmp_path)])])
        assert ended.value.code == 2 and message in capsys.readouterr().err


def test_learning_rate_warms_up_and_decays_to_zero():
    recipe = Recipe(learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(step, steps=100, recipe=recipe) for step in range(100)]
    assert np.argmax(rates) in (9, 10) and max(rates) == pytest.approx(1.0)
    assert rates[0] == pytest.approx(0.1) and rates[-1] < 0.01
    assert rates[54] == pytest.approx(0.5, abs=0.02)
