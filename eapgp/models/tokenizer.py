"""Read a model's tokenizer from its folder.

Transformers makes an empty tokenizer where the vocabulary is missing, and some files make the tokenizer's library
panic, which Python sees as no usual error and which writes a backtrace past it. Both end in a ModelError here.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eapgp.errors import ModelError, is_panic

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "merges.txt", "vocab.txt", "tekken.json")
"""A folder that holds none of these has no tokenizer."""

PROBE = "When Zoë and 中 went, 1732 + 4 = \n\tx"  # some files are read without complaint and panic on the first text
_STDERR = 2
_LOG = logging.getLogger(__name__)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder: in Hugging Face layout, or GPT-2's bare vocab.json and merges.txt.

    Errors: ModelError.
    """
    files = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not files & set(VOCABULARIES):
        raise ModelError(
            f"{str(folder)!r} holds no tokenizer: expected tokenizer.json, tokenizer.model or vocab.json with "
            "merges.txt. Copy those of the model that it was made from, or name its folder as the tokenizer."
        )
    try:
        with _backtraces_kept_back():
            tokenizer = _of_folder(folder, files)
            pieces = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    except BaseException as error:  # a panic is no Exception
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"the tokenizer of {str(folder)!r} cannot be read: {first[:300]}. Copy the model's tokenizer files anew."
        ) from (error if isinstance(error, Exception) else None)
    if not pieces:
        raise ModelError(
            f"the tokenizer of {str(folder)!r} gives no token for any text: its {len(tokenizer):,} entries "
            "hold no words. Copy the model's tokenizer files anew."
        )
    return tokenizer


def _of_folder(folder: Path, files: set[str]) -> Any:
    """The tokenizer that these files of a folder make."""
    if "merges.txt" in files and not files & {"tokenizer_config.json", "tokenizer.json"}:
        return _byte_pair_tokenizer(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)


@contextlib.contextmanager
def _backtraces_kept_back() -> Iterator[None]:
    """Keep what a panic writes to the process's standard error for the log; everything else goes on to it."""
    try:
        before = os.dup(_STDERR)
    except OSError:  # there is none
        yield
        return
    panicked = False
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        os.dup2(kept.fileno(), _STDERR)
        try:
            yield
        except BaseException as error:
            panicked = is_panic(error)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(before, _STDERR)
            os.close(before)
            kept.seek(0)
            text = kept.read()
            if panicked:
                _LOG.debug("%s", text.decode(errors="replace"))
            elif text:
                os.write(_STDERR, text)


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are single bytes, for random-weight models that have no other."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary[end] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _saved(PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end))


def _byte_pair_tokenizer(folder: Path) -> Any:
    """GPT-2's tokenizer from bare vocab.json and merges.txt."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    pairs = ByteLevelBPETokenizer.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return _saved(PreTrainedTokenizerFast(tokenizer_object=pairs._tokenizer, bos_token=end, eos_token=end))


def _saved(tokenizer: Any) -> Any:
    """The tokenizer as read back from a folder: the bridge reads it from there a second time."""
    from transformers import AutoTokenizer

    folder = tempfile.mkdtemp(prefix="eapgp-tokenizer-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)
