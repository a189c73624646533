"""`python -m tools.tokenizers`: which tasks each family of tokenizers can pose, as docs/tokenizers.md."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from eapgp.models.catalogue import demo_folder
from eapgp.models.checkpoint import byte_tokenizer
from eapgp.models.packaged import PACKAGES, folder_of, is_here
from eapgp.tasks import TASKS, posable
from eapgp.tasks.recipe import Vocabulary
from eapgp.tasks.years import EXAMPLE
from tools import ROOT
from tools.tokenizers.families import FAMILIES, SIZE, gpt2

Row = tuple[str, str, Any]
HEAD = f"""# Which tasks a tokenizer can pose

Written by `python -m tools.tokenizers`, from the tokenizers that `tests/test_tasks_tokenizers.py` runs too.

A task's pairs need clean and corrupted prompts of equally many tokens and answers of one token. Which names, capitals,
nouns and verbs are used is decided by the model's tokenizer (`make_prompts(…, tokenizer=model.tokenizer)`; the
command line and the dashboard do so by themselves). The bundled model's and GPT-2's tokenizers take every word of the
lists. `eapgp tasks --model NAME` says the same of one model.

Greater-than follows how years are written: where two digits stand in one token, years above the start year are right;
where digits stand singly, digits above the start year's tens digit are right, those below wrong, and the equal digit is
on neither side; where they stand in threes no token begins after the century, and the task is refused.

Real are the tokenizers of `demo`, GPT-2 and SmolLM2. The others have the rules of a family and a vocabulary of at most
{SIZE:,} tokens learned from the tasks' own phrases, so that some words are one token and others are not; the families'
published vocabularies are larger and leave fewer words out. Numbers are the combinations that fit.

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.tokenizers", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tokenizers.md", help="file to write")
    parser.add_argument("--gpt2", type=Path, default=ROOT.parent / "shared" / "data" / "gpt2-tokenizer", help="folder")
    options = parser.parse_args(arguments)
    rows = [*_real(options.gpt2), *((family.name, family.rules, family.build(SIZE)) for family in FAMILIES)]
    rows.append(("single bytes", "what random weights without a tokenizer get", byte_tokenizer()))
    options.out.write_text(HEAD + _table(rows) + _refused(rows), encoding="utf-8")
    return 0


def _real(folder: Path) -> Iterator[Row]:
    yield "demo", "words, two digits apart; real", AutoTokenizer.from_pretrained(str(demo_folder()))
    if folder.is_dir():
        yield "GPT-2", "byte-level BPE; real", gpt2(folder)
    else:
        logging.warning("%s is absent: the table goes without GPT-2", folder)
    for name in PACKAGES:
        if is_here(name):
            yield name, "byte-level BPE, digits singly; real", AutoTokenizer.from_pretrained(str(folder_of(name)))
        else:
            logging.warning("%s is absent: the table goes without it", name)


def _table(rows: Sequence[Row]) -> str:
    lines = [f"| tokenizer | rules | {EXAMPLE} | {' | '.join(TASKS)} |", "|---" * (len(TASKS) + 3) + "|"]
    for name, rules, tokenizer in rows:
        year = " ".join(f"`{piece}`" for piece in Vocabulary(tokenizer).pieces(f" {EXAMPLE}"))
        lines.append(f"| {name} | {rules} | {year} | {' | '.join(_count(task, tokenizer) for task in TASKS)} |")
    return "\n".join(lines) + "\n"


def _count(task: str, tokenizer: Any) -> str:
    if posable(task, tokenizer):
        return "refused"
    recipe = TASKS[task].recipe(Vocabulary(tokenizer), **TASKS[task].settings({}))
    return f"{len(recipe.space.allowed('all')):,}"


def _refused(rows: Sequence[Row]) -> str:
    reasons = [
        f"- {name}, {task}: {reason}."
        for name, _, tokenizer in rows
        for task in TASKS
        if (reason := posable(task, tokenizer))
    ]
    return "\n## Refused, and why\n\n" + "\n".join(reasons) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
