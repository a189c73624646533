"""The study's answers in sentences that its numbers write: for the head of docs/real-model.md and for the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from textwrap import fill

import numpy as np
from scipy.stats import chi2

from eapgp.study.published import HEADLINE_SIZE, PUBLISHED, Published
from eapgp.study.published import MODEL as PUBLISHED_ON
from eapgp.types import Floats
from tools.real_model.outcome import AREA, HEADLINE_CELL, QUANTITIES, Measured, Outcome, signed
from tools.real_model.protocol import HELD_OUT_TASKS, PAIRS, SPREAD_PAIRS, SPREAD_SEEDS, SPREAD_TASKS
from tools.results.words import listed, table

EAP, EAP_IG, MASK_IG, RANDOM = "eap", "eap-ig", "mask-ig", "random"
UNIT, RELATIVE, DESCEND = "eap-gp unit", "eap-gp relative", "eap-gp descend"
RANDOM_WAY, REVERSED = "eap-gp unit, random direction", "eap-gp unit, reversed"
STABLE = 0.05
"""Standard deviation of faithfulness over sets to score on, up to which a circuit's faithfulness is called stable."""
NEAR_HEADLINE = (800, HEADLINE_SIZE)
"""Published sizes at about 2.5 % of GPT-2 small's edges."""
LEAST_LOSS = 0.03
"""How much lower on one held-out task a reading may be and still become the default (rule 3)."""
ANSWERS = {"higher": "yes", "lower": "no, it is the other way round", "tie": "a tie"}


def answers(tasks: Outcome, spread: Sequence[Outcome]) -> list[str]:
    """Sentences on all tasks: the paper's claim, the path's direction, mask-ig, and, where the part of the study that
    tells it is whole, how many pairs are needed."""
    needed = [_pairs(spread)] if spread else []
    return [_claim(tasks), _direction(tasks), _mixtures(tasks), *needed, published(tasks)]


def _both(outcome: Outcome, a: str, b: str, quantity: str) -> str:
    """`+0.010 [−0.020, +0.040] on all tasks and … on the held-out ones`."""
    everywhere, held = (outcome.difference(a, b, quantity, tasks) for tasks in (None, held_out(outcome)))
    return f"{signed(everywhere)} on all tasks, {signed(held)} on the held-out ones"


def held_out(outcome: Outcome) -> list[str]:
    """The held-out tasks among an outcome's."""
    return [task for task in HELD_OUT_TASKS if task in outcome.tasks]


def _claim(outcome: Outcome) -> str:
    alone = outcome.difference(UNIT, EAP_IG, HEADLINE_CELL, ["ioi"])
    against, cells = outcome.flips(UNIT, EAP_IG, HEADLINE_CELL)
    return (
        f"**Does EAP-GP beat EAP-IG on a real language model at high sparsity?** With 2.5 % of the edges: "
        f"{_answer(outcome, EAP_IG, HEADLINE_CELL)}. There `{UNIT}` (our reading of the paper's step) keeps "
        f"{_percent(outcome.mean(UNIT, HEADLINE_CELL))} of the behaviour and `{EAP_IG}` "
        f"{_percent(outcome.mean(EAP_IG, HEADLINE_CELL))}, at 6+10 passes against 5+5; the difference is "
        f"{_both(outcome, UNIT, EAP_IG, HEADLINE_CELL)}, and {signed(alone)} on ioi, the paper's case. In "
        f"{against} of {cells} cells (a task with a prompt seed) the order is not that of the mean. The step "
        f"that means the same on every model, `{RELATIVE}`: {_both(outcome, RELATIVE, EAP_IG, HEADLINE_CELL)}. "
        f"Over sizes from 0.2 to 20 % (area, the primary quantity): {_answer(outcome, EAP_IG, AREA)}. `{UNIT}`: "
        f"{_both(outcome, UNIT, EAP_IG, AREA)}; `{RELATIVE}`: {_both(outcome, RELATIVE, EAP_IG, AREA)}."
    )


