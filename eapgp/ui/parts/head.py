"""The head of a page: its title and settings, the first pair with the model's answers, and what the page found.

What stands in the texts of prompts is escaped; nothing here runs a model: answers are read where they are kept, and
asked for in the background where the model may be run unasked.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

import streamlit as st

from eapgp.evaluation.answers import PairAnswers, Position
from eapgp.findings import Finding
from eapgp.numerals import percent
from eapgp.prompts.align import SPACE
from eapgp.prompts.pairs import PromptPair
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import dark, plain, visible
from eapgp.ui.base.session import Session
from eapgp.ui.jobs.follow import poll
from eapgp.ui.library import answers as asked
from eapgp.ui.library.consent import agreed
from eapgp.ui.sidebar import status
from eapgp.ui.sidebar.panel import Panel

KEY = "page-head"
_LIGHT = {"text": "#10181c", "muted": "#5a676d", "line": "#d5dcdf", "chip": "#f3f5f6", "back": "#fdeedd"}
_LIGHT |= {"mark": "#b85c00", "right": "#2b5a68", "wrong": "#9aa5ab"}
_DARK = {"text": "#e4eaec", "muted": "#9aa8af", "line": "#354148", "chip": "#1c2428", "back": "#43301b"}
_DARK |= {"mark": "#f0a04b", "right": "#7fb9c9", "wrong": "#5f6d74"}
_CSS = """<style>
.eapgp-pair{{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:4px 20px;align-items:center;color:{text}}}
.eapgp-pair p{{margin:0;line-height:1.75;font-size:1rem;overflow-wrap:anywhere}}
.eapgp-pair .tok{{background:{chip};border-radius:3px;padding:1px 2px}}
.eapgp-pair .tok.word{{margin-left:3px}}
.eapgp-pair .differs{{display:inline-flex;background:{back};border:2px solid {mark};border-radius:5px;padding:0 5px;
margin:0 2px 0 4px;gap:5px;line-height:1.45;font-weight:600}}
.eapgp-pair .differs s{{text-decoration:none;font-weight:400}}
.eapgp-pair .differs s::before{{content:"→ ";color:{muted}}}
.eapgp-side{{min-width:168px;font-size:0.86rem;line-height:1.35}}
.eapgp-side b{{font-weight:600;color:{muted};font-size:0.78rem}}
.eapgp-side div{{display:grid;grid-template-columns:minmax(4.5em,auto) 56px 3.4em;gap:6px;align-items:center}}
.eapgp-side i{{height:9px;border:1px solid {line};border-radius:2px;display:block;overflow:hidden}}
.eapgp-side i::before{{content:"";display:block;height:100%;width:var(--p);background:{wrong}}}
.eapgp-side .right i::before{{background:{right}}}
.eapgp-side em{{font-style:normal;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
.eapgp-finding{{font-size:1.22rem;line-height:1.3;font-weight:600;margin:0;color:{text};min-height:1.3em}}
.st-key-head-finding{{min-height:1.59rem}}
.eapgp-finding small{{font-size:0.86rem;font-weight:400;color:{muted}}}
@media (min-width:1150px){{.st-key-head-title{{flex-wrap:nowrap!important}}.st-key-head-title>*{{min-width:0}}
.st-key-head-title>:first-child{{flex:none}}}}
@media (max-width:900px){{.eapgp-pair{{grid-template-columns:1fr 1fr}}.eapgp-pair p{{grid-column:1/-1}}
.eapgp-side{{min-width:0}}.eapgp-side div{{grid-template-columns:minmax(3.5em,1fr) 40px 3.2em}}}}
</style>"""


def head(
    title: str, session: Session, panel: Panel | None = None, *, card: RunInfo | None = None, shows: str = ""
) -> Callable[[Finding | None], None]:
    """Draw the head; what comes back takes the sentence once the page has it (None: it is not there yet).

    card: whose first pair is shown. shows: as in `status.say_problems`.
    """
    with st.container(key=KEY, gap="xsmall"):
        st.html(pair_style())
        with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="head-title"):
            st.title(plain(title), anchor=False, width="content")
            if panel is not None:
                status.settings_line(panel, card)
        status.say_problems(session, panel, shows=shows)
        if card is not None and card.n_pairs:
            _pair(card)
        # Not an empty one: its last sentence stays until there is another, so that nothing jumps while the page runs.
        place = st.container(key="head-finding")
    return lambda finding: place.html(_sentence(finding))


def _sentence(finding: Finding | None) -> str:
    """The finding as HTML; an empty line of the same height before there is one."""
    remark = f" <small>{html.escape(finding.remark)}</small>" if finding is not None and finding.remark else ""
    text = unbroken(visible(finding.text)) if finding is not None else "&nbsp;"
    return f'<p class="eapgp-finding">{text}{remark}</p>'


_WHOLE = re.compile(r"\S+-&gt;[^\s,.]+|[+−]?\d[\d.,]* %( \[[^\]]+\])?|[+−]?\d[\d.,]* \[[^\]]+\]")


def unbroken(text: str) -> str:
    """A sentence as HTML in which no line ends within an edge's name, a share or a number's interval."""
    return _WHOLE.sub(r'<span style="white-space:nowrap">\g<0></span>', html.escape(text))


def pair_style() -> str:
    """The style sheet of `pair_html` and of the sentence."""
    return _CSS.format(**(_DARK if dark() else _LIGHT))


def _pair(card: RunInfo) -> None:
    """The first pair and the answers to it; where nobody has asked the model yet, the pair alone."""
    answers = asked.answers_of(card)
    if answers is None and asked.job_of(card) is None and agreed(card):
        asked.submit(card)
    job = asked.job_of(card)
    tokens = answers.tokens if answers is not None else words_of(card.run.prompts().pairs[0])
    st.html(pair_html(tokens, answers))
    if answers is None and job is not None and job.live:
        poll(job.id, lambda _: None)


def words_of(pair: PromptPair) -> tuple[Position, ...]:
    """A pair word by word, where no tokenizer has read it; the last words of a longer side stand alone."""
    clean, corrupted = (text.replace("\n", " \n").split(" ") for text in (pair.clean, pair.corrupted))
    width = max(len(clean), len(corrupted))
    rows = []
    for place in range(width):
        a, b = (words[place] if place < len(words) else "" for words in (clean, corrupted))
        mark = SPACE if place else ""
        rows.append((f"{mark}{a}" if a else "", f"{mark}{b}" if b else "", a != b))
    return tuple(rows)


def pair_html(
    tokens: tuple[Position, ...], answers: PairAnswers | None, sides: Sequence[str] = ("clean", "corrupted")
) -> str:
    """The pair as token chips, clean → corrupted where they differ, and the answers on both sides as bars."""
    chips = "".join(_chip(*position) for position in tokens)
    text = f'<p aria-label="First prompt pair: clean, and the corrupted token after the arrow">{chips}</p>'
    bars = "" if answers is None else "".join(_side(answers, side) for side in sides)
    return f'<div class="eapgp-pair">{text}{bars}</div>'


def _chip(clean: str, corrupted: str, differs: bool) -> str:
    left, right = (html.escape(visible(text.removeprefix(SPACE))) or "–" for text in (clean, corrupted))
    if differs:
        return f' <span class="differs"><span>{left}</span><s>{right}</s></span> '
    word = " word" if clean.startswith(SPACE) else ""
    return f'{" " if word else ""}<span class="tok{word}">{left}</span>'


def _side(answers: PairAnswers, side: str) -> str:
    """What the model answers on one side: the right and the wrong answers' share of its probability."""
    rows = []
    for kind, total, count in zip(("right", "wrong"), answers.totals[side], answers.counts, strict=True):
        if count:
            name = answers.best(side, kind).removeprefix(SPACE) if count == 1 else f"{count} {kind}"
            rows.append(_bar(name, total, kind))
    if not rows:
        rows = [_bar(token.removeprefix(SPACE), chance, "") for token, chance, _ in getattr(answers, side)[:2]]
    return f'<div class="eapgp-side"><b>after {side}</b>{"".join(rows)}</div>'


def _bar(name: str, share: float, kind: str) -> str:
    label = html.escape(visible(name))
    return (
        f'<div class="{kind}"><span>{label}</span><i style="--p:{100 * share:.1f}%"></i><em>{percent(share)}</em></div>'
    )
