"""How many pairs go into one batch; without torch, so that estimates can tell it too."""

from __future__ import annotations

DIFFERENCE_BUDGET = 512 * 2**20  # bytes that the activation difference of one batch may take
DIFFERENCE_BYTES = 4  # of one float of it
LARGEST_BATCH = 64


def default_batch_size(n_sources: int, length: int, d_model: int) -> int:
    """Pairs per batch such that the activation difference `[pair, src, pos, d_model]` stays within its budget."""
    per_pair = n_sources * length * d_model * DIFFERENCE_BYTES
    return max(1, min(LARGEST_BATCH, DIFFERENCE_BUDGET // per_pair))
