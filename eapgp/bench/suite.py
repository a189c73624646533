"""`eapgp bench`: what attribution costs beside the bare passes, in one run on one machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from eapgp.attribution.api import attribute
from eapgp.attribution.result import EdgeScores
from eapgp.bench import literal
from eapgp.bench.measure import Measured, exponent, machine, measure
from eapgp.bench.passes import forward, unavoidable, unavoidable_activations
from eapgp.engine.batches import Batch, make_batch
from eapgp.engine.distance import gram
from eapgp.metrics import get_metric
from eapgp.models import load_model
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs

Progress = Callable[[str, float], None]
STEPS = 5
SECTIONS = ("methods", "literal", "circuits", "exact", "activations", "growth", "xl")
QUICK = ("methods", "literal", "circuits", "exact")


@dataclass(frozen=True)
class Setting:
    """A model and random prompts of one length on it."""

    model: Model
    encoded: EncodedPairs
    batch: Batch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", make_batch(self.model, self.encoded, np.arange(self.encoded.n)))

    def metric(self, logits: torch.Tensor) -> torch.Tensor:
        """`[pair]` logit difference."""
        return get_metric("logit-diff").compute(logits, self.batch.targets)

    def run(self, method: str, **options: Any) -> None:
        """Score every edge once, as one batch."""
        attribute(self.model, self.encoded, method=method, batch_size=self.encoded.n, keep_points=False, **options)


def random_pairs(n_vocab: int, pairs: int, length: int, seed: int = 0) -> EncodedPairs:
    """Random token ids; the corrupted prompt differs in one position."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(1, n_vocab, (pairs, length))
    corrupted = clean.copy()
    corrupted[:, length // 2] = rng.integers(1, n_vocab, pairs)
    answers = rng.integers(1, n_vocab, (pairs, 2))
    return EncodedPairs(
        clean,
        corrupted,
        np.full(pairs, length),
        tuple((int(a),) for a in answers[:, 0]),
        tuple((int(b),) for b in answers[:, 1]),
    )


def run_bench(
    *,
    sections: tuple[str, ...] = QUICK,
    shape: str = "gpt2",
    pairs: int = 8,
    length: int = 17,
    repeats: int = 3,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure; every ratio compares runs of this call. Keys of the result are stable."""
    say = progress or (lambda phase, fraction: None)
    result: dict[str, Any] = {"machine": machine(), "shape": shape, "pairs": pairs, "tokens": length, "steps": STEPS}
    say("building the model", 0.0)
    model = load_model(shape, random_weights=True, device=device)
    setting = Setting(model, random_pairs(model.n_vocab, pairs, length))
    makers: dict[str, Callable[[Setting, int], dict[str, Any]]] = {
        "methods": _methods,
        "literal": _literal,
        "circuits": _circuits,
        "exact": _exact,
        "activations": _activations,
        "growth": lambda _setting, count: _growth(device, count),
        "xl": lambda _setting, _count: _xl(device),
    }
    for done, name in enumerate(sections):
        say(f"measuring: {name}", done / len(sections))
        result |= makers[name](setting, repeats)
    if "eap_ig_seconds" in result and "literal_seconds" in result:
        result["literal_over_eap_ig"] = result["literal_seconds"] / result["eap_ig_seconds"]
    say("done", 1.0)
    return result


def _cuda(setting: Setting) -> bool:
    return setting.model.device.type == "cuda"


def _methods(setting: Setting, repeats: int) -> dict[str, Any]:
    """Each path method over its own unavoidable passes, and eap-gp over eap-ig."""
    model, batch = setting.model, setting.batch
    gram_cost = measure({"gram": lambda: (model.cache.pop("unembed.gram", None), gram(model))}, repeats=1)
    work: dict[str, Callable[[], Any]] = {
        "bare_1": lambda: unavoidable(model, batch.clean, batch.corrupted, setting.metric, 1),
        "bare_k": lambda: unavoidable(model, batch.clean, batch.corrupted, setting.metric, STEPS),
        "eap": lambda: setting.run("eap"),
        "eap_ig": lambda: setting.run("eap-ig", steps=STEPS),
        "ceap": lambda: setting.run("ceap", steps=STEPS),
        "eap_gp": lambda: setting.run("eap-gp", steps=STEPS),
    }
    found = measure(work, repeats=repeats, cuda=_cuda(setting))
    difference = batch.size * model.graph.n_sources * batch.clean.ids.shape[1] * model.d_model * 4 / 2**20
    return {
        "bare_seconds": found["bare_k"].best,
        "eap_over_passes": _ratio(found, "eap", "bare_1"),
        "eap_ig_over_passes": _ratio(found, "eap_ig", "bare_k"),
        "ceap_over_passes": _ratio(found, "ceap", "bare_k"),
        "eap_gp_over_eap_ig": _ratio(found, "eap_gp", "eap_ig"),
        "eap_gp_over_passes": _ratio(found, "eap_gp", "bare_k"),
        **{f"{name}_seconds": value.best for name, value in found.items() if not name.startswith("bare")},
        "gram_seconds": gram_cost["gram"].best,
        "difference_mb": difference,
        "bare_peak_mb": found["bare_k"].peak_mb,
        "peak_mb": found["eap_gp"].peak_mb,
        "peak_mb_by_method": {name: value.peak_mb for name, value in found.items()},
        "peak_bound_mb": 1.5 * found["bare_k"].peak_mb + difference,
    }


def _repeat(work: Callable[..., None], times: int, *arguments: Any) -> None:
    for _ in range(times):
        work(*arguments)


def _ratio(found: dict[str, Measured], over: str, under: str) -> float:
    """Median over repeats of the ratio of neighbouring runs."""
    pairs = zip(found[over].seconds, found[under].seconds, strict=True)
    return float(np.median([a / b for a, b in pairs]))


def _literal(setting: Setting, repeats: int) -> dict[str, Any]:
    """EAP-IG with split inputs, as the field's code runs it: parameters require gradients."""
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

    found = measure({"literal": run}, repeats=1, cuda=_cuda(setting))["literal"]
    return {"literal_seconds": found.best, "literal_peak_mb": found.peak_mb}


def _circuits(setting: Setting, repeats: int) -> dict[str, Any]:
    """A curve of ten circuit sizes over ten plain forward passes."""
    from eapgp.circuits.select import select_many
    from eapgp.evaluation.curves import default_sizes
    from eapgp.evaluation.runner import CircuitRunner

    model, graph = setting.model, setting.model.graph
    noise = np.random.default_rng(0).standard_normal(graph.mask.shape) ** 3 * graph.mask
    circuits = select_many(EdgeScores(graph, noise), default_sizes(graph.n_edges))
    runner = CircuitRunner(model, setting.encoded, batch_size=setting.encoded.n)
    work: dict[str, Callable[[], Any]] = {
        "forward": lambda: _repeat(forward, len(circuits), model, setting.batch.clean),
        "curve": lambda: runner.run(circuits),
    }
    found = measure(work, repeats=repeats, cuda=_cuda(setting))
    return {
        "curve_sizes": len(circuits),
        "curve_over_forwards": _ratio(found, "curve", "forward"),
        "curve_seconds": found["curve"].best,
        "curve_peak_mb": found["curve"].peak_mb,
    }


def _exact(setting: Setting, repeats: int) -> dict[str, Any]:
    """Exact patching on a sample of edges, spread over the graph, in forward passes per edge."""
    model, graph = setting.model, setting.model.graph
    rows, columns = np.nonzero(graph.mask)
    chosen = np.random.default_rng(0).choice(len(rows), min(120, len(rows)), replace=False)
    edges = [graph.edge_name(int(rows[i]), int(columns[i])) for i in chosen]
    work: dict[str, Callable[[], Any]] = {
        "forward": lambda: _repeat(forward, 10, model, setting.batch.clean),
        "exact": lambda: setting.run("exact", edges=edges),
        "overhead": lambda: setting.run("exact", edges=[]),
    }
    found = measure(work, repeats=max(1, repeats - 1), cuda=_cuda(setting))
    per_forward = found["forward"].best / 10
    spent = found["exact"].best - found["overhead"].best
    return {
        "exact_edges": len(edges),
        "exact_forwards_per_edge": spent / len(edges) / per_forward,
        "exact_seconds_per_edge": spent / len(edges),
    }


def _activations(setting: Setting, repeats: int) -> dict[str, Any]:
    """eap-ig-activations over one path per component, k = 2."""
    model, batch, steps = setting.model, setting.batch, 2
    work: dict[str, Callable[[], Any]] = {
        "bare": lambda: unavoidable_activations(model, batch.clean, batch.corrupted, setting.metric, steps),
        "activations": lambda: setting.run("eap-ig-activations", steps=steps),
    }
    found = measure(work, repeats=1, cuda=_cuda(setting))
    return {
        "activations_steps": steps,
        "eap_ig_activations_over_passes": _ratio(found, "activations", "bare"),
        "eap_ig_activations_seconds": found["activations"].best,
    }


def _growth(device: str, repeats: int) -> dict[str, Any]:
    """Seconds and memory of eap-gp as one size grows and the others stay (256 wide, 4 layers, 4 heads)."""
    base = {"pairs": 8, "tokens": 16, "layers": 4, "heads": 4}
    grids = {"pairs": [8, 16, 32, 64], "tokens": [16, 32, 64, 128], "layers": [4, 8, 16], "heads": [4, 8, 16, 32]}
    growth: dict[str, Any] = {}
    for axis, sizes in grids.items():
        found = [_one_size({**base, axis: size}, device, repeats) for size in sizes]
        growth[axis] = {
            "sizes": sizes,
            "seconds": [m.best for m in found],
            "peak_mb": [m.peak_mb for m in found],
            "exponent": exponent([float(s) for s in sizes], [m.best for m in found]),
        }
    return {"growth": growth}


def _one_size(size: dict[str, int], device: str, repeats: int) -> Measured:
    from eapgp.bench.shapes import random_gpt2

    model = random_gpt2(layers=size["layers"], heads=size["heads"], width=256, vocab=5000, device=device)
    setting = Setting(model, random_pairs(model.n_vocab, size["pairs"], size["tokens"]))
    return measure({"run": lambda: setting.run("eap-gp", steps=STEPS)}, repeats=repeats, cuda=_cuda(setting))["run"]


def _xl(device: str) -> dict[str, Any]:
    """GPT-2 XL's shape: eap-gp with k = 5 on 4 pairs of 17 tokens."""
    import time

    from eapgp.bench.measure import PeakMemory

    with PeakMemory() as peak:
        model = load_model("gpt2-xl", random_weights=True, device=device)
        weights = peak._process.memory_info().rss - peak.start
        setting = Setting(model, random_pairs(model.n_vocab, 4, 17))
        started = time.perf_counter()
        setting.run("eap-gp", steps=STEPS)
        seconds = time.perf_counter() - started
    return {
        "xl_edges": model.graph.n_edges,
        "xl_seconds": seconds,
        "xl_weights_mb": weights / 2**20,
        "xl_peak_mb": peak.peak / 2**20,
    }
