"""The parts of the page: the sentence with its answers, the twin, the circuit of the pair, and a task made of it."""

from __future__ import annotations

import html

import streamlit as st

from eapgp import findings
from eapgp.figures.circuit_view import Pane, Ranking, build_payload
from eapgp.metrics import DEFAULT_METRIC
from eapgp.models.catalogue import CATALOGUE, is_here
from eapgp.numerals import percent
from eapgp.prompts.align import SPACE
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import guard, plain, visible
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow, poll, progress_row, progress_text
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure, results
from eapgp.ui.library.circuits import circuit_of
from eapgp.ui.library.own_prompts import PromptStore
from eapgp.ui.parts import head
from eapgp.ui.parts.bound_view import bound_view, chosen_in, open_usual, rule_in, selection_view, size_in
from eapgp.ui.sentence import jobs
from eapgp.ui.sentence.jobs import Asked, Reading
from eapgp.ui.sidebar import settings

LONG = 0.6  # seconds that the page waits for an answer: a quick one comes with this run
_LAST = "eapgp-sentence-last"
SPACE_OF_NO_WIDTH = "\u200b"
_EXCHANGED = "eapgp-sentence-exchanged"  # the word that was chosen, to let go of it with its sentence


def question(session: Session) -> Asked:
    """The sentence and its model, and what is chosen of it."""
    models = [entry.name for entry in CATALOGUE if is_here(entry)]
    if session["model"] not in models:
        models.append(session["model"])
    left, right = st.columns([3.4, 1], vertical_alignment="bottom")
    with left:
        session.widget("says", st.text_input, live=True, placeholder="When Mary and John went to the store, John …")
    with right:
        session.widget("model", st.selectbox, options=models)
    names = ("right", "wrong", "word", "twin")
    return Asked(str(session["model"]), str(session["says"]), at=int(session["at"]), **{n: session[n] for n in names})


def reading(asked: Asked) -> Reading | None:
    """What the model makes of it; until that is known, what it made of the sentence before."""
    job = server.manager().wait(jobs.submit(asked), LONG)
    if job is not None and job.live:
        before: Reading | None = st.session_state.get(_LAST)

        def wait(now: JobView) -> None:
            if before is None:  # else that stays on screen
                st.caption(plain(f"{asked.model} reads the sentence · {progress_text(now)}"))

        poll(job.id, wait, every=0.25)
        return before
    if job is None or job.state != "done":
        if job is not None and job.state == "failed":
            st.info(plain(job.message), icon=":material/edit:")
        return None
    st.session_state[_LAST] = job.result
    result: Reading = job.result
    return result


def answers(session: Session, read: Reading) -> None:
    """The likeliest next tokens as bars, and which two are compared."""
    left, right = st.columns([1.6, 1], gap="large", vertical_alignment="top")
    with left:
        rows = "".join(_bar(name, chance) for name, chance, _ in read.answers)
        st.html(
            f'{_STYLE}<div class="eapgp-next" role="list" aria-label="What the model would write next">{rows}</div>'
        )
    options = [jobs.written(name) for name, _, _ in read.answers]
    with right:
        for name in ("right", "wrong"):
            own = [session[name]] if session[name] and session[name] not in options else []
            session.widget(
                name,
                st.selectbox,
                options=["", *own, *options],
                format_func=_answer_name if name == "right" else _other_name,
                accept_new_options=True,
            )


_STYLE = """<style>
.eapgp-next div{display:grid;grid-template-columns:7em 1fr 4em;gap:10px;align-items:center;font-size:1.05rem;
line-height:1.6}
.eapgp-next i{height:14px;border:1px solid light-dark(#d5dcdf,#354148);border-radius:3px;overflow:hidden}
.eapgp-next i::before{content:"";display:block;height:100%;width:var(--p);background:light-dark(#2b5a68,#7fb9c9)}
.eapgp-next em{font-style:normal;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
</style>"""


def _bar(name: str, chance: float) -> str:
    label = html.escape(visible(name.removeprefix(SPACE)))
    bar = f'<i style="--p:{100 * chance:.1f}%"></i>'
    return f'<div role="listitem"><span>{label}</span>{bar}<em>{percent(chance)}</em></div>'


def _answer_name(answer: str) -> str:
    return visible(answer.strip()) or "the likeliest"


def _other_name(answer: str) -> str:
    return visible(answer.strip()) or "what the twin makes likely"


def twin(session: Session, read: Reading) -> None:
    """The corrupted twin: the word that is exchanged and what replaces it, or a sentence that is typed."""
    places = list(range(1, len(read.tokens) + 1))
    here = read.tokens[session["at"] - 1].text if session["at"] in places else ""
    before, word = st.session_state.get(_EXCHANGED, (session["at"], here))
    st.session_state[_EXCHANGED] = session["at"], here
    if before != session["at"]:  # another word was clicked
        session.later(word="", twin="")
        st.rerun()
    if word != here:  # another sentence was typed
        session.later(at=0, word="", twin="", right="", wrong="")
        st.session_state[_EXCHANGED] = 0, ""
        st.rerun()
    labels = _told_apart([plain(visible(token.text)) or "·" for token in read.tokens])
    session.widget("at", st.pills, options=places, format_func=lambda place: labels[place - 1])
    words = dict(read.proposals)
    if session["at"] and words:
        if session["word"] and session["word"] not in words:
            words[session["word"]] = None
        kind = f"by another {read.kind}" if read.kind else "by what the model finds likely there"
        session.widget(
            "word",
            st.selectbox,
            kind,
            options=["", *(word for word in words if word)],
            format_func=lambda word: visible(word) or "choose, or type one",
            accept_new_options=True,
            width=300,
        )
    with st.expander("Type the corrupted sentence instead", expanded=bool(session["twin"]), width=400):
        session.widget("twin", st.text_input, live=True)


