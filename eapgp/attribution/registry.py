"""What a method is, and every method by name, with what the command line and the interface say about it.

Names of methods and their variants are also those of scores that came from elsewhere.
This module imports no torch: the functions below import a method's own module, which does, when it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from eapgp.attribution.options import (
    DIRECTION,
    DIRECTION_SEED,
    EDGES,
    GRADPATH_POINTS,
    MASK_STEPS,
    NODES,
    NOISE_SEED,
    NORM,
    OBJECTIVE,
    POINTS,
    STEP,
    STEPS,
)
from eapgp.errors import UnknownNameError
from eapgp.options import Option, settle, written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eapgp.attribution.context import Context
    from eapgp.attribution.outcome import Outcome

    Array = NDArray[np.float64]

Survey: TypeAlias = "Callable[[Sequence[Context], Callable[[Array], Array]], dict[str, Any]]"
"""From the batches of all pairs and a sum over processes: what stands beside the options of every batch."""

INTERVENTIONS: Mapping[str, str] = MappingProxyType(
    {
        "patching": "the corrupted run's activation",
        "zero": "zero",
        "mean": "its mean over the corrupted prompts",
        "mean-positional": "its mean over the corrupted prompts, position by position",
    }
)
"""What an edge carries that is cut, in words."""
ELSEWHERE = (
    "The EAP-IG library has other conventions: its zero takes the input without positions and heads without their "
    "values' bias, its mean-positional averages the clean prompts and counts padding, its mean keeps the last position."
)
"""Where the field's library differs in what a cut edge carries, measured on the same weights; patching is equal."""
ALL_INTERVENTIONS = tuple(INTERVENTIONS)


