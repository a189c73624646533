"""The model card, written from what was measured."""

from __future__ import annotations

from typing import Any

from eapgp.tasks import TASKS


def model_card(figures: dict[str, Any]) -> str:
    """Markdown text of the card. `figures` is what `train_demo` returns."""
    recipe, norms = figures["recipe"], figures["embedding_norms"]
    layers, heads, width = recipe["n_layers"], recipe["n_heads"], recipe["d_model"]
    edges = sum((1 + layer * (heads + 1)) * 3 * heads + 1 + layer * (heads + 1) + heads for layer in range(layers))
    edges += 1 + layers * (heads + 1)
    last = figures["losses"][-1]
    sequences = sum(figures["training_sequences"].values())
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    return f"""# Model card: demo

A small language model in GPT-2's architecture, trained from scratch for this project so that
circuits of a really trained model can be explored without a download. It knows six tasks and
nothing else.

## Architecture

{layers} layers, {heads} heads each, width {width}, MLP width {4 * width}; {edges} edges;
{figures["parameters"]:,} parameters, float32, tied embeddings, no dropout. The vocabulary has
{figures["vocabulary"]:,} words with GPT-2's leading-space convention (two-digit numbers are tokens
of their own); `<|endoftext|>` begins every prompt. Longest prompt: 48 tokens.

## Data

{sequences:,} distinct prompts made by this project's own generators (`eapgp/tasks`) for all six tasks at
once; no text from elsewhere. Both prompts of a pair are training prompts. Training and test
combinations are disjoint: pairs of names (ioi), event × template × century (greater-than),
opener × verb × conjunction (gender-bias), template × noun × noun (sva). Country–capital and
hypernymy are facts: what is held out there is the combination of fact and template, the facts
themselves were all seen. After a job the stereotyped pronoun has probability 0.95 by design.

## Training

{figures["steps"]:,} steps of {recipe["batch_per_task"] * len(TASKS)} sequences, {figures["seconds"]:,.0f} s on
{figures["threads"]} CPU threads, seed {figures["seed"]}; AdamW, learning rate {recipe["learning_rate"]:g} with
{recipe["warmup_steps"]} warm-up steps and cosine decay, weight decay {recipe["weight_decay"]:g}. Loss: cross-entropy
of the answer token plus {recipe["other_tokens_weight"]:g} × that of all other tokens; at the end
{last["answer"]:.3f} and {last["other_tokens"]:.3f} nats. Made by `python -m tools.training.demo` with {versions}.
The same seed, threads and machine give the same weights.

## Held-out results

Accuracy is the share of pairs with more probability on the right answers than on the wrong
ones. ‖x − x′‖ is the mean distance between the clean and corrupted input embeddings, over all
positions together.

| task | test pairs | accuracy | metric | M(clean) | M(corrupted) | ‖x − x′‖ |
|---|---|---|---|---|---|---|
{_rows(figures["tasks"])}

Norm of the token embeddings: mean {norms["tokens_mean"]:.2f}, from {norms["tokens_min"]:.2f} to \
{norms["tokens_max"]:.2f}; of the position embeddings: mean {norms["positions_mean"]:.2f}.

## What it must not be used for

It is a specimen to take apart, not a language model: it has seen no natural text, knows no word
outside its vocabulary and answers nothing outside its six tasks. Its facts are a fixed list and
may be out of date. Its gender stereotypes were put in on purpose, so that a bias can be traced; they say
nothing about the people who do these jobs, and nothing measured here says how strong such a bias is in any
other model. A circuit found in it is evidence about this model only, and about methods on
small models; do not carry it over to large ones.
"""


def _rows(tasks: dict[str, dict[str, float]]) -> str:
    return "\n".join(
        f"| {name} | {row['pairs']} | {100 * row['accuracy']:.1f} % | {TASKS[name].metric} "
        f"| {row['metric_clean']:.3f} | {row['metric_corrupted']:.3f} | {row['distance']:.2f} |"
        for name, row in tasks.items()
    )
