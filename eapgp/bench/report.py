"""docs/benchmarks.md, written from the figures of `eapgp bench`.

The figures are kept beside the page as JSON, by section. A later run replaces the sections that it measured and
leaves the others, each with the machine, the load and the day that it was measured on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eapgp.errors import FormatError

Record = dict[str, Any]
# section → rows of (figure, what it is, aim as text, comparison with the aim: "<" or ">", the aim)
ROWS: dict[str, tuple[tuple[str, str, str, float], ...]] = {
    "methods": (
        ("eap_over_passes", "eap over its bare passes", "≤", 1.2),
        ("eap_ig_over_passes", "eap-ig over its bare passes", "≤", 1.2),
        ("ceap_over_passes", "ceap over its bare passes", "≤", 1.2),
        ("eap_gp_over_passes", "eap-gp over its bare passes", "≤", 1.2),
        ("eap_over_lean_passes", "eap over lean passes", "≤", 1.2),
        ("eap_ig_over_lean_passes", "eap-ig over lean passes", "≤", 1.2),
        ("ceap_over_lean_passes", "ceap over lean passes", "≤", 1.2),
        ("eap_gp_over_lean_passes", "eap-gp over lean passes", "≤", 1.2),
        ("eap_gp_over_eap_ig", "eap-gp over eap-ig at equal k", "≤", 1.4),
        ("eap_peak_over_bound", "memory of eap over its bound", "≤", 1.0),
        ("eap_ig_peak_over_bound", "memory of eap-ig over its bound", "≤", 1.0),
        ("ceap_peak_over_bound", "memory of ceap over its bound", "≤", 1.0),
        ("eap_gp_peak_over_bound", "memory of eap-gp over its bound", "≤", 1.0),
    ),
    "activations": (
        ("eap_ig_activations_over_passes", "eap-ig-activations over its bare passes", "≤", 1.2),
        ("eap_ig_activations_over_lean_passes", "eap-ig-activations over lean passes", "≤", 1.2),
        ("eap_ig_activations_peak_over_bound", "memory of eap-ig-activations over its bound", "≤", 1.0),
    ),
    "literal": (
        ("literal_over_eap_ig", "literal EAP-IG, HookedTransformer's results, over eap-ig", "≥", 5.0),
        ("literal_einsum_over_eap_ig", "literal EAP-IG, TransformerLens 4's results, over eap-ig", "", 0.0),
    ),
    "circuits": (("curve_over_forwards", "curve of ten circuit sizes over ten forward passes", "≤", 1.6),),
    "exact": (("exact_forwards_per_edge", "exact patching, forward passes per edge", "≤", 0.6),),
    "demo": (("demo_circuit_ms", "one circuit of the demo model on 64 pairs, slowest size, ms", "≤", 100.0),),
    "questions": (
        ("questions_spans_over_scores", "demo: scores by the parts of prompts over eap-ig's scores", "", 0.0),
        ("questions_attention_over_forwards", "demo: one attention logit taken apart over two forward passes", "", 0.0),
        (
            "questions_mask_step_over_passes",
            "demo: a step of a learned mask over a forward and a backward pass",
            "",
            0.0,
        ),
        ("questions_pruning_over_forwards", "demo: a round of pruning over a forward pass for each edge", "", 0.0),
    ),
    "real": (
        ("real_eap_over_passes", "smollm2-135m: eap over transformers alone", "≤", 1.15),
        ("real_eap_ig_over_passes", "smollm2-135m: eap-ig over transformers alone", "≤", 1.15),
        ("real_ceap_over_passes", "smollm2-135m: ceap over transformers alone", "≤", 1.15),
        ("real_mask_ig_over_passes", "smollm2-135m: mask-ig, 3 points, over transformers alone", "≤", 1.15),
        ("real_eap_gp_over_passes", "smollm2-135m: eap-gp over transformers alone", "≤", 1.15),
        (
            "real_eap_ig_activations_over_passes",
            "smollm2-135m: eap-ig-activations, k = 1, over transformers alone, each component from its layer on",
            "≤",
            1.15,
        ),
        ("real_many_eap_ig_over_passes", "smollm2-135m, 32 pairs: eap-ig over transformers alone", "≤", 1.15),
        ("real_many_ceap_over_passes", "smollm2-135m, 32 pairs: ceap over transformers alone", "≤", 1.15),
        ("real_eap_gp_over_eap_ig", "smollm2-135m: eap-gp over eap-ig at equal k", "≤", 1.3),
        ("real_bare_gp_over_bare_k", "smollm2-135m: eap-gp's bare passes over eap-ig's", "", 0.0),
        ("real_curve_over_forwards", "smollm2-135m: curve of ten circuits over ten forward passes", "≤", 1.2),
        ("real_eap_peak_over_bound", "smollm2-135m: memory of eap over its bound", "≤", 1.0),
        ("real_eap_ig_peak_over_bound", "smollm2-135m: memory of eap-ig over its bound", "≤", 1.0),
        ("real_ceap_peak_over_bound", "smollm2-135m: memory of ceap over its bound", "≤", 1.0),
        ("real_mask_ig_peak_over_bound", "smollm2-135m: memory of mask-ig over its bound", "≤", 1.0),
        ("real_eap_gp_peak_over_bound", "smollm2-135m: memory of eap-gp over its bound", "≤", 1.0),
        (
            "real_eap_ig_activations_peak_over_bound",
            "smollm2-135m: memory of eap-ig-activations over its bound",
            "≤",
            1.0,
        ),
        ("real_live_seconds", "smollm2-135m: eap-gp on one pair of 15 tokens, s", "≤", 3.0),
        ("real_edit_seconds", "smollm2-135m: 8 pairs' faithfulness after an edit, 2,000 edges, s", "≤", 1.5),
    ),
    "starting": (
        ("start_over_bare", "smollm2-135m: cold `eapgp attribute`, one pair, over transformers alone", "≤", 1.5),
    ),
}

INTRODUCTION = """# Benchmarks

