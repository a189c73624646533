"""`eapgp bench`: what attribution costs beside the bare passes, in one run on one machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eapgp.bench import sections as parts
from eapgp.bench.measure import machine
from eapgp.bench.real import real, starting
from eapgp.bench.setting import STEPS, Setting, random_pairs
from eapgp.models import load_model
from eapgp.types import Progress

Section = Callable[[Any, int, Callable[[str], None]], dict[str, Any]]
ON_SHAPE: dict[str, Section] = {
    "methods": parts.methods,
    "literal": parts.literal_way,
    "circuits": parts.circuits,
    "exact": parts.exact,
    "activations": parts.activations,
}
ON_THEIR_OWN: dict[str, Section] = {
    "demo": parts.demo,
    "questions": parts.questions,
    "real": real,
    "starting": starting,
    "growth": parts.growth,
    "xl": parts.xl,
}
SECTIONS = (*ON_SHAPE, *ON_THEIR_OWN)
QUICK = (*ON_SHAPE, "demo", "questions", "real", "starting")


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
    """Measure; every ratio compares runs of this call. Keys of the result are stable.

    Beside the figures themselves, `sections` holds them by section, each with the machine and the load it met.
    """
    say = progress or (lambda phase, fraction: None)
    common = {"shape": shape, "pairs": pairs, "tokens": length, "steps": STEPS, "repeats": repeats, "device": device}
    result: dict[str, Any] = {"machine": machine(), **common, "sections": {}}
    setting: Setting | None = None
    for done, name in enumerate(sections):
        here = done / len(sections)

        def tell(phase: str, here: float = here) -> None:
            say(f"measuring {phase}", here)

        if name in ON_SHAPE and setting is None:
            say(f"building {shape} with random weights", here)
            model = load_model(shape, random_weights=True, device=device)
            setting = Setting(model, random_pairs(model.n_vocab, pairs, length))
        if name == "xl":
            setting = None  # its weights make room
        tell(name)
        before = machine()
        run = ON_SHAPE.get(name) or ON_THEIR_OWN[name]
        figures = run(setting if name in ON_SHAPE else device, repeats, tell)
        result |= figures
        where = common if name in ON_SHAPE else {key: common[key] for key in ("steps", "repeats", "device")}
        result["sections"][name] = {"machine": before, **where, "figures": figures}
    say("done", 1.0)
    return result
