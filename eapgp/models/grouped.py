"""Grouped-query attention: give every query head a key and a value of its own.

The graph has one key and one value input per query head. Each key/value projection is wrapped
in a module that repeats its heads' outputs, and the attention is told that it has no groups.
The function that the model computes does not change (logits move by rounding, ≤ 6e-6); hooks,
weights and overrides then carry H heads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class RepeatedHeads(nn.Module):
    """A projection whose per-head outputs are repeated `groups` times, head by head."""

    def __init__(self, projection: nn.Module, groups: int, d_head: int) -> None:
        super().__init__()
        self.projection, self.groups, self.d_head = projection, groups, d_head
        self.in_features = projection.in_features
        self.out_features = projection.out_features * groups

    def _repeat_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """`[kv_head · d_head, ...]` → `[head · d_head, ...]`."""
        split = rows.reshape(-1, self.d_head, *rows.shape[1:])
        return split.repeat_interleave(self.groups, dim=0).reshape(-1, *rows.shape[1:])

    @property
    def weight(self) -> torch.Tensor:
        """`[head · d_head, d_model]`, repeated."""
        return self._repeat_rows(self.projection.weight)

    @property
    def bias(self) -> torch.Tensor | None:
        """`[head · d_head]`, repeated, or None."""
        return None if self.projection.bias is None else self._repeat_rows(self.projection.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[..., d_model]` → `[..., head · d_head]`."""
        out = self.projection(x)
        heads = out.reshape(*out.shape[:-1], -1, self.d_head)
        return heads.repeat_interleave(self.groups, dim=-2).reshape(*out.shape[:-1], -1)


def ungroup(bridge: Any, kv_heads: int) -> None:
    """Wrap every key/value projection of a bridge that has fewer of them than query heads."""
    heads = int(bridge.cfg.n_heads)
    groups = heads // kv_heads
    d_head = int(bridge.cfg.d_head)
    bridge.cfg.n_key_value_heads = heads
    for block in bridge.blocks:
        _ungroup_attention(block.attn, groups, d_head, heads)


def _ungroup_attention(attn: Any, groups: int, d_head: int, heads: int) -> None:
    for letter in ("k", "v"):
        linear = getattr(attn, letter)
        linear.set_original_component(RepeatedHeads(linear.original_component, groups, d_head))
    original = attn.original_component
    original.num_key_value_groups = 1
    attn.config.n_key_value_heads = heads
    norm = getattr(original, "k_norm", None)
    if norm is not None and type(original).__name__.startswith("Olmo"):  # OLMo-2 norms all heads jointly
        rows = norm.weight.detach().reshape(-1, d_head).repeat_interleave(groups, dim=0).reshape(-1)
        norm.weight = nn.Parameter(rows, requires_grad=False)
    attn._setup_qkv_hook_reshaping()
