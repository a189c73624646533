"""Prompt pairs: what they are, reading and writing them, and turning them into token ids."""

from eapgp.prompts.align import align, display_tokens
from eapgp.prompts.encode import EncodedPairs, encode, fitting
from eapgp.prompts.files import parse_prompts, read_prompts, write_prompts
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet

__all__ = [
    "Answer",
    "EncodedPairs",
    "PromptPair",
    "PromptSet",
    "align",
    "display_tokens",
    "encode",
    "fitting",
    "parse_prompts",
    "read_prompts",
    "write_prompts",
]