def _answer(outcome: Outcome, other: str, quantity: str) -> str:
    """Whether the unit step is above another method on all tasks."""
    return ANSWERS[outcome.difference(UNIT, other, quantity).verdict]


def _direction(outcome: Outcome) -> str:
    return (
        f"**Is it the path's direction?** Against steps of the same lengths in a random direction: "
        f"{_answer(outcome, RANDOM_WAY, AREA)} (area {_both(outcome, UNIT, RANDOM_WAY, AREA)}; at 2.5 % "
        f"{_both(outcome, UNIT, RANDOM_WAY, HEADLINE_CELL)}). Against the reversed direction: "
        f"{_answer(outcome, REVERSED, AREA)} (area {_both(outcome, UNIT, REVERSED, AREA)}; at 2.5 % "
        f"{_both(outcome, UNIT, REVERSED, HEADLINE_CELL)})."
    )


def _mixtures(outcome: Outcome) -> str:
    above: list[str] = []
    below: list[str] = []
    level: list[str] = []
    for task in outcome.tasks:
        verdicts = {outcome.difference(MASK_IG, other, AREA, [task]).verdict for other in (EAP_IG, UNIT, RELATIVE)}
        (above if verdicts == {"higher"} else below if "lower" in verdicts else level).append(task)
    parts = [
        f"{text} on {listed(some)}"
        for text, some in (("above all three", above), ("below one of them", below), ("neither", level))
        if some
    ]
    return (
        f"**Where does mask-ig beat both at fewer passes?** With 3+3 passes its area beside `{EAP_IG}`, `{UNIT}` and "
        f"`{RELATIVE}` is {'; '.join(parts)}. Overall it is {_both(outcome, MASK_IG, EAP_IG, AREA)} from `{EAP_IG}`, "
        f"and {_both(outcome, MASK_IG, EAP_IG, HEADLINE_CELL)} at 2.5 %."
    )


def _pairs(spread: Sequence[Outcome]) -> str:
    """By method, from how many pairs on the spread over sets to score on is at most STABLE on every task."""
    words = []
    for label in spread[0].labels:
        deviations = [
            max(deviation(one, task, label, HEADLINE_CELL) for task in one.tasks if one.has(task, label))
            for one in spread
        ]
        enough = next((n for n, x in zip(SPREAD_PAIRS, deviations, strict=True) if x <= STABLE), None)
        shown = ", ".join(f"{x:.3f}" for x in deviations)
        words.append(f"`{label}` {f'from {enough} pairs on' if enough else 'not with any of these'} ({shown})")
    counts = "; ".join(f"{task}: {listed([str(n) for n in some])}" for task, some in SPREAD_TASKS.items())
    return (
        f"**How many pairs does a stable circuit need?** Other sets to score on, the same pairs to judge on: "
        f"the standard deviation of faithfulness at 2.5 % is at most {STABLE} on every task tried: "
        f"{'; '.join(words)}. In brackets: the larger deviation of the tasks tried ({counts} pairs). "
        f"{known_within(len(SPREAD_SEEDS))}"
    )


def known_within(sets: int) -> str:
    """How well a standard deviation over so many sets is known: its 95 % interval, were the values normal."""
    low, high = np.sqrt((sets - 1) / chi2.ppf([0.975, 0.025], sets - 1))
    return (
        f"Each is over {sets} sets, so that the true one lies between {low:.1f} and {high:.1f} times it: falls and "
        "rises of that order say nothing."
    )


def deviation(outcome: Outcome, task: str, label: str, quantity: str) -> float:
    """Standard deviation over prompt seeds, that is over sets to score on where all are judged on one set."""
    return float(outcome.cells(task, label).values[:, QUANTITIES.index(quantity)].std(ddof=1))


