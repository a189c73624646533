"""Prompt pairs: what they are, reading and writing them, and turning them into token ids."""

from eapgp.prompts.align import align, display_tokens
from eapgp.prompts.encode import EncodedPairs, Fit, Problem, encode, fit
from eapgp.prompts.files import parse_prompts, read_prompts, write_prompts
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet
from eapgp.prompts.prompting import Prompting, PromptReader, TokenizerOnly

__all__ = [
    "Answer",
    "EncodedPairs",
    "Fit",
    "Problem",
    "PromptPair",
    "PromptReader",
    "PromptSet",
    "Prompting",
    "TokenizerOnly",
    "align",
    "display_tokens",
    "encode",
    "fit",
    "parse_prompts",
    "read_prompts",
    "write_prompts",
]
