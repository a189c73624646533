"""The sections of the benchmark: each measures one thing and returns its figures under stable names."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import psutil
import torch

from eapgp.attribution.api import attribute
from eapgp.attribution.per_position import span_scores
from eapgp.attribution.result import EdgeScores
from eapgp.bench import literal
from eapgp.bench.measure import PeakMemory, Timing, exponent, measure
from eapgp.bench.passes import forward, forward_backward, unavoidable, unavoidable_activations, unavoidable_gradpath
from eapgp.bench.setting import CURVE_SHARES, STEPS, Setting, Work, random_pairs, ratio, repeat
from eapgp.bench.shapes import random_gpt2
from eapgp.circuits.mechanisms import cluster_pairs
from eapgp.circuits.select import select_many, select_nodes
from eapgp.engine.differences import gram
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import mib_sizes
from eapgp.models import load_model
from eapgp.prompts.encode import encode
from eapgp.readings import attention_terms
from eapgp.reference.learned_mask import Training, learn_masks
from eapgp.reference.pruned import prune_by_effect
from eapgp.tasks import make_prompts, prompt_spans

Say = Callable[[str], None]
# method → the bare passes it is held against
HELD_AGAINST = {"eap": "bare_1", "eap_ig": "bare_k", "ceap": "bare_k", "eap_gp": "bare_gp"}


def methods(setting: Setting, repeats: int, say: Say) -> dict[str, Any]:
    """Each path method over its own unavoidable passes, and eap-gp over eap-ig."""
    model, batch = setting.model, setting.batch
    gram_seconds = measure({"": lambda: (model.cache.pop("unembed.gram", None), gram(model))}, repeats=1)[""].best
    setting.run("eap-gp", steps=2)  # fills what is kept per model, which is no part of any method's memory
    sides = (batch.clean, batch.corrupted, setting.metric)
    work: Work = {}
    for lean in (False, True):
        end = "_lean" if lean else ""
        work["bare_1" + end] = partial(unavoidable, model, *sides, 1, lean=lean)
        work["bare_k" + end] = partial(unavoidable, model, *sides, STEPS, lean=lean)
        work["bare_gp" + end] = partial(unavoidable_gradpath, model, *sides, STEPS, lean=lean)
    work["eap"] = lambda: setting.run("eap")
    for name in ("eap-ig", "ceap", "eap-gp"):
        work[name.replace("-", "_")] = partial(setting.run, name, steps=STEPS)
    measurements = measure(work, repeats=repeats, cuda=setting.cuda)
    figures: dict[str, Any] = {"eap_gp_over_eap_ig": ratio(measurements, "eap_gp", "eap_ig")}
    for name, bare in HELD_AGAINST.items():
        figures |= {
            f"{name}_seconds": measurements[name].median,
            f"{name}_over_passes": ratio(measurements, name, bare),
            f"{name}_over_lean_passes": ratio(measurements, name, bare + "_lean"),
            f"{name}_peak_over_bound": measurements[name].peak_mb
            / (1.5 * measurements[bare].peak_mb + setting.difference_mb),
        }
    return figures | {
        "bare_seconds": measurements["bare_k"].median,
        "bare_gp_seconds": measurements["bare_gp"].median,
        "gram_seconds": gram_seconds,
        "difference_mb": setting.difference_mb,
        "peak_mb": measurements["eap_gp"].peak_mb,
        "peak_mb_by_run": {name: value.peak_mb for name, value in measurements.items()},
    }


def literal_way(setting: Setting, repeats: int, say: Say) -> dict[str, Any]:
    """EAP-IG with split inputs as the EAP-IG library runs it, and with TransformerLens 4's own per-head results."""
    model, batch = setting.model, setting.batch
    parameters = [p for module in model.bridge.modules() for p in module.parameters(recurse=False)]

    def run() -> None:
        for parameter in parameters:
            parameter.requires_grad_(True)
        try:
            literal.eap_ig(model, batch.clean.ids, batch.corrupted.ids, setting.metric, STEPS)
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None

    def entrywise() -> None:
        with literal.entrywise_results(model):
            run()

    own: Work = {"eap_ig": lambda: setting.run("eap-ig", steps=STEPS)}
    say("literal: HookedTransformer's per-head results")
    slow = measure({**own, "literal": entrywise}, repeats=0, cuda=setting.cuda)
    say("literal: TransformerLens 4's per-head results")
    fast = measure({**own, "literal": run}, repeats=max(1, repeats - 1), cuda=setting.cuda)
    return {
        "literal_over_eap_ig": slow["literal"].best / min(slow["eap_ig"].best, fast["eap_ig"].best),
        "literal_seconds": slow["literal"].best,
        "literal_peak_mb": slow["literal"].peak_mb,
        "literal_einsum_over_eap_ig": ratio(fast, "literal", "eap_ig"),
        "literal_einsum_seconds": fast["literal"].median,
        "literal_einsum_peak_mb": fast["literal"].peak_mb,
        "literal_own_peak_mb": fast["eap_ig"].peak_mb,
    }


