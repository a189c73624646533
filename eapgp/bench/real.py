"""A really trained model's shape, each method held against transformers alone on the same threads in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eapgp.attribution.result import EdgeScores
from eapgp.bench.measure import measure
from eapgp.bench.setting import CURVE_SHARES, STEPS, Setting, Work, random_pairs, ratio, repeat
from eapgp.circuits.select import select_many
from eapgp.engine.passes import Tokens
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import mib_sizes
from eapgp.models import load_model
from eapgp.models.configs import configuration
from eapgp.models.packaged import is_here
from eapgp.models.store import models_home

NAME = "smollm2-135m"
MASK_POINTS = 3
MANY_PAIRS = 32
"""As many as tasks usually run as one batch; what both prompts begin with is then long enough to be run once."""
MANY: dict[str, str] = {"many_eap_ig": "eap-ig", "many_ceap": "ceap"}
LIVE_TOKENS, EDITED_EDGES = 15, 2000  # a sentence tried live; the circuit that is run again after an edit
# figure → (method, its options, the bare passes it is held against)
METHODS: dict[str, tuple[str, dict[str, int], str]] = {
    "eap": ("eap", {}, "bare_1"),
    "eap_ig": ("eap-ig", {"steps": STEPS}, "bare_k"),
    "ceap": ("ceap", {"steps": STEPS}, "bare_k"),
    "mask_ig": ("mask-ig", {"steps": MASK_POINTS}, "bare_mask"),
    "eap_gp": ("eap-gp", {"steps": STEPS}, "bare_gp"),
    "eap_ig_activations": ("eap-ig-activations", {"steps": 1}, "bare_each"),
}


@dataclass(frozen=True)
class Bare:
    """transformers' own model of a setting, frozen; only the answer position reaches the unembedding."""

    network: Any
    setting: Setting

    @classmethod
    def of(cls, setting: Setting) -> Bare:
        """The same architecture with drawn weights: what a pass costs does not depend on them."""
        from transformers import AutoModelForCausalLM

        config = configuration(NAME)
        config._attn_implementation = "eager"  # as the engine's own
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().to(setting.model.device)
        return cls(network.requires_grad_(False), setting)

    def forward(self, tokens: Tokens, *, leaf: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Input embeddings, what the unembedding may read, and the logits at the answer position."""
        x = self.network.get_input_embeddings()(tokens.ids).detach().requires_grad_(leaf)
        hidden = self.network.model(inputs_embeds=x, use_cache=False).last_hidden_state
        answers = hidden[torch.arange(len(hidden), device=hidden.device), tokens.last.to(hidden.device)]
        return x, hidden, self.network.lm_head(answers)

    def passes(self, count: int) -> None:
        """Clean and corrupted pass without gradient, then `count` forward and backward passes to the input."""
        batch = self.setting.batch
        self.plain(batch.clean)
        self.plain(batch.corrupted)
        for _ in range(count):
            x, _, logits = self.forward(batch.clean, leaf=True)
            torch.autograd.grad(self.setting.metric(logits).sum(), x)

    def gradpath(self, count: int) -> None:
        """Corrupted pass without gradient, then `count` + 1 forward and 2 · `count` backward passes."""
        self.plain(self.setting.batch.corrupted)
        for step in range(count + 1):
            x, hidden, logits = self.forward(self.setting.batch.clean, leaf=True)
            if step > 0:
                torch.autograd.grad(self.setting.metric(logits).sum(), x, retain_graph=step < count)
            if step < count:
                torch.autograd.grad(hidden.square().sum(), x)

    def plain(self, tokens: Tokens) -> None:
        """One forward pass without gradient."""
        with torch.no_grad():
            self.forward(tokens)

    def by_component(self, count: int) -> None:
        """Clean and corrupted pass, then for the input and each layer's attention and MLP `count` passes from there."""
        batch = self.setting.batch
        self.plain(batch.clean)
        self.plain(batch.corrupted)
        entering = self.network.get_input_embeddings()(batch.clean.ids).detach()
        for start in (0, *(layer for layer in range(len(self.network.model.layers)) for _ in range(2))):
            for _ in range(count):
                x = entering.clone().requires_grad_(True)
                torch.autograd.grad(self.setting.metric(self.onward(x, start, batch.clean)).sum(), x)

    def onward(self, x: Tensor, start: int, tokens: Tokens) -> Tensor:
        """Logits at the answers from what enters a layer, `[pair, pos, d_model]`."""
        decoder, width = self.network.model, x.shape[1]
        turns = decoder.rotary_emb(x, torch.arange(width, device=x.device)[None])
        ahead = torch.full((width, width), float("-inf"), device=x.device).triu(1)[None, None]
        for layer in decoder.layers[start:]:
            out = layer(x, attention_mask=ahead, position_embeddings=turns)
            x = out if isinstance(out, Tensor) else out[0]
        answers = x[torch.arange(len(x), device=x.device), tokens.last.to(x.device)]
        return self.network.lm_head(decoder.norm(answers))


def real(device: str, repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Methods, a curve and live use on smollm2-135m (weights drawn where it was not fetched): 8 pairs of 17 tokens."""
    trained = is_here(NAME)
    model = load_model(NAME, random_weights=not trained, device=device)
    setting = Setting(model, random_pairs(model.n_vocab, 8, 17))
    bare, graph = Bare.of(setting), model.graph
    setting.run("eap-gp", steps=2)  # fills what is kept per model
    noise = np.random.default_rng(0).standard_normal(graph.mask.shape) ** 3 * graph.mask
    scores = EdgeScores(graph, noise)
    curve = select_many(scores, mib_sizes(graph.n_edges, CURVE_SHARES))
    edited, runner = select_many(scores, [EDITED_EDGES]), CircuitRunner(model, setting.encoded, batch_size=8)
    live = Setting(model, random_pairs(model.n_vocab, 1, LIVE_TOKENS))
    many = Setting(model, random_pairs(model.n_vocab, MANY_PAIRS, 17))
    work: Work = {
        "bare_1": partial(bare.passes, 1),
        "bare_k": partial(bare.passes, STEPS),
        "bare_mask": partial(bare.passes, MASK_POINTS),
        "bare_gp": partial(bare.gradpath, STEPS),
        "bare_each": partial(bare.by_component, 1),
        "bare_many": partial(Bare(bare.network, many).passes, STEPS),
        "forward": lambda: repeat(bare.plain, len(curve), setting.batch.clean),
        "curve": lambda: runner.run(curve),
        "live": lambda: live.run("eap-gp", steps=STEPS),
        "edit": lambda: runner.run(edited),
    }
    work |= {figure: partial(setting.run, method, **options) for figure, (method, options, _) in METHODS.items()}
    work |= {figure: partial(many.run, method, steps=STEPS) for figure, method in MANY.items()}
    say(f"real: {NAME}")
    timings = measure(work, repeats=repeats, cuda=setting.cuda)
    figures: dict[str, Any] = {"real_trained": trained, "real_edges": graph.n_edges}
    for figure, (_, _, passes) in METHODS.items():
        figures[f"real_{figure}_over_passes"] = ratio(timings, figure, passes)
        figures[f"real_{figure}_seconds"] = timings[figure].median
        bound = 1.3 * timings[passes].peak_mb + setting.difference_mb
        figures[f"real_{figure}_peak_over_bound"] = timings[figure].peak_mb / bound
    figures |= {f"real_{figure}_over_passes": ratio(timings, figure, "bare_many") for figure in MANY}
    return figures | {
        "real_eap_gp_over_eap_ig": ratio(timings, "eap_gp", "eap_ig"),
        "real_bare_gp_over_bare_k": ratio(timings, "bare_gp", "bare_k"),
        "real_curve_over_forwards": ratio(timings, "curve", "forward"),
        "real_curve_seconds": timings["curve"].median,
        "real_live_seconds": timings["live"].median,
        "real_edit_seconds": timings["edit"].median,
        "real_peak_mb": max(timings[figure].peak_mb for figure in METHODS),
    }


_BARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, text, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
def run(leaf):
    x = network.get_input_embeddings()(ids).detach().requires_grad_(leaf)
    hidden = network.model(inputs_embeds=x, use_cache=False).last_hidden_state
    return x, hidden, network.lm_head(hidden[:, -1])
network.requires_grad_(False)
run(False)
for step in range(steps + 1):
    x, hidden, logits = run(True)
    if step:
        torch.autograd.grad(logits[0, :2].sum(), x, retain_graph=step < steps)
    if step < steps:
        torch.autograd.grad(hidden.square().sum(), x)
"""
_TEXT = "When Mary and John went to the store, John gave a drink to"


def starting(device: str, repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """A cold `eapgp attribute` on one pair over a script that loads the same folder and makes the same passes.

    Processor seconds of whole processes, alternated; the smallest of each. Nothing without the fetched model.
    """
    if not is_here(NAME) or device != "cpu":
        return {}
    command = ["-m", "eapgp", "attribute", "--model", NAME, "--task", "ioi", "--method", "eap-gp", "--pairs", "1"]
    spent: dict[str, list[float]] = {"bare": [], "eapgp": []}
    with tempfile.TemporaryDirectory() as home:
        command += ["--option", f"steps={STEPS}", "--no-cache", "--quiet", "--json", "--home", home]
        bare = ["-c", _BARE, str(models_home() / NAME), _TEXT, str(STEPS)]
        for _ in range(max(1, repeats - 1)):
            say("starting: a process of its own")
            spent["bare"].append(_processor_seconds(bare))
            spent["eapgp"].append(_processor_seconds(command))
    best = {name: min(values) for name, values in spent.items()}
    return {
        "start_seconds": best["eapgp"],
        "start_bare_seconds": best["bare"],
        "start_over_bare": best["eapgp"] / best["bare"],
    }


def _processor_seconds(arguments: Sequence[str]) -> float:
    before = _children()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return _children() - before


def _children() -> float:
    """Processor seconds of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system
