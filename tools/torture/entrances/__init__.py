"""The ways in, by name; each class says how its inputs are made, handed in and checked."""

from __future__ import annotations

from tools.torture.entrances.archives import Archives
from tools.torture.entrances.commands import Commands
from tools.torture.entrances.links import Links
from tools.torture.entrances.models import Folders, GgufFiles, Tokenizers
from tools.torture.entrances.prompts import Prompts
from tools.torture.entrances.scores import Scores
from tools.torture.entrances.studies import Studies
from tools.torture.entrances.uploads import Uploads
from tools.torture.judge import Entrance

ENTRANCES: dict[str, type[Entrance]] = {
    one.name: one
    for one in (Prompts, Uploads, Scores, Folders, Tokenizers, GgufFiles, Archives, Studies, Links, Commands)
}
