"""Which models may be run unasked, and on which lane; the rest waits for a click."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from eapgp.models.catalogue import find_model, in_hub_cache, is_here, model_shape
from eapgp.numerals import duration
from eapgp.places import is_file, is_folder
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.base.policy import policy
from eapgp.ui.jobs.manager import LIVE
from eapgp.ui.jobs.server import lane_of

_AGREED = "eapgp-agreed"
AT_ONCE = 2.0  # seconds up to which something is measured unasked
UNASKED = 15.0  # seconds up to which a small model that is here works on unasked
SOON_LOADED = 1_000_000_000  # parameters up to which a model is loaded in seconds
SMALL_MODEL = 200_000_000  # parameters up to which the live readout may keep a copy of its own


def lane_of_card(card: RunInfo) -> str:
    """The lane of quick readouts of a run."""
    spec = card.run.spec
    return live_lane(card.model, spec or RunSpec())


def live_lane(model: str, spec: RunSpec | None = None) -> str:
    """The lane of quick readouts: one of its own for small models, else that of the long jobs."""
    entry = find_model(model)
    small = entry is not None and entry.parameters <= SMALL_MODEL
    return LIVE if small else lane_of(spec or RunSpec())


def runs_at_once(model: str) -> bool:
    """Whether a page may run a model unasked: it is small and needs no download."""
    entry = find_model(model)
    return entry is not None and entry.parameters <= SMALL_MODEL and at_hand(model)


def at_hand(model: str) -> bool:
    """Whether a model can be loaded without the network: bundled, a folder or file, or fetched before."""
    if policy().refuses_model(model):
        return False
    entry = find_model(model)
    if entry is not None:
        return is_here(entry)
    return is_folder(model) or is_file(model) or in_hub_cache(model)


def cost(card: RunInfo) -> float:
    """Seconds that running one circuit of a run takes, about, from the time of the run itself.

    A backward pass counts as two forward ones, and a circuit as two.
    """
    record = card.record
    passes = float(record["forward_passes"]) + 2 * float(record["backward_passes"])
    return 2 * float(record["seconds"]) / max(1.0, passes)


def agreed(card: RunInfo) -> bool:
    """Whether the model of a run may be run without asking (again): small, quick to run a circuit of, or agreed to."""
    return runs_at_once(card.model) or card.id in st.session_state.get(_AGREED, ()) or _is_quick(card)


def _is_quick(card: RunInfo) -> bool:
    """Whether a circuit takes no longer than `AT_ONCE`, and the model is here and soon loaded."""
    if not card.seconds or cost(card) > AT_ONCE or not at_hand(card.model):
        return False
    shape = model_shape(card.model)
    return shape is not None and shape.parameters <= SOON_LOADED


def may_run(card: RunInfo, what: str, *, key: str, seconds: float = 0.0) -> bool:
    """Whether the model of a run may be run now; where it is large, must be fetched or takes long, a button asks first.

    what: what it is run for, as the button says it, e.g. "Measure this circuit". seconds: about how long it takes,
    where that is longer than a circuit's run.
    """
    if agreed(card) and (seconds <= UNASKED or card.id in st.session_state.get(_AGREED, ())):
        return True
    fetched = "" if at_hand(card.model) else " and first fetches it from Hugging Face"
    long = f" It takes about {duration(seconds)}." if seconds > UNASKED else ""
    pressed = st.button(
        what,
        key=key,
        icon=":material/play_arrow:",
        help=f"Runs {plain(card.model)} in the background{fetched}. It is not done unasked because it takes long or "
        f"the model is not on this machine; after this click, what this page shows is measured as it changes.{long}",
    )
    if pressed:
        agree([card])
        st.rerun()
    return False


def agree(cards: Sequence[RunInfo]) -> None:
    """Let the models of some runs be run without asking again."""
    st.session_state.setdefault(_AGREED, set()).update(card.id for card in cards)
