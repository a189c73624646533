"""Runs on a path whose sources are needed later, without the graph that made them."""

from __future__ import annotations

from dataclasses import replace

from eapgp.engine.passes import Capture


def bare(run: Capture) -> Capture:
    """Only what the sources wrote, so that the pass's graph can be freed."""
    return Capture(input=run.input.detach(), z=run.z, mlp=run.mlp, post_scale=run.post_scale)


def ending(run: Capture) -> Capture:
    """The same for a run at an end of the path, whose output is needed too."""
    return replace(bare(run), hidden=run.hidden.detach(), logits=run.logits.detach())