def circuits(setting: Setting, repeats: int, say: Say) -> dict[str, Any]:
    """A curve of ten circuit sizes over ten plain forward passes; by edges, and by nodes."""
    model, graph = setting.model, setting.model.graph
    noise = np.random.default_rng(0).standard_normal(graph.mask.shape) ** 3 * graph.mask
    scores = EdgeScores(graph, noise)
    selection = select_many(scores, mib_sizes(graph.n_edges, CURVE_SHARES))
    by_nodes = select_nodes(scores, mib_sizes(graph.n_sources, CURVE_SHARES))
    runner = CircuitRunner(model, setting.encoded, batch_size=setting.encoded.n)
    work: Work = {
        "forward": lambda: repeat(forward, len(selection), model, setting.batch.clean),
        "curve": lambda: runner.run(selection),
        "nodes": lambda: runner.run(by_nodes),
    }
    measurements = measure(work, repeats=repeats, cuda=setting.cuda)
    return {
        "curve_sizes": len(selection),
        "curve_over_forwards": ratio(measurements, "curve", "forward"),
        "node_curve_over_forwards": ratio(measurements, "nodes", "forward"),
        "curve_seconds": measurements["curve"].median,
        "curve_peak_mb": measurements["curve"].peak_mb,
    }


def exact(setting: Setting, repeats: int, say: Say) -> dict[str, Any]:
    """Exact patching on a sample of edges, spread over the graph, in forward passes per edge."""
    model, graph = setting.model, setting.model.graph
    rows, columns = np.nonzero(graph.mask)
    sample = np.random.default_rng(0).choice(len(rows), min(120, len(rows)), replace=False)
    edges = [graph.edge_name(int(rows[i]), int(columns[i])) for i in sample]
    work: Work = {
        "forward": lambda: repeat(forward, 10, model, setting.batch.clean),
        "exact": lambda: setting.run("exact", edges=edges),
        "overhead": lambda: setting.run("exact", edges=[]),
    }
    measurements = measure(work, repeats=max(1, repeats - 1), cuda=setting.cuda)
    spent = measurements["exact"].median - measurements["overhead"].median
    return {
        "exact_edges": len(edges),
        "exact_forwards_per_edge": spent / len(edges) / (measurements["forward"].median / 10),
        "exact_seconds_per_edge": spent / len(edges),
    }


def activations(setting: Setting, repeats: int, say: Say) -> dict[str, Any]:
    """eap-ig-activations over one path per component; with k = 1, where scoring weighs most."""
    model, batch, steps = setting.model, setting.batch, 1
    sides = (batch.clean, batch.corrupted, setting.metric, steps)
    work: Work = {
        "bare": lambda: unavoidable_activations(model, *sides),
        "lean": lambda: unavoidable_activations(model, *sides, lean=True),
        "activations": lambda: setting.run("eap-ig-activations", steps=steps),
    }
    measurements = measure(work, repeats=max(1, repeats - 2), cuda=setting.cuda)
    bound = 1.5 * measurements["bare"].peak_mb + setting.difference_mb
    return {
        "activations_steps": steps,
        "eap_ig_activations_over_passes": ratio(measurements, "activations", "bare"),
        "eap_ig_activations_over_lean_passes": ratio(measurements, "activations", "lean"),
        "eap_ig_activations_seconds": measurements["activations"].median,
        "eap_ig_activations_peak_mb": measurements["activations"].peak_mb,
        "eap_ig_activations_peak_over_bound": measurements["activations"].peak_mb / bound,
    }


def demo(device: str, repeats: int, say: Say) -> dict[str, Any]:
    """The bundled model on 64 pairs: one circuit, EAP-GP, and every edge patched."""
    model = load_model("demo", device=device)
    prompts = make_prompts("ioi", 64, seed=0)
    scores = attribute(model, prompts, method="eap-gp").scores
    sizes = [10, 50, 100, 200, 400]
    circuits, runner = select_many(scores, sizes), CircuitRunner(model, prompts)
    work: Work = {str(n): partial(runner.run, [circuit]) for n, circuit in zip(sizes, circuits, strict=True)}
    work["eap-gp"] = lambda: attribute(model, prompts, method="eap-gp")
    measurements = measure(work, repeats=max(5, repeats), cuda=model.device.type == "cuda")
    every = measure({"exact": lambda: attribute(model, prompts, method="exact")}, repeats=0)["exact"]
    return {
        "demo_pairs": len(prompts),
        "demo_circuit_ms": max(measurements[str(n)].median for n in sizes) * 1e3,
        "demo_circuit_ms_by_edges": {str(n): measurements[str(n)].median * 1e3 for n in sizes},
        "demo_eap_gp_seconds": measurements["eap-gp"].median,
        "demo_exact_edges": model.graph.n_edges,
        "demo_exact_seconds": every.best,
    }


