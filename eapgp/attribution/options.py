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
    help="Length of one GradPath step: relative, unit (our reading of the paper), descend or a number. relative: the "
    "distance ‖x − x′‖ between clean and corrupted input divided by k, pair by pair. unit: 1, as we read the paper; it "
    "means something else on every model, since embeddings have a scale. descend: Polyak's step, D / (2 ‖g‖) with D "
    "the squared distance to the corrupted output and g its gradient, at most ‖x − x′‖; no further pass. Or a length "
    "of your own.",
    label="Step length",
    choices=(
        Choice("relative", "Relative", "relative"),
        Choice("unit", "Unit (our reading of the paper)", "unit (our reading of the paper)"),
        Choice("descend", "Descend (Polyak)", "descend"),
    ),
    in_links=True,
)
NORM = OneOf(
    name="norm",
    default="pair",
    help="What a GradPath gradient is divided by before its step: its norm pair by pair, or batch, one norm over all "
    "pairs of the run. batch is another reading of the paper, of one re-implementation: every step shrinks as the run "
    "has more pairs, and a pair's score depends on the others. It never depends on how many pairs are computed "
    "together. Takes k more forward and k more backward passes.",
    label="Norm of the gradient",
    choices=(Choice("pair", "Each pair's"), Choice("batch", "All pairs together", "one norm for all pairs")),
    later=True,
    seldom=True,
)
AT_START = "0..k-1"
GRADPATH_POINTS = OneOf(
    name="points",
    default="1..k",
    help="Points of GradPath at which the metric's gradients are taken: 1..k, or 0..k-1 with the clean input and "
    "without the last point. 0..k-1 is how IG² does it, the method that GradPath comes from.",
    label="Points of the path",
    choices=(Choice("1..k", "1 … k"), Choice(AT_START, "0 … k−1 (IG²)", "points 0…k−1")),
    own_field="path_points",
    later=True,
    seldom=True,
)
DIRECTION = OneOf(
    name="direction",
    default="gradient",
    help="Where GradPath goes: along the gradient, or as a control random or reversed. Lengths and passes are the "
    "same. random: one direction per pair, drawn from the run's seed, to which every step is taken. reversed: away "
    "from the corrupted output. What a control's circuits do as well is not owed to the path's direction.",
    label="Direction",
    choices=(
        Choice("gradient", "Gradient"),
        Choice("random", "Random (control)", "random direction"),
        Choice("reversed", "Reversed (control)", "reversed"),
    ),
    later=True,
    seldom=True,
)
OBJECTIVE = OneOf(
    name="objective",
    default="all",
    help="Positions whose logits GradPath compares with the corrupted run's: all, or last (the answer's alone).",
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
DIRECTION_SEED = replace(NOISE_SEED, help="Seed of the random direction.", needs=(DIRECTION.name, "random"))