def _told_apart(labels: list[str]) -> list[str]:
    """Labels that look the same, of which no two are: Streamlit knows by its label which pill was clicked."""
    return [label + SPACE_OF_NO_WIDTH * labels[:place].count(label) for place, label in enumerate(labels)]


def pair(read: Reading) -> None:
    """The pair with the model's answers on both sides, or why it cannot be used."""
    if read.answered is not None:
        st.html(head.pair_html(read.answered.tokens, read.answered))
    elif read.problem:
        st.info(plain(read.problem), icon=":material/rule:")


def run(session: Session, asked: Asked, one: PromptPair) -> RunInfo | None:
    """The circuit of this pair: a button where it is not computed, its progress, and the run where it is."""
    prompts = PromptSet("sentence", (one,), DEFAULT_METRIC)
    values = {field.name: field.default for field in settings.FIELDS} | {"model": asked.model}
    kept = PromptStore(results.shelf().library.home).of(prompts)
    if kept is not None:
        spec, key = settings.question(values | {"task": kept.id})
        card = results.shelf().find(key)
        if card is not None:
            return card
        job = server.job(f"run-{spec.job_key()}")
        if job is not None and job.live:
            poll(job.id, lambda now: progress_row(now, key="stop-sentence"))
            return None
        if job is not None and job.state == "failed":
            st.error(plain(job.message), icon=":material/error:")
    left, right = st.columns([1, 3], vertical_alignment="center")
    pressed = left.button(
        "Run",
        key="sentence-run",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        help="Keeps this pair and scores every edge on it with EAP-GP in the background: seconds on a small model.",
    )
    right.caption("The circuit of this one pair, its faithfulness and its path.")
    if pressed:
        kept = PromptStore(results.shelf().library.home).add(prompts)
        spec, _ = settings.question(values | {"task": kept.id})
        measure.submit_run(spec, "EAP-GP on your sentence")
        st.rerun()
    return None


def circuit(session: Session, card: RunInfo) -> findings.Finding | None:
    """The circuit, what it keeps and where its path went; returns the sentence on it."""
    result = results.attribution(card)
    open_usual(session, card, result.scores)
    k, rule = size_in(session, card.graph), rule_in(session)
    chosen = circuit_of(card, result.scores, k, rule)
    job_id = measure.submit_circuits(
        card, [chosen], "the circuit of your sentence", slot=server.session_slot("sentence-k")
    )
    job = server.manager().soon(job_id)
    if "gradpath" in result.paths:
        st.markdown(plain(findings.of_path(result.paths["gradpath"]).text))
    view = selection_view(chosen_in(session, card.graph), session["pins"])
    payload = build_payload(
        result.scores,
        n=k,
        ranking=Ranking(rule=rule),
        view=view,
        pane=Pane(filename="sentence", caption="your sentence"),
    )
    with guard("The circuit"):
        bound_view(session, payload, key="sentence-circuit", height=460)
    with st.container(horizontal=True, gap="medium"):
        for name, label, icon in (("explore", "Explore", ":material/hub:"), ("path", "Path", ":material/timeline:")):
            if st.button(f"Open this in {label}", key=f"sentence-{name}", icon=icon, help=_OPEN):
                Session.hand_over(run=card.id, k=k, rule=rule)
                st.switch_page(page_file(name))
    if job is not None and job.live:
        poll(job.id, lambda _: st.caption("Running this circuit on the model …"))
    return findings.of_circuit(job.result) if job is not None and job.state == "done" else None


_OPEN = "Shows this run there, with everything that the page offers."


def task(session: Session, asked: Asked, one: PromptPair) -> None:
    """Many pairs of the same form, kept as pairs of one's own."""
    key = f"alike-{asked.key}"
    pressed = st.button(
        "Make it a task",
        key="sentence-task",
        icon=":material/library_add:",
        help="Other words of the same kinds in its places: 32 pairs, kept like your own and listed under Task.",
    )
    if pressed:
        server.manager().submit(
            key, "pairs like your sentence", jobs.alike_work(asked, one), lane=jobs.live_lane(asked.model)
        )
    if server.job(key) is not None:
        follow(key, lambda job: _kept(session, job), waiting="Making pairs ·")


def _kept(session: Session, job: JobView) -> None:
    made: PromptSet = job.result
    kept = PromptStore(results.shelf().library.home).add(made, name="sentence-task")
    st.success(f"{len(made)} pairs are kept. The last: {plain(visible(made.pairs[-1].clean))}", icon=":material/check:")
    if st.button("Open them on Prompts", key="sentence-open", icon=":material/notes:", help="Lists the pairs."):
        Session.hand_over(task=kept.id, source="task", run="")
        st.switch_page(page_file("prompts"))
