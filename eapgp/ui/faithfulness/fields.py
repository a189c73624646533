"""The fields and tabs of the Faithfulness page."""

from __future__ import annotations

from eapgp.ui.base.fields import choice, flag, integer, names, text
from eapgp.ui.faithfulness import mechanisms, reference
from eapgp.ui.library.circuits import USUAL_TEXT
from eapgp.ui.parts import run_choice
from eapgp.ui.parts.measuring import GRID_TITLES
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

QUANTITIES = {"faithfulness": "Faithfulness", "metric": "Metric", "accuracy": "Accuracy", "kl": "KL divergence"}
TABS = {
    "areas": "Areas",
    "difference": "Differences",
    "evidence": "Complete and minimal",
    "mechanisms": "One or several?",
    "reference": "The best?",
    "numbers": "Numbers",
    "made": "How it was made",
}
FIELDS = (
    *FIELDS_OF_RUN,
    names(
        "runs",
        (),
        "The runs whose circuits are measured, up to four of one model size.",
        most=run_choice.MOST_RUNS,
        label="Runs side by side",
    ),
    integer(
        "k",
        0,
        1,
        10_000_000,
        "The circuit size that is looked at closely. Dotted on the curve; clicking a point of a curve sets it. It is "
        f"the same k as on Explore. {USUAL_TEXT} The curve is always of the strongest edges.",
        label="Circuit size k",
    ),
    choice(
        "measure",
        "faithfulness",
        QUANTITIES | {"kl": "KL"},  # all four fit a phone
        "What the curves show: faithfulness (metric scaled to 0 … 1), the metric itself, how often the right answer "
        "wins, or how far the circuit's output is from the whole model's. The last two may have to be measured first.",
        label="Show",
    ),
    choice(
        "by",
        "edges",
        {"edges": "Edges", "nodes": "Nodes", "both": "Both"},
        "What circuits are selected by. Edges: the strongest edges. Nodes: the nodes of largest |score|, with every "
        "edge between them; what any other node writes is corrupted for all its readers. Both in one figure: a "
        "circuit of nodes stands at the number of its edges.",
        label="Circuits by",
    ),
    choice(
        "grid",
        "quick",
        GRID_TITLES,
        "Which sizes are measured. Quick: eleven sizes from 0.5 % up, known at once for the bundled examples. MIB: the "
        "ten shares 0.1 … 100 % of the benchmark, whose CPR and CMD compare with published ones. Shares of the edges, "
        "and of the nodes for circuits by nodes.",
        label="Sizes",
    ),
    flag(
        "base",
        True,
        "Draw circuits of random edges too (grey): what a circuit of that size does by chance. Five draws, measured in "
        "the background.",
        label="Random",
    ),
    text(
        "of",
        "",
        "Whose circuit is looked at closely, and the first of every difference.",
        pattern=r"[0-9a-f]{4,64}",
        expected="a run's id",
        label="Look closely at",
    ),
    *mechanisms.FIELDS,
    *reference.FIELDS,
    choice("tab", "areas", tuple(TABS), "Which view is open below the curves."),
)
