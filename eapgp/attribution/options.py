"""Options that several methods share."""

from __future__ import annotations

from dataclasses import replace

from eapgp.options import Choice, EdgeNames, OneOf, OneOfOrNumber, WholeNumber

STEPS = WholeNumber(
    name="steps",
    default=5,
    help="k: how many gradients are taken along the path. Time grows with k; the papers use 5. More points follow "
    "the path more closely, they do not always make a better circuit.",
    label="Steps k",
    low=1,
    high=10_000,
    page_high=100,
    symbol="k",
    usual=5,
)
MASK_STEPS = replace(
    STEPS,
    default=3,
    help="k: how many mixtures of clean and corrupted the gradient is taken at. Time grows with k.",
)
STEP = OneOfOrNumber(
    name="step",
    default="relative",
    help="Length of one GradPath step: relative, unit (the paper's) or a number. relative: the distance ‖x − x′‖ "
    "between clean and corrupted input divided by k, pair by pair. unit: 1, as in the paper; on models with small "
    "embeddings it overshoots. Or a length of your own.",
    label="Step length",
    choices=(Choice("relative", "Relative", "relative"), Choice("unit", "Unit (paper)", "unit (paper)")),
    in_links=True,
)
OBJECTIVE = OneOf(
    name="objective",
    default="all",
    help="Positions whose logits GradPath moves towards the corrupted run's: all, or last (the answer's alone).",
    label="Path follows",
    choices=(Choice("all", "All positions"), Choice("last", "Answer only", "answer only")),
)
POINTS = OneOf(
    name="points",
    default="left",
    help="Points of the straight line at which gradients are taken: left, right or midpoint. left is the reference "
    "code's, from the corrupted end on and without the clean one; right is the paper's; midpoint lies between.",
    label="Points",
    choices=(Choice("left", "Left"), Choice("right", "Right", "right"), Choice("midpoint", "Midpoint", "midpoint")),
    in_links=True,
)
NODES = OneOf(
    name="nodes",
    default="midpoints",
    help="Which mixtures of clean and corrupted the gradients are taken at: midpoints (evenly spaced) or calibrated. "
    "calibrated: where each pair's metric has made 20, 50 and 80 % of its way.",
    label="Mixtures",
    choices=(Choice("midpoints", "Midpoints"), Choice("calibrated", "Calibrated", "calibrated")),
    flag=False,  # `attribute --nodes` shows the nodes' attributions
)
EDGES = EdgeNames(
    name="edges",
    default=None,
    help="Only these edges, by their names with commas between. That takes a moment even on large models; left out, "
    "every edge is patched. The others have no score.",
    label="Only these edges",
)
NOISE_SEED = WholeNumber(name="seed", default=0, help="Seed of the noise.", label="Seed", follows="seed", flag=False)