def published(outcome: Outcome) -> str:
    """How many published differences another set of 32 pairs could turn round, were GPT-2 small as this model is."""
    rows, always, by_some = list(published_differences()), 0, 0
    for task, a, b, values in rows:
        limit = 1.96 * float(_paired(outcome, task, a, b).std(ddof=1))
        within = [abs(value) <= limit for value in values]
        always, by_some = always + all(within), by_some + any(within)
    apart = max(max(values) - min(values) for *_, values in rows)
    return (
        f"**How much of published differences lies inside that spread?** {always} of {len(rows)} published "
        f"differences on GPT-2 small at about 2.5 % of its edges (EAP-IG − EAP on six tasks, as two tables of one "
        f"repository give it; EAP-GP − EAP-IG on ioi, read from a figure) are smaller than 1.96 standard deviations of "
        f"the same difference between our six prompt seeds; {by_some} of {len(rows)} where one of the two tables is "
        f"enough. That is this model's spread with 32 pairs to score on and 32 to judge on, held against another "
        f"model's differences. The two tables differ from each other by up to {apart:.2f} in such a difference."
    )


def published_differences() -> Iterable[tuple[str, str, str, tuple[float, ...]]]:
    """(task, method, method, differences) at about 2.5 % of GPT-2 small's edges; `eap-gp` is held against `unit`.

    A difference for each published table that has both cells.
    """
    cells: dict[tuple[str, str, int], Published] = {
        (one.task, one.method, one.edges): one for one in PUBLISHED if one.model == PUBLISHED_ON
    }
    for (task, method, edges), one in cells.items():
        other = cells.get((task, {"eap-ig": EAP, "eap-gp": EAP_IG}.get(method, ""), edges))
        if edges in NEAR_HEADLINE and other is not None:
            values: tuple[float, ...] = (one.value - other.value,)
            if one.other is not None and other.other is not None:
                values += (one.other - other.other,)
            yield task, UNIT if method == "eap-gp" else method, other.method, values


def _paired(outcome: Outcome, task: str, a: str, b: str) -> Floats:
    """`[seed]` differences at 2.5 %."""
    return np.asarray(outcome.paired(task, a, b).values[:, QUANTITIES.index(HEADLINE_CELL)])


# -- the default's rule ------------------------------------------------------------------------


def rule(tuning: Outcome, tasks: Outcome) -> str:
    """The rule for eap-gp's default, point by point."""
    best, area = best_reading(tuning)
    text = f"1. On the tuning half `{best}` has the largest mean area of all readings of GradPath ({area:.3f})."
    if best == RELATIVE:
        return f"{text} It is the default already: **the step stays `relative`**."
    if best not in tasks.labels:
        return f"{text} It was not run on the held-out tasks, so that **the step stays `relative`**."
    held = held_out(tasks)
    gain = tasks.difference(best, RELATIVE, AREA, held)
    losses = {task: -tasks.difference(best, RELATIVE, AREA, [task]).value for task in held}
    worst = max(losses, key=lambda task: losses[task])
    fulfilled = [gain.low > 0, losses[worst] <= LEAST_LOSS, "unit" not in best]
    lines = [
        text,
        f"2. On the held-out tasks its area is {signed(gain)} from `{RELATIVE}`'s: {_whether(fulfilled[0])}.",
        f"3. The task on which it loses most is {worst} ({-losses[worst]:+.3f}; allowed {-LEAST_LOSS}): "
        f"{_whether(fulfilled[1])}.",
        f"4. It is the same when the residual stream or the logits are rescaled: {_whether(fulfilled[2])}.",
    ]
    verdict = f"becomes `{best}`" if all(fulfilled) else "stays `relative`"
    return "\n".join(lines) + f"\n\n**The step {verdict}.**"


def best_reading(tuning: Outcome) -> tuple[str, float]:
    """The reading of GradPath with the largest mean area, controls apart."""
    readings = [label for label in tuning.labels if label.startswith("eap-gp") and "random" not in label]
    areas = {label: tuning.mean(label, AREA).value for label in readings}
    best = max(areas, key=lambda label: areas[label])
    return best, areas[best]