Written by `eapgp bench --report docs/benchmarks.md`; the figures lie beside this page in `benchmarks.json`. A later run
replaces the sections that it measures. Read ratios rather than seconds: both sides of a ratio run in turn
on the same machine, and the median of neighbouring runs is given.
"""

READING = """
## What the figures mean

- **Bare passes** are what a method cannot avoid, with nothing captured and nothing scored: for eap one, for eap-ig and
  ceap k forward and backward passes to the input, and a clean and a corrupted pass without gradient; for eap-gp k+1
  forward and 2k backward passes and a corrupted pass. They compute logits at every position, as a model by itself does.
  **Lean passes** are the same with only the answer position reaching the unembedding, as the engine's own passes do:
  the stricter comparison, in which nothing hides what scoring costs. A ratio below 1 is possible for both: eap-gp's
  two backward passes of a point are one batched pass, and ceap's first point is its corrupted run.
- **Memory bound**: 1.5 × the peak of the bare passes plus one activation difference `[pair, src, pos, d_model]`.
  Peaks are the largest sum of what torch had allocated at once beyond what was there before, from the record of every
  allocation that its profiler keeps (on CUDA: from the device's allocator). The XL figures are the resident size of the
  whole process, by the kernel's high-water mark.
- **Literal EAP-IG** is the split-input way of the field's EAP-IG library, written anew in `eapgp/bench/literal.py`: a
  copy of the residual for every head's query, key and value input, every head's result kept apart, parameters that
  require gradients, logits everywhere, one buffer `[pair, pos, src, d_model]` and one contraction per hook. That
  library runs on HookedTransformer (TransformerLens up to 3.9), which computes per-head results entry by entry in
  `[pair, pos, head, d_head, d_model]`; this is most of its time. The first ratio renders that. TransformerLens 4, where
  HookedTransformer is gone, computes them by einsum: the second ratio is what is left against it. The real thing,
  HookedTransformer of TransformerLens 2.16.1 in an environment of its own, took 31.7 and 35.9 s in this setting on the
  machine where the rendering took 32.3 s.
- **Curve**: ten circuits of 0.1 … 100 % of the edges, chosen at random, which is the worst case: almost every
  destination keeps a part of its edges.
- **Exact**: a sample of edges spread over the graph; what the method does once is subtracted.
- **Questions**: what telling words apart, taking attention apart, learning a mask and pruning cost on the bundled
  model. Telling words apart makes no pass of its own; circuits of nodes have their row above.
- **smollm2-135m**: the fetched model, or weights drawn in its shape where it was not, on 8 pairs of 17 random tokens
  that share 8 leading positions. Its bare passes are made by transformers alone (frozen, to the input embedding, only
  the answer position reaching the unembedding) and its memory bound is 1.3 × their peak plus one activation difference.
  With 32 pairs, as tasks usually run, eap-ig and ceap run the shared positions once for all points (done from 128
  tokens on). ceap contracts with all 123,211 edges at every point, which its bare passes do not.
- **Starting**: processor seconds of a whole process: `eapgp attribute --method eap-gp` on one pair, against a script
  that loads the same folder with transformers and makes the same passes.
- **Growth**: random GPT-2 models, 256 wide; exponent 1 is linear, and the constant cost of a run keeps it below where
  the sizes are small. Edges grow with the square of layers and heads.
"""


def write_report(figures: Record, page: Path) -> Path:
    """Merge a run's figures into the JSON beside `page`, and write the page; returns the JSON's path.

    Errors: FormatError if the JSON that is there cannot be read.
    """
    store = page.with_suffix(".json")
    sections: Record = {}
    if store.exists():
        try:
            sections = dict(json.loads(store.read_text())["sections"])
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{store} is not a benchmark's figures: expected JSON with 'sections'; move it away."
            ) from error
    sections |= figures["sections"]
    page.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps({"sections": sections}, indent=1, ensure_ascii=False) + "\n")
    page.write_text(render(sections))
    return store


def render(sections: Record) -> str:
    """The page of some sections' records."""
    parts = [INTRODUCTION, *_setup(sections), "\n## Ratios\n\n| figure | measured | aim |\n|---|---:|---:|\n"]
    for name, rows in ROWS.items():
        figures = sections.get(name, {}).get("figures", {})
        parts += [_row(figures[key], text, sign, aim) for key, text, sign, aim in rows if key in figures]
    parts += [*_details(sections), *_growth(sections), *_xl(sections), READING, *_missing(sections)]
    return "".join(parts)


def _row(value: float, text: str, sign: str, aim: float) -> str:
    if not sign:
        return f"| {text} | {value:.2f} | – |\n"
    reached = value <= aim if sign == "≤" else value >= aim
    return f"| {text} | {value:.2f} | {sign} {aim:g}{'' if reached else ' (**not reached**)'} |\n"


def _setup(sections: Record) -> list[str]:
    """One line per setting and machine that sections share."""
    groups: dict[str, list[str]] = {}
    for name, record in sections.items():
        machine = record["machine"]
        where = machine["gpu"] if record["device"].startswith("cuda") else f"CPU, {machine['threads']} threads"
        shape = ""
        if "shape" in record:
            shape = f" `{record['shape']}` shape, random weights, {record['pairs']} pairs × {record['tokens']} tokens;"
        line = (
            f"{machine['date']}; {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {where}; "
            f"Python {machine['python']}, torch {machine['torch']};{shape} k = {record['steps']}, float32, "
            f"{record['repeats']} repeats{', at real-time priority' if machine.get('real_time') else ''}"
        )
        load = machine["load_before"]
        groups.setdefault(line, []).append(f"{name} ({load:.1f})" if load is not None else name)
    lines = [f"- {', '.join(names)}: {line}.\n" for line, names in groups.items()]
    return ["\nSections, with the load average found before each:\n\n", *lines]


def _details(sections: Record) -> list[str]:
    figures: Record = {}
    for name in ("methods", "activations", "literal", "circuits", "exact", "demo", "questions", "real", "starting"):
        figures |= sections.get(name, {}).get("figures", {})
    rows = [
        f"| {key} | {value:,.3g} |\n"
        for key, value in figures.items()
        if isinstance(value, int | float) and key.endswith(("_seconds", "_mb", "_edge", "_ms"))
    ]
    return ["\n## Seconds and megabytes\n\n| figure | value |\n|---|---:|\n", *rows] if rows else []


def _growth(sections: Record) -> list[str]:
    growth = sections.get("growth", {}).get("figures", {}).get("growth", {})
    if not growth:
        return []
    rows = []
    for axis, figures in growth.items():
        curve = ", ".join(
            f"{n}: {s:.2f} s, {mb:.0f} MB"
            for n, s, mb in zip(figures["sizes"], figures["seconds"], figures["peak_mb"], strict=True)
        )
        rows.append(f"| {axis} | {curve} | {figures['exponent']:.2f} | {figures['memory_exponent']:.2f} |\n")
    return [
        "\n## Growth of eap-gp, k = 5\n\n| grows | curve | exponent of time | of memory |\n|---|---|---:|---:|\n",
        *rows,
    ]


def _xl(sections: Record) -> list[str]:
    xl = sections.get("xl", {}).get("figures")
    if not xl:
        return []
    return [
        "\n## GPT-2 XL's shape\n\n",
        f"{xl['xl_edges']:,} edges, eap-gp with k = 5 on 4 pairs of 17 tokens: {xl['xl_seconds']:.0f} s; peak "
        f"{xl['xl_peak_mb'] / 1024:.1f} GB of resident memory, {xl['xl_growth_mb'] / 1024:.1f} GB more than the "
        f"loaded model took (building it peaked at {xl['xl_loading_peak_mb'] / 1024:.1f} GB). "
        f"Swapped meanwhile: {xl['xl_swapped_mb']:.0f} MB.\n",
    ]


def _missing(sections: Record) -> list[str]:
    cuda = [name for name, record in sections.items() if record["device"].startswith("cuda")]
    if cuda:
        return []
    return [
        "\n## Not measured\n\nNo CUDA device was at hand: nothing on this page was measured on one. "
        "`eapgp bench --full --device cuda` (and `--shape gpt2-medium --pairs 100`, …) measures the same there, with "
        "the device's own memory.\n"
    ]