def questions(device: str, repeats: int, say: Say) -> dict[str, Any]:
    """What five further questions cost on the bundled model, over the passes that they go by."""
    model = load_model("demo", device=device)
    prompts = make_prompts("ioi", 64, seed=0, tokenizer=model.tokenizer)
    few, one = prompts.pick(range(Training.pairs_at_once)), prompts.pick([0])
    spans = prompt_spans(prompts, model)
    setting, single = (Setting(model, encode(some, model)) for some in (few, one))
    scored = attribute(model, prompts, method="eap-ig", keep_pairs=True)
    runner, steps = CircuitRunner(model, few), 20
    node = f"a{model.graph.n_layers - 1}.h0"
    work: Work = {
        "scores": lambda: attribute(model, prompts, method="eap-ig"),
        "spans": lambda: span_scores(model, prompts, spans, method="eap-ig"),
        "clusters": lambda: cluster_pairs(scored),
        "passes": lambda: repeat(forward_backward, steps, model, setting.batch.clean, setting.metric, lean=True),
        "mask": lambda: learn_masks(model, few, [20], scored.scores, how=Training(steps)),
        "forwards": lambda: repeat(forward, 2, model, single.batch.clean),
        "attention": lambda: attention_terms(model, one, 0, node),
        "edges": lambda: repeat(forward, model.graph.n_edges, model, setting.batch.clean, lean=True),
        "pruning": lambda: prune_by_effect(runner, [model.graph.n_edges - 1]),
    }
    measurements = measure(work, repeats=repeats, cuda=model.device.type == "cuda")
    return {
        "questions_spans_over_scores": ratio(measurements, "spans", "scores"),
        "questions_attention_over_forwards": ratio(measurements, "attention", "forwards"),
        "questions_mask_step_over_passes": ratio(measurements, "mask", "passes"),
        "questions_pruning_over_forwards": ratio(measurements, "pruning", "edges"),
        "questions_clusters_seconds": measurements["clusters"].median,
        "questions_attention_seconds": measurements["attention"].median,
        "questions_mask_step_seconds": measurements["mask"].median / steps,
    }


GROWTH_BASE = {"pairs": 8, "tokens": 16, "layers": 4, "heads": 4}
GROWTH_GRIDS = {
    "pairs": [8, 16, 32, 64],
    "tokens": [16, 32, 64, 128],
    "layers": [4, 8, 16, 32],
    "heads": [4, 8, 16, 32],
}


def growth(device: str, repeats: int, say: Say) -> dict[str, Any]:
    """Seconds and memory of eap-gp as one size grows and the others stay (256 wide, 4 layers, 4 heads)."""
    figures: dict[str, Any] = {}
    for axis, sizes in GROWTH_GRIDS.items():
        measurements = []
        for size in sizes:
            say(f"growth: {size} {axis}")
            measurements.append(_one_size({**GROWTH_BASE, axis: size}, device, repeats))
        seconds, peaks, numbers = (
            [m.median for m in measurements],
            [m.peak_mb for m in measurements],
            [float(s) for s in sizes],
        )
        figures[axis] = {
            "sizes": sizes,
            "seconds": seconds,
            "peak_mb": peaks,
            "exponent": exponent(numbers, seconds),
            "memory_exponent": exponent(numbers, peaks),
        }
    return {"growth": figures}


def _one_size(size: dict[str, int], device: str, repeats: int) -> Timing:
    model = random_gpt2(layers=size["layers"], heads=size["heads"], width=256, vocab=5000, device=device)
    setting = Setting(model, random_pairs(model.n_vocab, size["pairs"], size["tokens"]))
    setting.run("eap-gp", steps=1)  # what is kept per model
    return measure({"run": lambda: setting.run("eap-gp", steps=STEPS)}, repeats=repeats, cuda=setting.cuda)["run"]


def xl(device: str, _repeats: int, say: Say) -> dict[str, Any]:
    """GPT-2 XL's shape: eap-gp with k = 5 on 4 pairs of 17 tokens, once; resident memory of the whole process."""
    swapped = psutil.swap_memory().used
    with PeakMemory() as loading:
        model = load_model("gpt2-xl", random_weights=True, device=device)
    setting = Setting(model, random_pairs(model.n_vocab, 4, 17))
    say(f"xl: eap-gp on {model.graph.n_edges:,} edges")
    with PeakMemory() as running:
        started = time.perf_counter()
        setting.run("eap-gp", steps=STEPS)
        seconds = time.perf_counter() - started
    return {
        "xl_edges": model.graph.n_edges,
        "xl_seconds": seconds,
        "xl_loading_peak_mb": loading.peak / 2**20,
        "xl_growth_mb": running.mb,
        "xl_peak_mb": running.peak / 2**20,
        "xl_device_peak_mb": torch.cuda.max_memory_allocated() / 2**20 if setting.cuda else None,
        "xl_swapped_mb": max(0, psutil.swap_memory().used - swapped) / 2**20,
    }