def _whether(yes: bool) -> str:
    return "fulfilled" if yes else "**not fulfilled**"


# -- the README's table ------------------------------------------------------------------------

README_METHODS = (EAP, EAP_IG, RELATIVE, UNIT, DESCEND, RANDOM_WAY, "ceap", MASK_IG, "mask-ig-refined", RANDOM)


def readme_text(tuning: Outcome, outcome: Outcome, spread: Sequence[Outcome]) -> str:
    """The README's table, and the sentences that go with it. outcome: of all tasks; spread: as `answers` takes it."""
    default = rule(tuning, outcome).rpartition("**The step")[2].rstrip("*.")
    points = (
        f"**Does EAP-GP beat EAP-IG here?** With 2.5 % of the edges, the paper's sparsity: "
        f"{_answer(outcome, EAP_IG, HEADLINE_CELL)}; over sizes from 0.2 to 20 %: {_answer(outcome, EAP_IG, AREA)}. "
        f"Unit step (our reading of the paper) − EAP-IG: {_at_both(outcome, UNIT, EAP_IG)}. Relative step − EAP-IG: "
        f"{_at_both(outcome, RELATIVE, EAP_IG)}.",
        f"**Is it the path's direction?** {_answer(outcome, RANDOM_WAY, AREA).capitalize()}. Unit step − steps as long "
        f"in a random direction: {_at_both(outcome, UNIT, RANDOM_WAY)}.",
        f"`mask-ig` − EAP-IG, at fewer passes: {_at_both(outcome, MASK_IG, EAP_IG)}.",
        *([_moved(spread)] if spread else []),
        f"By the rule that was written down before, the default step of EAP-GP{default}.",
    )
    bullet = partial(fill, width=120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    bullets = [bullet(point.replace(" %", "\N{NO-BREAK SPACE}%")) for point in points]
    return "\n".join([_readme_table(outcome), "", *bullets]).replace("\N{NO-BREAK SPACE}", " ")


def _moved(spread: Sequence[Outcome]) -> str:
    """What another set of pairs to score on changes, on the first task that the spread was measured on."""
    task, one = next(iter(SPREAD_TASKS)), spread[SPREAD_PAIRS.index(PAIRS)]
    deviations = [deviation(one, task, label, HEADLINE_CELL) for label in one.labels]
    return (
        f"Which {PAIRS} pairs are scored on moves the faithfulness of a circuit at 2.5 % on {task} by "
        f"{min(deviations):.2f} to {max(deviations):.2f}, by method (standard deviation over {len(SPREAD_SEEDS)} sets, "
        "judged on the same pairs): a single run says little about the order of methods."
    )


def _at_both(outcome: Outcome, a: str, b: str) -> str:
    """The difference at the paper's sparsity and over all sizes."""
    cell, area = (outcome.difference(a, b, quantity) for quantity in (HEADLINE_CELL, AREA))
    return f"{signed(cell)} at 2.5 %, {signed(area)} over all sizes"


def _readme_table(outcome: Outcome) -> str:
    """Method, passes, and faithfulness with intervals at 2.5 % and as area, on all and on the held-out tasks."""
    rows = []
    for label in README_METHODS:
        forward, backward, _ = outcome.cost(label)
        means = [
            outcome.mean(label, quantity, tasks)
            for quantity in (HEADLINE_CELL, AREA)
            for tasks in (None, held_out(outcome))
        ]
        rows.append((f"`{label}`", f"{forward:g}+{backward:g}", *(_short(one) for one in means)))
    head = ("method", "passes", "2.5 % of the edges", "held-out tasks", "0.2 … 20 %, mean", "held-out tasks")
    return table(head, rows)


def _short(one: Measured) -> str:
    value, low, high = (round(x, 2) + 0.0 for x in (one.value, one.low, one.high))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _percent(one: Measured) -> str:
    return f"{one.value:.0%} [{100 * one.low:.0f}, {100 * one.high:.0f}]".replace("%", " %")
