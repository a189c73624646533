"""What the Prompts page draws: the pairs, one of them token by token, problems, words, metrics, and how it was made."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from eapgp.evaluation.answers import Likely, Position
from eapgp.metrics import METRICS
from eapgp.numerals import percent, score
from eapgp.prompts import write_prompts
from eapgp.prompts.pairs import Answer, PromptSet
from eapgp.ui.base.draw import counted, dark, plain, table_to_pick, visible, written
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import consent
from eapgp.ui.parts import snippets
from eapgp.ui.parts.provenance import versions
from eapgp.ui.prompts.jobs import Seen, Word, word_work
from eapgp.ui.prompts.own import put_into_table
from eapgp.ui.prompts.pairs import Selection, loaded_with

FEW = 6  # answers of one side that a table shows
LISTED = 200  # problems that are listed


def pairs_and_one(session: Session, selection: Selection, seen: Seen | None) -> None:
    """The list of pairs and, beside it, one of them."""
    count = len(selection.prompts)
    session.settle("row", min(session["row"], count), f"a pair from 1 to {count}")
    left, right = st.columns([1.35, 1], gap="large")
    with right:
        session.widget("row", st.number_input, max_value=count, width=140)
        index = int(session["row"]) - 1
        if seen is None:
            pair = selection.prompts.pairs[index]
            st.markdown(f"Clean: {plain(visible(pair.clean))}  \nCorrupted: {plain(visible(pair.corrupted))}")
            st.caption("Tokens and the model's answers appear when it has run.")
        else:
            _one(index, seen)
    with left:
        _list(session, selection.prompts, seen)


def _list(session: Session, prompts: PromptSet, seen: Seen | None) -> None:
    used = list(seen.fit.usable) if seen is not None else list(range(len(prompts)))
    if seen is not None and session["right"]:
        used = [i for i, good in zip(used, seen.right, strict=True) if good]
    table = _table(prompts, used, seen)
    table_to_pick(
        written(table, {"metric": score}),
        "pair-table",
        lambda place: session.later(row=used[place] + 1),
        height=min(40 + 36 * max(2, len(table)), 330),
        column_config={
            "pair": st.column_config.NumberColumn("Pair", width=50),
            "clean": st.column_config.TextColumn("Clean", width=290),
            "right": st.column_config.CheckboxColumn(
                "Right", width=58, help="On the clean prompt the right answers are likelier than the wrong ones."
            ),
            "metric": st.column_config.NumberColumn(
                "Metric", width=68, help="The metric of this pair on the clean prompt."
            ),
            "correct": "Right answers",
            "incorrect": "Wrong answers",
            "corrupted": st.column_config.TextColumn("Corrupted", width="large"),
        },
    )
    st.caption(f"{counted(len(table), 'pair')}. Select a row to see that pair token by token; click a column to sort.")


def _table(prompts: PromptSet, used: Sequence[int], seen: Seen | None) -> pd.DataFrame:
    rows = []
    place = {index: at for at, index in enumerate(seen.fit.usable)} if seen is not None else {}
    for index in used:
        pair = prompts.pairs[index]
        row: dict[str, object] = {"pair": index + 1, "clean": visible(pair.clean)}
        if seen is not None:
            row |= {"right": bool(seen.right[place[index]]), "metric": float(seen.clean[place[index]])}
        row |= {"correct": _few(pair.correct), "incorrect": _few(pair.incorrect)}
        rows.append({**row, "corrupted": visible(pair.corrupted)})
    return pd.DataFrame(rows)


def _few(answers: Sequence[Answer]) -> str:
    more = f" … ({len(answers)})" if len(answers) > FEW else ""
    return visible(" | ".join(str(answer) for answer in answers[:FEW])) + more


def _one(index: int, seen: Seen) -> None:
    rows = seen.tokens[index]
    st.html(alignment_html(rows, dark=dark()))
    differing = sum(row[2] for row in rows)
    st.caption(
        f"{differing} of {len(rows)} positions differ (framed). Above: clean, below: corrupted; ␣ marks a space before "
        "the word."
    )
    problem = next((one for one in seen.fit.problems if one.pair == index), None)
    if problem is not None:
        st.warning(plain(visible(problem.message)), icon=":material/warning:")
        return
    at = seen.fit.usable.index(index)
    for column, side, top in zip(
        st.columns(2), ("clean", "corrupted"), (seen.top_clean[at], seen.top_corrupted[at]), strict=True
    ):
        with column:
            _likeliest(side, top)
    st.caption(
        f"The likeliest next tokens. Metric of this pair: {score(seen.clean[at])} clean, {score(seen.corrupted[at])} "
        "corrupted."
    )


def _likeliest(side: str, top: Sequence[Likely]) -> None:
    rows = [(f"{visible(token)} · {kind}" if kind else visible(token), chance) for token, chance, kind in top]
    st.dataframe(
        written(pd.DataFrame(rows, columns=["token", "p"]), {"p": partial(percent, digits=1)}),
        hide_index=True,
        row_height=28,
        column_config={
            "token": st.column_config.TextColumn(
                f"After {side}", help="right, wrong: it is among the right or the wrong answers of this pair."
            ),
            "p": st.column_config.NumberColumn("p", width=64, help="Probability."),
        },
    )


_LIGHT = {"text": "#1c2529", "muted": "#5f6d74", "line": "#d5dcdf", "back": "#fdeedd", "mark": "#b85c00"}
_DARK = {"text": "#e4eaec", "muted": "#9aa8af", "line": "#354148", "back": "#43301b", "mark": "#f0a04b"}


def alignment_html(rows: Sequence[Position], *, dark: bool) -> str:
    """Clean above corrupted, one box per position, numbered; boxes of differing positions are framed."""
    look = _DARK if dark else _LIGHT
    boxes = "".join(_box(place, *row) for place, row in enumerate(rows, start=1))
    return (
        "<style>"
        f"ol.eapgp-align{{display:flex;flex-wrap:wrap;gap:4px;margin:0!important;padding:0!important;list-style:none;color:{look['text']};"
        "font-size:0.9rem;line-height:1.35}"
        f".eapgp-align li{{display:flex;flex-direction:column;border:1px solid {look['line']};border-radius:4px;"
        "padding:1px 5px 2px;margin:0!important;max-width:100%;overflow-wrap:anywhere;min-width:1.6rem}"
        f".eapgp-align small{{color:{look['muted']};font-size:0.68rem}}"
        f".eapgp-align li.same span+span{{color:{look['muted']}}}"
        f".eapgp-align li.differs{{background:{look['back']};border:2px solid {look['mark']}}}"
        "</style>"
        f'<ol class="eapgp-align" aria-label="Tokens of clean and corrupted, position by position">{boxes}</ol>'
    )


def _box(place: int, clean: str, corrupted: str, differs: bool) -> str:
    left, right = (html.escape(visible(text)) or "–" for text in (clean, corrupted))
    kind = "differs" if differs else "same"
    return f'<li class="{kind}"><small>{place}</small><span>{left}</span><span>{right}</span></li>'


def problems(session: Session, seen: Seen, *, own: bool) -> None:
    """Pairs that cannot be used, with the reason and what to do."""
    if not seen.fit.problems:
        st.success("Every pair can be used with this model.", icon=":material/check:")
        return
    if own and seen.mended is not None:
        st.button(
            "Write the answers so that each is one token",
            key="mend-answers",
            type="primary",
            icon=":material/auto_fix_high:",
            on_click=put_into_table,
            args=(seen.mended,),
            help="Adds or removes the space in front of answers where that makes them one token. The pairs go into the "
            "table; a file stays as it is.",
        )
    rows = [(problem.pair + 1, visible(problem.reason)) for problem in seen.fit.problems[:LISTED]]
    table_to_pick(
        pd.DataFrame(rows, columns=["pair", "reason"]),
        "problem-table",
        lambda place: session.later(row=rows[place][0], tab="pairs"),
        row_height=64,
        column_config={
            "pair": st.column_config.NumberColumn("Pair", width=60),
            "reason": st.column_config.TextColumn("Why it cannot be used, and what to do", width=900),
        },
    )
    more = f" The first {LISTED} are listed." if len(seen.fit.problems) > LISTED else ""
    st.caption(
        f"{counted(len(seen.fit.problems), 'pair')} cannot be used.{more} Select a row to see that pair token by token."
    )


def word(session: Session, model: str) -> None:
    """Is a word one token, what does it split into, and what to write instead?"""
    session.widget("word", st.text_input, placeholder=" Mary", width=320)
    asked = str(session["word"])
    if not asked.strip():
        st.caption("Type a word to see how the model's tokenizer reads it: an answer must be exactly one token.")
        return
    lane = consent.live_lane(model)
    work = word_work(server.workshop(), lane, model, asked)
    job_id = server.manager().submit(f"word-{model}-{asked!r}", f"the word {asked!r}", work, lane=lane)
    follow(job_id, _show_word, waiting="Asking the tokenizer ·")


def _show_word(job: JobView) -> None:
    forms = job.result
    assert isinstance(forms, Word)
    rows = [
        (plain(repr(visible(text))), len(pieces), plain("   ".join(map(visible, pieces))), "yes" if fits else "no")
        for text, pieces, fits in forms.forms
    ]
    st.table(
        pd.DataFrame(rows, columns=["written", "tokens", "they are", "can be an answer"]).set_index("written"),
        border="horizontal",
    )
    st.markdown(plain(visible(forms.advice)))
    if forms.alike:
        st.markdown("One-token words that are spelt alike: " + plain(", ".join(map(repr, forms.alike))))


def metrics(current: str) -> None:
    """Every metric with its formula."""
    for name, one in METRICS.items():
        if one.formula:
            mark = "▶ " if name == current else ""
            st.markdown(f"{mark}**{plain(one.title)}** \u2003 {plain(one.formula)}  \n{plain(one.explanation)}")
    st.caption("▶ marks the metric in use; it is chosen in the settings on the left.")


def made(selection: Selection, seen: Seen) -> None:
    """What decided these numbers, and how to get them again."""
    left, right = st.columns(2, gap="large")
    with left:
        rows = [
            ("Model", f"{seen.model}, weights {seen.weights[:12]}"),
            ("Prompts", f"{selection.prompts.task}, {len(selection.prompts):,} pairs, hash {selection.prompts.hash}"),
            ("Made by", ", ".join(f"{key} {value}" for key, value in selection.prompts.origin.items()) or "typed here"),
            ("Metric", selection.metric),
            ("Versions", versions()),
        ]
        rows = [(name, plain(value)) for name, value in rows]
        st.markdown("**What decided these numbers**")
        st.table(
            pd.DataFrame(rows, columns=["", "value"]).set_index(""),
            border="horizontal",
            hide_header=True,
        )
        download(selection.prompts)
    with right:
        if selection.own:
            st.caption(
                "These pairs are kept nowhere yet: the lines below read the file that the download gives; press "
                "**Keep** to have them on this machine under a name."
            )
        snippets.draw(python_snippet(selection), shell_snippet(selection), title="Get these numbers again in Python")


def python_snippet(selection: Selection) -> str:
    """Python that makes the pairs and the numbers of the readout."""
    spec = selection.spec
    head = ["from eapgp.circuits import Circuit", "from eapgp.evaluation import CircuitRunner"]
    head += ["from eapgp.models import load_model"]
    head += ["from eapgp.prompts import Prompting"] if spec.prompting.to_dict() else []
    if selection.own or spec.prompts_file:
        head += ["from eapgp.prompts import fit, read_prompts\n"]
        prompts = f"prompts = read_prompts({file_of(selection)!r})"
    else:
        head += ["from eapgp.prompts import fit", "from eapgp.tasks import make_prompts\n"]
        asked = snippets.arguments({"seed": spec.seed, "split": spec.split, **spec.task_options})
        prompts = f"prompts = make_prompts({spec.task!r}, {spec.n_pairs or 64}, tokenizer=model.tokenizer{asked})"
    how = snippets.arguments(loaded_with(spec))
    put = snippets.arguments(spec.prompting.to_dict()).removeprefix(", ")
    put = f".with_prompting(Prompting({put}))" if put else ""
    body = [
        f"model = load_model({spec.model!r}{how}){put}",
        prompts,
        "usable = prompts.pick(fit(prompts, model).usable)",
        f"runner = CircuitRunner(model, usable, metric={selection.metric!r})",
        "whole = runner.run([Circuit.full(model.graph)])",
        'print("right", whole.correct.mean())',
        'print("clean", runner.metric_clean.mean(), "corrupted", runner.metric_corrupted.mean())',
    ]
    return "\n".join([*head, *body, ""])


def shell_snippet(selection: Selection) -> str:
    """The commands that make or check the pairs, and score the edges on them."""
    spec = selection.spec
    if selection.own or spec.prompts_file:
        file = file_of(selection)
        how = {"tokenizer": spec.tokenizer, **spec.prompting.to_dict()}
        first = snippets.shell_line("eapgp", "prompts", "check", file, model=spec.model, **how)
    else:
        file = f"{spec.task}.csv"
        options = [f"{name}={value}" for name, value in spec.task_options.items()]
        how = {"model": spec.model, "tokenizer": spec.tokenizer, "random_weights": spec.random_weights or None}
        how |= {"pairs": spec.n_pairs or 64, "seed": spec.seed, "split": spec.split, "option": options}
        first = snippets.shell_line("eapgp", "prompts", "generate", str(spec.task), **how, out=file)
    on_file: dict[str, Any] = {"task": None, "task_options": {}, "prompts_file": file, "n_pairs": None, "split": "all"}
    return f"{first}\n{snippets.run_shell(replace(spec, **on_file, metric=selection.metric))}"


def file_of(selection: Selection) -> str:
    """The file that the snippets read: the kept one, or the one that the download gives."""
    return (
        selection.spec.prompts_file
        if selection.spec.prompts_file and not selection.own
        else f"{selection.prompts.task}.csv"
    )


def download(prompts: PromptSet) -> None:
    """The pairs as a CSV that the command line reads."""

    def text() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pairs.csv"
            write_prompts(prompts, path)
            return path.read_bytes()

    st.download_button(
        "These pairs (CSV)",
        text,
        file_name=f"{prompts.task}.csv",
        mime="text/csv",
        key="download-pairs",
        icon=":material/download:",
        on_click="ignore",
        help="The file works with eapgp attribute --prompts, and can be uploaded here again.",
    )
