"""The fields and tabs of the Path page."""

from __future__ import annotations

from eapgp.ui.base.fields import choice, integer, text
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

KINDS = {"gradpath": "GradPath", "straight": "Straight line"}
TABS = {
    "curves": "Step by step",
    "vanished": "Vanished gradients",
    "tokens": "Which tokens move",
    "edge": "One edge",
    "numbers": "Numbers",
}
BACKGROUNDS = {
    "none": "None",
    "metric": "Metric",
    "slope": "Its slope",
    "distance": "Output distance",
}
WINDOWS = {"all": "Both ends", "gradpath": "GradPath"}
NEAR_ZERO = {"0.01": "1 %", "0.05": "5 %", "0.1": "10 %"}
FIELDS = (
    *FIELDS_OF_RUN,
    choice(
        "walk",
        "near",
        {"near": "One that comes nearer", "own": "As the settings say"},
        "Whose path is drawn. While nothing is changed on the left, and GradPath moves away there, the page opens on "
        "the task of the same model on which it comes nearest.",
        label="Path on",
    ),
    integer("pair", 0, 0, 1_000_000, "Which prompt pair is drawn; 0 averages over all of them.", label="Prompt pair"),
    integer(
        "at",
        0,
        0,
        1000,
        "The step that is ringed in the picture and marked in the views below.",
        label="Step",
    ),
    choice(
        "background",
        "metric",
        BACKGROUNDS,
        "Colour the plane by what the model does there: its metric, how steep the metric is (pale = saturated, "
        "gradients say little), or how far its output is from the corrupted one. Computed by running the model on a "
        "grid of inputs in this plane; for the average, on the planes of the first pairs.",
        label="Background",
    ),
    choice(
        "window",
        "all",
        WINDOWS,
        "What fills the picture: the clean and the corrupted input with both paths, or GradPath alone, which can be "
        "short beside the distance between the two.",
        label="Zoom to",
    ),
    choice(
        "near",
        "0.01",
        NEAR_ZERO,
        "When a gradient counts as near zero: below this share of the edge's largest gradient along the same path.",
        label="Near zero means below",
    ),
    text(
        "follow",
        "",
        "The edge that is followed along both paths. Type to search; any edge of the graph can be typed, as in "
        "a0.h1->m3 or m0->a3.h1<v>.",
        pattern=r"[\w.<>\-]{1,80}",
        expected="the name of an edge",
        label="Edge",
    ),
    choice("tab", "curves", tuple(TABS), "Which view is open below the path."),
)
