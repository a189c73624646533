"""The URL is the state: what is read from it, what is said about the rest, and what is written back."""

from __future__ import annotations

import pytest

from eapgp.ui.base.fields import Field, choice, flag, integer, names, number, read_url, text, write_url

FIELDS: tuple[Field, ...] = (
    choice("method", "eap-gp", ("eap", "eap-ig", "eap-gp"), "h"),
    integer("pairs", 64, 1, 5000, "h"),
    number("step", 1.0, 0.0, 10.0, "h"),
    flag("signed", False, "h"),
    text("sel", "", "h", pattern=r"[\w.<>\-]{1,80}", expected="the name of a node or edge"),
    names("runs", (), "h", most=2),
)


def test_good_values_are_read_and_written_back_as_they_came() -> None:
    url = {"method": "eap", "pairs": "16", "step": "0.5", "signed": "1", "sel": "m0->a1.h0<v>", "runs": "ab12,cd34"}
    values, problems = read_url(url, FIELDS)
    assert problems == []
    assert values == {
        "method": "eap",
        "pairs": 16,
        "step": 0.5,
        "signed": True,
        "sel": "m0->a1.h0<v>",
        "runs": ("ab12", "cd34"),
    }
    assert write_url(values, FIELDS) == url


def test_defaults_are_not_written() -> None:
    values = {"method": "eap-gp", "pairs": 64, "signed": False, "sel": "", "runs": (), "step": 1.0}
    assert write_url(values, FIELDS) == {}
    assert write_url({}, FIELDS) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "eapgp"}, "method = 'eapgp': expected one of eap, eap-ig, eap-gp (did you mean 'eap-gp'?)"),
        ({"pairs": "many"}, "pairs = 'many': expected a whole number from 1 to 5,000. Used 64 instead."),
        ({"pairs": "0"}, "pairs = '0': expected a whole number from 1 to 5,000. Used 64 instead."),
        ({"pairs": "5001"}, "Used 64 instead"),
        ({"step": "nan"}, "step = 'nan': expected a number from 0 to 10. Used 1 instead."),
        ({"signed": "yes"}, "signed = 'yes': expected 0 or 1"),
        ({"sel": "<script>x y"}, "expected the name of a node or edge. Used the default instead."),
        ({"runs": "a,b,c"}, "runs = 'a,b,c': expected 1 to 2 names joined by commas"),
        ({"methd": "eap"}, "a parameter 'methd' that this page does not know; did you mean 'method'? It was ignored."),
    ],
)
def test_what_does_not_fit_is_named_and_not_taken(given: dict[str, str], said: str) -> None:
    values, problems = read_url(given, FIELDS)
    assert values == {}
    assert len(problems) == 1 and said in problems[0]


def test_one_bad_parameter_leaves_the_others_alone() -> None:
    values, problems = read_url({"method": "eap", "pairs": "x"}, FIELDS)
    assert values == {"method": "eap"} and len(problems) == 1


def test_an_old_link_holds() -> None:
    fields = (choice("tab", "edges", ("edges", "map"), "h", earlier={"spread": "map"}),)
    values, problems = read_url({"tab": "spread"}, fields)
    assert (values, problems) == ({"tab": "map"}, []) and write_url(values, fields) == {"tab": "map"}


def test_a_long_value_is_cut_in_the_message() -> None:
    _, problems = read_url({"method": "x" * 5000}, FIELDS)
    assert len(problems[0]) < 250


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("demo", ""),
        ("gpt2", ""),
        ("openai-community/gpt2", ""),
        ("someone/some-model.v2", ""),
        ("gpt2-smal", "did you mean 'gpt2-"),
        ("foo", "expected a model of the list"),
        ("a/b/c", "expected a model of the list"),
        ("owner/na me", "expected a model of the list"),
        ("/no/such/folder", "expected a folder in Hugging Face layout"),
    ],
)
def test_a_model_name_of_a_link_that_cannot_be_one_is_told(name: str, problem: str) -> None:
    from eapgp.ui.sidebar.settings import FIELDS, model_problem

    assert (problem in model_problem(name)) if problem else model_problem(name) == ""
    values, problems = read_url({"model": name}, FIELDS)
    if problem and not name.startswith("/"):  # the runs of a folder that is gone can still be shown
        assert values == {} and len(problems) == 1 and problem in problems[0] and "Used demo instead" in problems[0]
    else:
        assert values == {"model": name} and problems == []
