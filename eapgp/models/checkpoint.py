"""Whether a checkpoint holds exactly the weights that its configuration asks for.

Transformers fills what is missing with random numbers and drops what is too many; both would change every
score without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from eapgp.errors import ModelError

LISTED = 5
"""So many weights are named; of more only the number is said."""

_MASKS = re.compile(r"(attn|attention)\.(masked_)?bias$|rotary_emb\.inv_freq$")
"""Attention masks and rotary frequencies that older checkpoints hold: constants, not weights."""


def check_weights(name: str, model: Any, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks on weights that belong to no part of the model, such as another head's.

    report: Transformers' loading info; tied weights are not among its missing keys.
    Errors: ModelError where weights are missing, have another shape, or belong to a part of the model that
    the configuration leaves out (a layer more, a bias more).
    """
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"model {name!r}: {_listed(missing)} missing from its weights; computing with random ones in "
            "their place would give numbers that mean nothing. Save the whole model, or correct config.json."
        )
    others = sorted({str(entry[0] if isinstance(entry, tuple) else entry) for entry in report["mismatched_keys"]})
    if others:
        raise ModelError(f"model {name!r}: {_listed(others)} of another shape than config.json asks for; correct it.")
    surplus = [key for key in sorted(report["unexpected_keys"]) if not _MASKS.search(key)]
    parts = {part for part, _ in model.named_modules()} - {"", model.base_model_prefix}
    inside = [key for key in surplus if _is_inside(key, parts, model.base_model_prefix)]
    if inside:
        raise ModelError(
            f"model {name!r}: {_listed(inside)} in its weights but not in the model that config.json "
            "describes, so another model would be computed. Correct config.json (layers, biases, model_type)."
        )
    if not surplus:
        return ()
    return (f"model {name!r}: {_listed(surplus)} in its weights but no part of a language model; left out.",)


def _is_inside(key: str, parts: set[str], base: str) -> bool:
    """Whether a weight's name lies in one of the model's parts, with or without the base model's prefix."""
    steps = key.split(".")
    owners = {".".join(steps[:end]) for end in range(1, len(steps))}
    return bool(owners & parts or {f"{base}.{owner}" for owner in owners} & parts)


def _listed(keys: Iterable[str]) -> str:
    """`a is`, `a, b are`, `a, b, c, d, e and 7 more weights are`."""
    names = list(keys)
    more = f" and {len(names) - LISTED:,} more weights" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more} {'is' if len(names) == 1 else 'are'}"
