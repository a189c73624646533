"""What a visitor may ask of this server: everything where it serves its own user, little where it is public.

Pages and jobs ask here and nowhere else. No Streamlit here.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from eapgp.errors import RunError
from eapgp.models.catalogue import find_model
from eapgp.places import PUBLIC_VARIABLE
from eapgp.runs.files import folder_size
from eapgp.runs.library import default_home
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec
from eapgp.runs.visitors import FOLDER as VISITORS
from eapgp.study.estimate import method_passes


@dataclass(frozen=True)
class Policy:
    """Limits of a server.

    public: visitors are strangers: they name models of the list only, and see their own runs, the bundled and the
    published ones. parameters: of the largest model. pairs: of one run. work: passes over a pair × parameters, of one
    computation. seconds: that one may take. visitor_jobs, jobs: that may wait or run, of one visitor and of all.
    visitor_bytes, bytes: what may lie in one visitor's library and in all of them.
    """

    public: bool = False
    parameters: float = math.inf
    pairs: float = math.inf
    work: float = math.inf
    seconds: float = math.inf
    visitor_jobs: float = math.inf
    jobs: float = math.inf
    visitor_bytes: float = math.inf
    bytes: float = math.inf

    def refuses_model(self, name: str, tokenizer: object = None) -> str:
        """Why a model may not be named, or ""."""
        if not self.public:
            return ""
        entry = find_model(name)
        if entry is None:
            return "this server is public and runs listed models only, no folders and no other ids"
        if tokenizer is not None:
            return "this server is public and takes no other tokenizer than a model's own"
        if entry.parameters > self.parameters:
            most = f"{self.parameters / 1e6:,.0f} million"
            return f"{entry.parameters / 1e6:,.0f} million parameters are more than the {most} that this server runs"
        return ""

    def refuses_run(self, spec: RunSpec, *, n_pairs: int | None = None) -> str:
        """Why a run may not be asked for, or "". n_pairs: where its prompts are a file."""
        if reason := self.refuses_model(spec.model, spec.tokenizer):
            return reason
        pairs = n_pairs or spec.n_pairs or (len(spec.prompts) if spec.prompts else DEFAULT_PAIRS)
        if pairs > self.pairs:
            return f"{pairs:,} pairs are more than the {self.pairs:,} that a run may have on this server"
        entry = find_model(spec.model)
        if entry is None or not self.public:
            return ""
        forward, backward = method_passes(spec, entry.graph)
        return self.refuses_work(pairs * (forward + 2 * backward), entry.parameters)

    def refuses_work(self, passes: float, parameters: float) -> str:
        """Why a computation of so many passes (a backward one counts as two) may not be asked for, or ""."""
        if passes * parameters <= self.work:
            return ""
        return (
            f"it takes about {passes:,.0f} passes, more than the {self.work / parameters:,.0f} that this server gives "
            "to a model of this size; take fewer pairs or steps, or another method"
        )

    def check_room(self, home: Path) -> None:
        """Raise where a visitor's library, or all of them, are full. Errors: RunError."""
        if self.public and folder_size(home) > self.visitor_bytes:
            most = f"{self.visitor_bytes / 1e6:,.0f} MB"
            raise RunError(
                f"your library: expected less than {most}; delete runs on the Runs page and empty the trash."
            )
        if self.public and folder_size(home.parent) > self.bytes:
            raise RunError("this server's disk: expected room for visitors' runs, there is none; ask who runs it.")

    def plain(self, text: str) -> str:
        """A text without this machine's places, where strangers read it."""
        if not self.public:
            return text
        for place, name in _places():
            text = text.replace(place, name)
        return text


LOCAL = Policy()
PUBLIC = Policy(
    public=True,
    parameters=200e6,
    pairs=512,
    work=1e12,
    seconds=900,
    visitor_jobs=20,
    jobs=200,
    visitor_bytes=300e6,
    bytes=20e9,
)


def policy() -> Policy:
    """The server's limits: `EAPGP_PUBLIC=1` makes it public."""
    return PUBLIC if os.environ.get(PUBLIC_VARIABLE, "") not in ("", "0") else LOCAL


def visitors_home() -> Path:
    """Where visitors' libraries lie, one folder each."""
    return default_home() / VISITORS


def published() -> Path:
    """The runs that a public server shows to everybody: of the library `published` below its own."""
    return default_home() / "published" / "runs"


def _places() -> list[tuple[str, str]]:
    """Places of this machine and what they are called, the longest first."""
    root = Path(__file__).resolve().parents[3]
    places = {
        visitors_home(): "VISITORS",
        default_home(): "HOME",
        root: "eapgp",
        Path(sys.prefix): "PYTHON",
        Path(tempfile.gettempdir()): "TMP",
        Path.home(): "~",
    }
    named = [(str(place), name) for place, name in places.items() if len(place.parts) > 1]
    return sorted(named, key=lambda one: len(one[0]), reverse=True)