@dataclass(frozen=True)
class Method:
    """One row of the registry.

    run: scores one batch. short: its title in lists and legends, which starts with the name so that figures
    know its colour. cost: passes per prompt pair in words. interventions: where z′ may come from. path: whether a
    path record comes with the result. evidence: "paper", "second-hand" (the formula was read from
    re-implementations, since no reference code exists) or "ours". rounds: how often all pairs are gone
    through; a later round knows the earlier ones' mean scores, and `rounds` says how they are summed.
    reads_corrupted: whether the scores depend on the corrupted prompts. after_shared: whether, under patching, it can
    go on from the positions that both prompts share, since nothing there is moved or asked for. survey: what these
    options make it find out of all pairs before any is scored, if anything.
    """

    name: str
    title: str
    paper: str
    cost: str
    explanation: str
    run: Callable[[Context], Outcome]
    interventions: tuple[str, ...] = ("patching",)
    options: tuple[Option, ...] = ()
    path: bool = False
    evidence: str = "paper"
    rounds: int = 1
    short: str = ""
    reads_corrupted: bool = True
    after_shared: bool = False
    survey: Callable[[Mapping[str, Any]], Survey | None] = field(
        default=lambda options: None, repr=False, compare=False
    )
    passes: Callable[[int, int], tuple[float, float]] = field(
        default=lambda steps, layers: (1, 1), repr=False, compare=False
    )

    def needs_contrast(self, intervention: str) -> bool:
        """Whether clean and corrupted prompts must differ for the scores to be other than 0."""
        return self.reads_corrupted and intervention == "patching"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the command line and the interface."""
        return {
            "name": self.name,
            "title": self.title,
            "paper": self.paper,
            "cost": self.cost,
            "interventions": list(self.interventions),
            "explanation": self.explanation,
            "evidence": self.evidence,
            "path": self.path,
            "options": [option.to_dict() for option in self.options],
        }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The options of this method with their values, checked, as they are recorded: see `written`.

        Errors: OptionError for an option that the method does not have or a value out of range.
        """
        return written(self.options, self.every_option(values))

    def every_option(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Every option of this method with its value, checked, as the method takes them. Errors: as `settings`."""
        return settle(self.options, values, f"method {self.name!r}")

    @property
    def own_options(self) -> tuple[Option, ...]:
        """The options that are set for it and change its scores; names, links and controls are made of these."""
        return tuple(option for option in self.options if option.changes_scores and not option.follows)

    def draws_noise(self, values: Mapping[str, Any]) -> bool:
        """Whether its scores, with these options, depend on the run's seed beyond the prompts."""
        follow = {option.name for option in self.options if option.follows}
        return bool(follow & set(self.settings(values)))

    def variant(self, options: Mapping[str, Any]) -> str:
        """Short name with what tells variants apart: `EAP-GP · random direction`, `EAP-IG · k = 10`."""
        rows = [option for option in self.own_options if option.name in options]
        rows.sort(key=lambda option: not option.short(option.default))  # what is said of the default too comes first
        forms = (option.short(options[option.name]) for option in rows)
        return " · ".join((self.short or self.title, *(part for part in forms if part)))


# ---- every method --------------------------------------------------------------------------------


def _eap(ctx: Context) -> Outcome:
    from eapgp.attribution import eap

    return eap.run(ctx)


def _clean_corrupted(ctx: Context) -> Outcome:
    from eapgp.attribution import clean_corrupted

    return clean_corrupted.run(ctx)


def _eap_ig(ctx: Context) -> Outcome:
    from eapgp.attribution import eap_ig

    return eap_ig.run(ctx)


def _eap_gp(ctx: Context) -> Outcome:
    from eapgp.attribution import eap_gp

    return eap_gp.run(ctx)


def _eap_ig_activations(ctx: Context) -> Outcome:
    from eapgp.attribution import eap_ig_activations

    return eap_ig_activations.run(ctx)


def _eap_gp_activations(ctx: Context) -> Outcome:
    from eapgp.attribution import eap_gp_activations

    return eap_gp_activations.run(ctx)


def _ceap(ctx: Context) -> Outcome:
    from eapgp.attribution import ceap

    return ceap.run(ctx)


def _eap_gp_conductance(ctx: Context) -> Outcome:
    from eapgp.attribution import eap_gp_conductance

    return eap_gp_conductance.run(ctx)


def _gradpath_norms(options: Mapping[str, Any]) -> Survey | None:
    if options["norm"] == "pair":
        return None
    from eapgp.attribution import walk

    return walk.survey_norms


def _ifr(ctx: Context) -> Outcome:
    from eapgp.attribution import ifr

    return ifr.run(ctx)


def _atp_graddrop(ctx: Context) -> Outcome:
    from eapgp.attribution import atp_graddrop

    return atp_graddrop.run(ctx)


def _relp(ctx: Context) -> Outcome:
    from eapgp.attribution import relp

    return relp.run(ctx)


def _mask_ig(ctx: Context) -> Outcome:
    from eapgp.attribution import mask_ig

    return mask_ig.run(ctx)


def _mask_ig_refined(ctx: Context) -> Outcome:
    from eapgp.attribution import mask_ig_refined

    return mask_ig_refined.run(ctx)


def _exact(ctx: Context) -> Outcome:
    from eapgp.attribution import exact

    return exact.run(ctx)


def _random(ctx: Context) -> Outcome:
    from eapgp.attribution import random

    return random.run(ctx)


_ALL = (
    Method(
        name="eap",
        title="EAP",
        paper="Syed, Rager & Conmy 2023, arXiv:2310.10348",
        cost="1 forward and 1 backward pass, 1 corrupted pass",
        explanation=(
            "Edge Attribution Patching estimates what corrupting each edge would do to the metric from one gradient, "
            "taken at the clean input. It is the cheapest method. Where the output is saturated there, the gradient "
            "vanishes and edges that matter score near zero."
        ),
        run=_eap,
        after_shared=True,
        interventions=ALL_INTERVENTIONS,
    ),
    Method(
        name="clean-corrupted",
        title="Clean-corrupted",
        paper="Hanna et al. 2024, arXiv:2403.17806",
        cost="2 forward and 2 backward passes",
        explanation=(
            "Averages EAP's gradient at the clean input with the one at the corrupted input. Two passes see both ends "
            "of the line that EAP-IG integrates over, and nothing between."
        ),
        run=_clean_corrupted,
        after_shared=True,
        passes=lambda steps, layers: (2, 2),
    ),
    Method(
        name="eap-ig",
        title="EAP-IG (inputs)",
        short="EAP-IG",
        paper="Hanna, Pezzelle & Belinkov 2024, arXiv:2403.17806",
        cost="k forward and k backward passes, 1 clean and 1 corrupted pass",
        explanation=(
            "Integrated gradients on edges: the gradient is averaged over k inputs on the straight line between the "
            "corrupted and the clean embedding. Sums over the input's edges approach M(clean) − M(corrupted) as k "
            "grows. Part of the line can run through a region where the output no longer moves."
        ),
        run=_eap_ig,
        options=(STEPS, POINTS, replace(OBJECTIVE, changes_scores=False)),
        path=True,
        passes=lambda steps, layers: (steps, steps),
    ),
    Method(
        name="eap-gp",
        title="EAP-GP (GradPath)",
        short="EAP-GP",
        paper="Zhang et al. 2025 (NeurIPS), arXiv:2502.06852",
        cost="k+1 forward and 2k backward passes, 1 corrupted pass",
        explanation=(
            "Takes the gradients along GradPath instead of the straight line: from the clean embedding, each step goes "
            "down the gradient of the logits' distance to the corrupted run's, out of regions where the output is "
            "saturated. Steps of a fixed length need not come nearer to that output, and often do not; every path "
            "record says on how many pairs they did. The authors released no code; this follows the paper."
        ),
        run=_eap_gp,
        survey=_gradpath_norms,
        options=(STEPS, STEP, OBJECTIVE, NORM, GRADPATH_POINTS, DIRECTION, DIRECTION_SEED),
        path=True,
        evidence="paper without code",
        passes=lambda steps, layers: (steps + 1, 2 * steps),
    ),
    Method(
        name="eap-ig-activations",
        title="EAP-IG (activations)",
        short="EAP-IG-activations",
        paper="Hanna, Pezzelle & Belinkov 2024, arXiv:2403.17806",
        cost="k forward and k backward passes for the input and for each layer's attention and MLP, from there on",
        explanation=(
            "Integrates over one layer's outputs at a time instead of over the input: the output of a layer moves "
            "from its corrupted to its clean value while every other layer stays clean. Each edge is scored with the "
            "gradients of its own source's path. Costs about L times as much as EAP-IG on inputs. The EAP-IG library "
            "averages each source's gradient over the interpolations of all layers instead, and gives other scores."
        ),
        run=_eap_ig_activations,
        after_shared=True,
        options=(STEPS,),
        passes=lambda steps, layers: (steps * (1 + 2 * layers), steps * (1 + 2 * layers)),
    ),
    Method(
        name="eap-gp-activations",
        title="EAP-GP (activations)",
        short="EAP-GP-activations",
        paper="Zhang et al. 2025 (NeurIPS), arXiv:2502.06852",
        cost="k+1 forward and 2k backward passes for the input and each layer's attention and MLP, from there on",
        explanation=(
            "A GradPath in each layer's own output space, all other layers clean: the literal per-node reading of "
            "the paper. Slow, and the closest to what its text describes."
        ),
        run=_eap_gp_activations,
        options=(STEPS, STEP, OBJECTIVE),
        evidence="paper without code",
        passes=lambda steps, layers: ((steps + 1) * (1 + 2 * layers), 2 * steps * (1 + 2 * layers)),
    ),
    Method(
        name="ceap",
        title="CEAP",
        paper="arXiv:2606.16920 (second-hand)",
        cost="k forward and k backward passes, 1 clean pass",
        explanation=(
            "Walks the straight line and multiplies each gradient with the change of the source over that step "
            "alone, so that curved activations are followed. Costs what EAP-IG costs."
        ),
        run=_ceap,
        options=(STEPS, OBJECTIVE),
        path=True,
        evidence="second-hand",
        passes=lambda steps, layers: (steps, steps),
    ),
    Method(
        name="eap-gp-conductance",
        title="EAP-GP (conductance)",
        short="EAP-GP-conductance",
        paper="Zhang et al. 2025, arXiv:2502.06852, with the multiplier of IG²",
        cost="k+1 forward and 2k backward passes, 1 corrupted pass",
        explanation=(
            "GradPath with per-step increments instead of one multiplier. Its sum is the metric's change along the "
            "path, which is M(clean) − M(corrupted) only where the path arrives."
        ),
        run=_eap_gp_conductance,
        survey=_gradpath_norms,
        options=(STEPS, STEP, OBJECTIVE, NORM, DIRECTION, DIRECTION_SEED),
        path=True,
        evidence="second-hand",
        passes=lambda steps, layers: (steps + 1, 2 * steps),
    ),
    Method(
        name="ifr",
        title="Information flow routes",
        short="IFR",
        paper="Ferrando & Voita 2024, arXiv:2403.00824",
        cost="1 clean pass (and 1 corrupted pass, only for the metric)",
        explanation=(
            "Scores an edge by how much of what its destination reads comes from its source, by the L1 norm. It knows "
            "no metric and no corruption: it shows where information flows, not what it is used for."
        ),
        run=_ifr,
        reads_corrupted=False,
        passes=lambda steps, layers: (0, 0),
    ),
    Method(
        name="atp-graddrop",
        title="AtP* GradDrop",
        short="AtP-GradDrop",
        paper="Kramár et al. 2024, arXiv:2403.00745 (second-hand for edges)",
        cost="1 forward and L backward passes, 1 corrupted pass",
        explanation=(
            "EAP once per layer with that layer's gradient dropped; absolute values are averaged. Effects that "
            "cancel between layers no longer hide each other. Scores carry no sign."
        ),
        run=_atp_graddrop,
        after_shared=True,
        interventions=ALL_INTERVENTIONS,
        evidence="second-hand",
        passes=lambda steps, layers: (1, layers),
    ),
    Method(
        name="relp",
        title="RelP",
        paper="arXiv:2508.21258 (second-hand)",
        cost="1 forward and 1 backward pass, 1 corrupted pass",
        explanation=(
            "EAP with relevance rules in place of derivatives: norm scales and attention patterns are constants, the "
            "MLP's non-linearity is replaced by its input-output ratio. Edges into queries and keys score zero."
        ),
        run=_relp,
        after_shared=True,
        interventions=ALL_INTERVENTIONS,
        evidence="second-hand",
    ),
    Method(
        name="mask-ig",
        title="Mask-IG",
        paper="ours; close to the mask gradients of auto-circuit, arXiv:2407.08734",
        cost="k forward and k backward passes, 1 clean and 1 corrupted pass",
        explanation=(
            "Integrated gradients over the edges instead of the inputs: every edge carries the same mixture of its "
            "clean and its corrupted activation, and the gradient is averaged over a few mixtures. All scores together "
            "add up to M(clean) − M(corrupted) as k grows. On small models its circuits were slightly better than "
            "EAP-IG's where the metric saturates, and as good elsewhere."
        ),
        run=_mask_ig,
        after_shared=True,
        options=(MASK_STEPS, NODES),
        evidence="ours",
        passes=lambda steps, layers: (steps, steps),
    ),
    Method(
        name="mask-ig-refined",
        title="Mask-IG, refined",
        short="Mask-IG-refined",
        paper="ours",
        cost="k+4 forward and k+4 backward passes, 1 clean and 5 corrupted passes",
        explanation=(
            "Mask-IG, and then four more gradients, each taken inside a circuit that the scores so far select (50, 20, "
            "10 and 5 % of the edges). The ranking is corrected at the states in which circuits are judged. Scores are "
            "normalised per round and then scaled to Mask-IG's size."
        ),
        run=_mask_ig_refined,
        after_shared=True,
        options=(MASK_STEPS, NODES),
        evidence="ours",
        rounds=5,
        passes=lambda steps, layers: (steps + 4, steps + 4),
    ),
    Method(
        name="exact",
        title="Exact patching",
        paper="activation (path) patching; Wang et al. 2022, arXiv:2211.00593",
        cost="about half a forward pass per edge",
        explanation=(
            "Runs the model once per edge with only that edge corrupted and reads how far the metric falls. This is "
            "the true effect of a single edge, and slow. It is not the truth about circuits: of two redundant edges "
            "each alone is worth nothing."
        ),
        run=_exact,
        after_shared=True,
        interventions=ALL_INTERVENTIONS,
        options=(EDGES,),
        passes=lambda steps, layers: (0, 0),
    ),
    Method(
        name="random",
        title="Random",
        paper="baseline",
        cost="1 clean and 1 corrupted pass (only for the metric)",
        explanation="Seeded noise. A method that is no better than this has found nothing.",
        run=_random,
        interventions=ALL_INTERVENTIONS,
        options=(NOISE_SEED,),
        passes=lambda steps, layers: (0, 0),
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})


METHODS_BY_POSITION = (
    "eap",
    "clean-corrupted",
    "eap-ig",
    "eap-gp",
    "eap-ig-activations",
    "eap-gp-activations",
    "ceap",
    "eap-gp-conductance",
    "relp",
)
"""Methods whose scores are sums over positions: activations contracted with gradients, `per_position`."""


def get_method(name: str) -> Method:
    """The method of that name.

    Errors: UnknownNameError listing the names.
    """
    if name not in METHODS:
        raise UnknownNameError.of("method", name, METHODS)
    return METHODS[name]


IMPORTED = "imported"  # the method of runs whose scores came in a file


def short_name(method: str) -> str:
    """Name of a method in lists and legends."""
    return variant(method, {})


def variant(method: str, options: Mapping[str, Any]) -> str:
    """Short name with what tells variants apart: `EAP-GP · random direction`, `EAP-IG · k = 10`."""
    if method in METHODS:
        return METHODS[method].variant(options)
    return "Imported scores" if method == IMPORTED else method


def blurb(method: str) -> str:
    """First sentence of a method's explanation."""
    return METHODS[method].explanation.split(". ")[0].rstrip(".") + "." if method in METHODS else ""


def carried(intervention: str) -> str:
    """What an edge carries that is cut."""
    return INTERVENTIONS.get(intervention, intervention)


def rank(method: str) -> int:
    """Place of a method in the registry's order; what is not in it comes last."""
    return list(METHODS).index(method) if method in METHODS else len(METHODS)


def every_edge(method: str, options: Mapping[str, Any]) -> bool:
    """Whether a run is exact patching of all edges, and so can be held against as the real effects."""
    return method == "exact" and not options.get("edges")
