"""What the nodes of the manual circuits do, in words to show beside them.

IOI: "When Mary and John went to the store, John gave a drink to" → Mary. S1 and S2 are the two
places of the repeated name (John), IO is the other name, END the last position.
Greater-than: "The war lasted from the year 1732 to the year 17" → a year after 32.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """A class of nodes: a short id, a title and one or two sentences."""

    name: str
    title: str
    explanation: str


NAME_MOVER = Role(
    "name-mover",
    "Name mover",
    "Active at END: attends to the names that are left over and copies the one it attends to, the indirect object, "
    "to the output.",
)
BACKUP = Role(
    "backup-name-mover",
    "Backup name mover",
    "Moves little by itself, but takes over the copying of the indirect object when the name movers are knocked out.",
)
NEGATIVE = Role(
    "negative-name-mover",
    "Negative name mover",
    "Attends like a name mover but writes against the name it attends to: it lowers the right answer.",
)
S_INHIBITION = Role(
    "s-inhibition",
    "S-inhibition",
    "Active at END: attends to S2 and writes into the queries of the name movers that the repeated name is not to be "
    "attended to.",
)
INDUCTION = Role(
    "induction",
    "Induction",
    "Active at S2: attends to the token after S1 and so notices that the name has been seen before.",
)
DUPLICATE = Role(
    "duplicate-token",
    "Duplicate token",
    "Active at S2: attends to S1, the earlier place of the same token, and writes that it is a repetition.",
)
PREVIOUS = Role(
    "previous-token",
    "Previous token",
    "Copies the name at S1 to the position after it, where induction heads look for it.",
)
IOI_MLP = Role("mlp", "MLP", "In the edge set of this variant; the head analysis gives it no role of its own.")

EARLY_HEAD = Role(
    "early-head",
    "Early head",
    "Reads the embeddings in the first layer and prepares the start year for the heads that move it.",
)
EARLY_MLP = Role("early-mlp", "Early MLP", "One of the first MLPs, which enrich the embedding of the start year.")
MID_HEAD = Role(
    "mid-head",
    "Year mover",
    "Active at the last position: attends to the two digits of the start year and brings them to the late MLPs and "
    "the output.",
)
MIDDLE_MLP = Role(
    "middle-mlp", "Middle MLP", "Passes on what the early MLPs write, into the queries of the year movers."
)
LATE_MLP = Role(
    "late-mlp",
    "Late MLP",
    "Computes greater-than: raises the end years above the start year over those below.",
)
