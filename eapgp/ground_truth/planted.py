"""A transformer built by construction: every true edge is known, so a method's misses are facts.

GPT-2's architecture with ReLU, 3 layers of 4 heads, 262 edges. Nothing is trained: the weights that
matter are set below, all others are seeded noise that nothing reads. A feature of value a occupies two
channels as (a, −a), so that LayerNorm's mean is zero; the pin holds ±1024 in its two at every
position, so that LayerNorm's scale is one constant to about 1e-5, and its weight undoes that constant.
What a branch reads is then the residual stream itself.

The behaviour. A prompt names two things, each with a value (plus or minus) and a mark (a or b), between
fillers, and ends with a pick of one mark: "… plus-a … minus-b … pick-a" is answered "plus".

1. Head a0.h0 at the pick attends to the thing with that mark (95 %) and copies its value: C = ±0.9.
2. Head a2.h1 attends to its own position and copies C to D: half of the answer's logits.
3. MLP m1 writes Y = clamp(C + ½, 0, 1) = ReLU(C + ½) − ReLU(C − ½). At C = ±0.9 that is saturated: the
   gradient of Y is exactly zero on every prompt, though corrupting m1's input turns Y over.
4. MLP m2 writes Z = 2 ReLU(Y + 1) − 3 = ±1, on its linear side: the other half of the answer.
5. The unembedding reads D and Z.

Every other head and MLP unit reads all features and writes junk, which differs between the two
prompts, into features that only other junk reads. Pairs differ in the pick, in both marks or in both
values, a third each, so that the query, key and value edges of a0.h0 all count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.attribution.usual import COMPARED, Variant
from eapgp.circuits.circuit import Circuit
from eapgp.errors import OptionError
from eapgp.graph import Graph
from eapgp.ground_truth.compare import Roc, roc
from eapgp.metrics import DEFAULT_METRIC
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.types import Floats

if TYPE_CHECKING:
    from eapgp.attribution.result import EdgeScores
    from eapgp.models.model import Model


N_LAYERS, N_HEADS, D_HEAD, N_HIDDEN = 3, 4, 8, 16
FEATURES = ("pin", "value", "mark", "pick", "thing", "end", "C", "D", "Y", "Z")
N_JUNK = 6
N_FEATURES = len(FEATURES) + N_JUNK
D_MODEL = 2 * N_FEATURES
PIN = 1024.0
SHARPNESS = 1.5  # attention score of the right mark; the wrong one has −1.5, so e³ ≈ 20 to 1
SHUT = 12.0  # attention score −12 for whatever may not be attended to
JUNK_SIZE = 0.5
LENGTH = 5
NOISE = 1e-5  # share of the largest score below which a score is the pinned norm's rounding
SEED = 0

FILLERS = tuple(f"filler-{i}" for i in range(8))
KINDS = tuple((value, mark) for value in ("plus", "minus") for mark in ("a", "b"))
VARIANTS = 4  # words per kind, which differ in their junk alone
CHANGES = ("pick", "marks", "values")

TRUE_EDGES = (
    "input->a0.h0<q>",
    "input->a0.h0<k>",
    "input->a0.h0<v>",
    "a0.h0->m1",
    "a0.h0->a2.h1<v>",
    "m1->m2",
    "a2.h1->logits",
    "m2->logits",
)
SATURATED_EDGE = "a0.h0->m1"
PLANTED_GRAPH = Graph(N_LAYERS, N_HEADS, d_model=D_MODEL)


@dataclass(frozen=True)
class PlantedScore:
    """How one method does on the planted circuit.

    Scores below 1e-5 of the largest are rounding noise of the pinned norm and count as 0, so that their
    order decides nothing. edges: ROC of |score| over the 262 edges against the true 8. found: how many of
    them are among its 8 best. saturated_rank: place of the saturated edge, 1 = best (ties take their mean place);
    saturated_share: its |score| over the largest one.
    """

    label: str
    edges: Roc
    found: int
    saturated_rank: float
    saturated_share: float


def planted_circuit() -> Circuit:
    """The true edges as a circuit."""
    return Circuit.of_names(PLANTED_GRAPH, TRUE_EDGES, "planted")


def planted_prompts(n: int, *, seed: int = SEED) -> PromptSet:
    """n prompt pairs of the planted behaviour, a third for each kind of change.

    Errors: OptionError if n is below 1.
    """
    if n < 1:
        raise OptionError(f"the number of pairs must be at least 1; got {n}.")
    rng = np.random.default_rng(seed)
    pairs = tuple(_pair(rng, CHANGES[i % len(CHANGES)]) for i in range(n))
    return PromptSet("planted", pairs, DEFAULT_METRIC, {"kind": "planted", "n": n, "seed": seed})


def _pair(rng: np.random.Generator, change: str) -> PromptPair:
    values = [str(v) for v in rng.permutation(["plus", "minus"])]
    marks = [str(m) for m in rng.permutation(["a", "b"])]
    pick = str(rng.choice(["a", "b"]))
    places = np.sort(rng.choice(LENGTH - 1, 2, replace=False))
    words = [str(word) for word in rng.choice(FILLERS, LENGTH - 1)]

    def prompt(values: list[str], marks: list[str], pick: str) -> str:
        filled = list(words)
        for place, value, mark in zip(places, values, marks, strict=True):
            filled[place] = f"{value}-{mark}{rng.integers(VARIANTS)}"
        return " ".join([*filled, f"pick-{pick}{rng.integers(VARIANTS)}"])

    right = values[marks.index(pick)]
    corrupted = {
        "pick": (values, marks, "b" if pick == "a" else "a"),
        "marks": (values, marks[::-1], pick),
        "values": (values[::-1], marks, pick),
    }[change]
    wrong = "minus" if right == "plus" else "plus"
    return PromptPair(prompt(values, marks, pick), prompt(*corrupted), (right,), (wrong,), change)


def planted_scores(
    model: Model,
    prompts: PromptSet,
    variants: Sequence[Variant] = COMPARED,
) -> list[PlantedScore]:
    """Score the planted model with each variant of a method and compare with the truth."""
    from scipy.stats import rankdata

    from eapgp.attribution.api import attribute

    truth, results = planted_circuit(), []
    row, column = PLANTED_GRAPH.edge_index(SATURATED_EDGE)
    for one in variants:
        scores = _without_noise(attribute(model, prompts, method=one.method, **one.options).scores)
        key = np.abs(scores.values)
        ranks = np.full(key.shape, np.nan)
        ranks[PLANTED_GRAPH.mask] = rankdata(-key[PLANTED_GRAPH.mask])
        best = scores.top(len(TRUE_EDGES))
        results.append(
            PlantedScore(
                one.label,
                roc(scores, truth, level="edges"),
                sum(name in TRUE_EDGES for name, _ in best),
                float(ranks[row, column]),
                float(key[row, column] / key.max()),
            )
        )
    return results


def _without_noise(scores: EdgeScores) -> EdgeScores:
    size = np.abs(scores.values)
    return replace(scores, values=np.where(size < NOISE * size.max(), 0.0, scores.values))


def build_planted(folder: str | Path, *, seed: int = SEED) -> Path:
    """Write the model and its tokenizer in Hugging Face layout; `load_model(folder)` loads it.

    seed: of the junk; the true circuit is the same for every seed.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = Path(folder)
    words = _vocabulary()
    config = GPT2Config(
        vocab_size=len(words),
        n_positions=2 * LENGTH,
        n_embd=D_MODEL,
        n_layer=N_LAYERS,
        n_head=N_HEADS,
        n_inner=N_HIDDEN,
        activation_function="relu",
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    state = {name: torch.from_numpy(value).float() for name, value in _weights(words, seed).items()}
    model.load_state_dict(state)
    model.save_pretrained(folder)
    _tokenizer(words).save_pretrained(folder)
    return folder


def _vocabulary() -> list[str]:
    things = [f"{value}-{mark}{i}" for value, mark in KINDS for i in range(VARIANTS)]
    picks = [f"pick-{mark}{i}" for mark in "ab" for i in range(VARIANTS)]
    return ["<bos>", "plus", "minus", *FILLERS, *things, *picks]


def _tokenizer(words: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<bos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<bos>", pad_token="<bos>", unk_token="<bos>"
    )


# -- weights ----------------------------------------------------------------------------------


def _write(values: dict[str, float]) -> Floats:
    """`[d_model]` what a node writes: (a, −a) in each feature's two channels."""
    out = np.zeros(D_MODEL)
    for name, value in values.items():
        at = 2 * FEATURES.index(name)
        out[at : at + 2] = value, -value
    return out


def _read(values: dict[str, float]) -> Floats:
    """`[d_model]` weights of a reader: Σ weight × feature. They sum to zero, so no mean is ever read."""
    return _write(values) / 2


@dataclass
class _Junk:
    """Seeded noise that reads every feature but the pin and writes junk features alone."""

    rng: np.random.Generator
    readers: Floats = field(init=False)
    writers: Floats = field(init=False)

    def __post_init__(self) -> None:
        pairs = np.zeros((N_FEATURES, D_MODEL))
        for index in range(N_FEATURES):
            pairs[index, 2 * index : 2 * index + 2] = 1, -1
        self.readers, self.writers = pairs[1:].T / 2, pairs[len(FEATURES) :]

    def reads(self, columns: int) -> Floats:
        """`[d_model, columns]`."""
        return self.readers @ self.rng.normal(size=(N_FEATURES - 1, columns)) / math.sqrt(N_FEATURES)

    def writes(self, rows: int) -> Floats:
        """`[rows, d_model]`."""
        return self.rng.normal(size=(rows, N_JUNK)) @ self.writers * (2 * JUNK_SIZE / math.sqrt(rows))

    def embeds(self) -> Floats:
        """`[d_model]` junk that a word brings along."""
        return self.rng.normal(size=N_JUNK) * JUNK_SIZE @ self.writers


def _weights(words: list[str], seed: int) -> dict[str, Floats]:
    junk = _Junk(np.random.default_rng(seed))
    state = {
        "transformer.wte.weight": np.stack([_embedding(word) + junk.embeds() for word in words]),
        "transformer.wpe.weight": np.tile(_write({"pin": PIN}), (2 * LENGTH, 1)),
        "lm_head.weight": np.stack([_unembedding(word) for word in words]),
        **_norm("transformer.ln_f"),
    }
    for layer in range(N_LAYERS):
        at = f"transformer.h.{layer}."
        state |= _norm(at + "ln_1") | _norm(at + "ln_2")
        state |= _attention(at + "attn.", layer, junk) | _mlp(at + "mlp.", layer, junk)
    return state


def _norm(name: str) -> dict[str, Floats]:
    """LayerNorm whose weight undoes the pinned scale σ = PIN · √(2 / d_model)."""
    return {f"{name}.weight": np.full(D_MODEL, PIN * math.sqrt(2 / D_MODEL)), f"{name}.bias": np.zeros(D_MODEL)}


def _embedding(word: str) -> Floats:
    """What a word says: a thing its value and mark, a pick the mark it wants."""
    kind, _, rest = word.partition("-")
    sign = 1.0 if rest.startswith("a") else -1.0
    if kind in ("plus", "minus") and rest:
        return _write({"value": 1.0 if kind == "plus" else -1.0, "mark": sign, "thing": 1.0})
    return _write({"pick": sign, "end": 1.0}) if kind == "pick" else np.zeros(D_MODEL)


def copied() -> float:
    """|C|: what a0.h0 copies, p − (1 − p) with p = 1 / (1 + e^(−2 · SHARPNESS))."""
    return math.tanh(SHARPNESS)


def _unembedding(word: str) -> Floats:
    """logit(plus) = D / |C| + Z = −logit(minus): two routes of equal size, M = ±4."""
    sign = {"plus": 1.0, "minus": -1.0}.get(word, 0.0)
    return _read({"D": sign / copied(), "Z": sign})


def _attention(at: str, layer: int, junk: _Junk) -> dict[str, Floats]:
    qkv = np.concatenate([junk.reads(N_HEADS * D_HEAD) for _ in range(3)], axis=1)
    bias, out = np.zeros(3 * D_MODEL), junk.writes(D_MODEL)
    gain = math.sqrt(D_HEAD)  # GPT-2 divides attention scores by it
    if layer == 0:
        q, k, v, rows = _cleared(qkv, out, 0)
        qkv[:, q] = _read({"pick": SHARPNESS * gain})
        qkv[:, k] = _read({"mark": 1.0})
        bias[q + 1] = 1.0
        qkv[:, k + 1] = _read({"thing": SHUT * gain})
        bias[k + 1] = -SHUT * gain
        qkv[:, v], out[rows] = _read({"value": 1.0}), _write({"C": 1.0})
    if layer == 2:
        q, k, v, rows = _cleared(qkv, out, 1)
        bias[q] = 1.0
        qkv[:, k] = _read({"end": SHUT * gain})
        bias[k] = -SHUT * gain
        qkv[:, v], out[rows] = _read({"C": 1.0}), _write({"D": 1.0})
    return {
        at + "c_attn.weight": qkv,
        at + "c_attn.bias": bias,
        at + "c_proj.weight": out,
        at + "c_proj.bias": np.zeros(D_MODEL),
    }


def _cleared(qkv: Floats, out: Floats, head: int) -> tuple[int, int, int, int]:
    """First q, k, v column and output row of a head, whose junk is taken away."""
    first = head * D_HEAD
    for part in range(3):
        qkv[:, part * D_MODEL + first : part * D_MODEL + first + D_HEAD] = 0
    out[first : first + D_HEAD] = 0
    return first, D_MODEL + first, 2 * D_MODEL + first, first


def _mlp(at: str, layer: int, junk: _Junk) -> dict[str, Floats]:
    inward, outward = junk.reads(N_HIDDEN), junk.writes(N_HIDDEN)
    bias: Floats = junk.rng.normal(size=N_HIDDEN) * JUNK_SIZE
    out_bias: Floats = np.zeros(D_MODEL)
    if layer == 1:  # Y = ReLU(C + ½) − ReLU(C − ½)
        for unit, sign in ((0, 1.0), (1, -1.0)):
            inward[:, unit], bias[unit], outward[unit] = _read({"C": 1.0}), sign / 2, _write({"Y": sign})
    if layer == 2:  # Z = 2 ReLU(Y + 1) − 3
        inward[:, 0], bias[0], outward[0] = _read({"Y": 1.0}), 1.0, _write({"Z": 2.0})
        out_bias = _write({"Z": -3.0})
    return {
        at + "c_fc.weight": inward,
        at + "c_fc.bias": bias,
        at + "c_proj.weight": outward,
        at + "c_proj.bias": out_bias,
    }
