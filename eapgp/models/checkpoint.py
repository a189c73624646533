"""A model's folder before anything is built of it: its configuration, its weights, its tokenizer, where it is from.

- config.json is what other programs and people write: a size may be text, a list, negative, or so large that no
  machine could hold it.
- Only safetensors are read. Transformers fills weights that are missing with random numbers and drops what is too
  many; both would change every score without a word.
- Transformers makes an empty tokenizer where the vocabulary is missing, and some files make the tokenizer's library
  panic, which Python sees as no usual error and which writes a backtrace past it. Both end in a ModelError here.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import math
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from eapgp.errors import ModelError, is_panic
from eapgp.models.tokenizer_file import check_tokenizer_file
from eapgp.places import bundled

# ---- configuration -------------------------------------------------------------------------------

CONFIG_FILE = "config.json"
MOST_LAYERS = 1000
"""Models of more layers are taken for a slip; no checkpoint has more than a few hundred."""

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
)
"""By Transformers' names, which its configurations translate from their own."""

OWN_NAMES = ("n_layer", "n_layers", "num_layers", "n_head", "n_heads", "num_heads", "n_embd", "d_model", "n_positions")
"""What single architectures call them in config.json."""

TOO_MANY, ALWAYS_FINE = 4, 50_000_000
"""A model that asks for so many times the weights of its checkpoint, and more than this, is refused unallocated."""


def read_config(name: str, folder: Path) -> Any:
    """Transformers' configuration of a model folder, every size of it a number that can be.

    Errors: ModelError that names the entry.
    """
    from transformers import AutoConfig

    try:
        values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, got {type(values).__name__}")
        _check_sizes(name, {key: values[key] for key in (*SIZES, *OWN_NAMES) if key in values})
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except ModelError:
        raise
    except Exception as error:  # whatever a configuration's own checks raise
        raise ModelError(f"model folder {name!r} cannot be read: {CONFIG_FILE}: {_first_line(error)}") from error
    text = config.get_text_config()
    sizes = {key: getattr(text, key, None) for key in SIZES}
    _check_sizes(name, sizes)
    _check_heads(name, sizes)
    return config


def _check_sizes(name: str, sizes: Mapping[str, Any]) -> None:
    """Errors: ModelError for one that is neither absent nor a number that can be."""
    for key, value in sizes.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ModelError(
                f"model folder {name!r} cannot be read: {CONFIG_FILE}: {key}: expected a whole number of at least 1, "
                f"got {value!r:.60}; correct it."
            )


def _first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check_heads(name: str, sizes: Mapping[str, int | None]) -> None:
    width, heads, groups = sizes["hidden_size"], sizes["num_attention_heads"], sizes["num_key_value_heads"]
    problem = ""
    if (sizes["num_hidden_layers"] or 0) > MOST_LAYERS:
        problem = f"layers: expected at most {MOST_LAYERS:,}, got {sizes['num_hidden_layers']:,}"
    elif width and heads and sizes["head_dim"] is None and width % heads:
        problem = f"heads: expected a number that divides the width {width:,}, got {heads:,}"
    elif heads and groups and heads % groups:
        problem = f"key-value heads: expected a number that divides the {heads:,} heads, got {groups:,}"
    if problem:
        raise ModelError(f"model folder {name!r} cannot be read: {CONFIG_FILE}: {problem}; correct it.")


def check_room(name: str, config: Any, bytes_each: int, held: Mapping[str, tuple[int, ...]] | None) -> None:
    """Raise where the model that a configuration describes is another than the checkpoint's, or too large to hold.

    held: shapes of the checkpoint's weights; None for random weights. bytes_each: of one weight. Nothing is allocated.
    Errors: ModelError.
    """
    n_weights, n_bytes = _asked(name, config, bytes_each)
    if held is not None and getattr(config, "quantization_config", None) is None:
        n_held = sum(math.prod(shape) for shape in held.values())
        if n_weights > max(TOO_MANY * n_held, ALWAYS_FINE):
            raise ModelError(
                f"model {name!r}: config.json describes a model of {n_weights / 1e6:,.0f} million weights, and its "
                f"checkpoint holds {n_held / 1e6:,.1f} million; correct its sizes."
            )
    free = psutil.virtual_memory().available
    if n_bytes > free:
        raise ModelError(
            f"model {name!r} needs {n_bytes / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free: choose a "
            "smaller model, a narrower --dtype, or correct the sizes in config.json."
        )


def _asked(name: str, config: Any, bytes_each: int) -> tuple[int, int]:
    """Number of weights, and bytes of weights and constants, of the model that a configuration describes."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # a configuration can be wrong in as many ways as there are models
        raise ModelError(
            f"model {name!r} cannot be read: config.json describes no language model that Transformers can build: "
            f"{_first_line(error)}"
        ) from error
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    constants = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    return n_weights, n_weights * bytes_each + constants


# ---- weights -------------------------------------------------------------------------------------

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
PICKLED_FILE, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ADAPTER_FILE = "adapter_config.json"
WEIGHT_FILES = (WEIGHTS_FILE, INDEX_FILE, PICKLED_FILE, PICKLED_INDEX, ADAPTER_FILE)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

LISTED = 5
"""So many weights are named; of more only the number is said."""

_MASKS = re.compile(r"(attn|attention)\.(masked_)?bias$|rotary_emb\.inv_freq$")
"""Attention masks and rotary frequencies that older checkpoints hold: constants, not weights."""


def refuse_adapter(name: str, files: Collection[str]) -> None:
    """Raise where a model's files are those of an adapter. Errors: ModelError that says how to merge it."""
    if ADAPTER_FILE in files:
        merge = f"M.from_pretrained({name!r}).merge_and_unload().save_pretrained('merged')"
        raise ModelError(
            f"model {name!r} is an adapter ({ADAPTER_FILE}): expected a whole model. Merge it into its base once: "
            f'python -c "from peft import AutoPeftModelForCausalLM as M; {merge}", copy the base model\'s tokenizer '
            "files to the folder merged, and give that."
        )


def weight_file(name: str, files: Collection[str], *, pickled: bool = False) -> str:
    """Which of a model's files its weights are in, or the index that names them. pickled: those are taken too.

    Errors: ModelError that says what to do with what is there instead.
    """
    refuse_adapter(name, files)
    for file in (WEIGHTS_FILE, INDEX_FILE, *((PICKLED_FILE, PICKLED_INDEX) if pickled else ())):
        if file in files:
            return file
    others = sorted(file for file in files if file.endswith(_PICKLED))
    if others:
        raise ModelError(
            f"model {name!r} cannot be read: expected {WEIGHTS_FILE}, got pickled weights only ({others[0]}), which "
            f"could run code. {_way_out(name, files)}"
        )
    raise ModelError(
        f"model {name!r} cannot be read: expected config.json and {WEIGHTS_FILE} (or {INDEX_FILE} and its files), got "
        "no weights; save the model with save_pretrained, or choose another."
    )


def _way_out(name: str, files: Collection[str]) -> str:
    if PICKLED_FILE in files or PICKLED_INDEX in files:
        return f"Convert them once, reading weights and nothing else: eapgp models convert {shlex.quote(name)}"
    return "Save the model anew with save_pretrained in the program that made it."


def shards(index: Path) -> tuple[str, ...]:
    """Files that the index of a checkpoint in several files names. Errors: ModelError."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if files and all(isinstance(file, str) and Path(file).name == file for file in files):
            return tuple(files)
    raise ModelError(
        f"{index}: expected a weight_map from weights to files of the same folder; fetch or save the model again."
    )


def held_weights(name: str, folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every weight that a folder's checkpoint holds, from the headers of its files.

    Errors: ModelError for a file that is missing, cut off or no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    file = weight_file(name, {path.name for path in folder.iterdir()})
    held: dict[str, tuple[int, ...]] = {}
    for part in (file,) if file == WEIGHTS_FILE else shards(folder / file):
        try:
            with safe_open(folder / part, framework="pt") as weights:
                held |= {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise ModelError(
                f"model folder {name!r} cannot be read: expected config.json and {file} of a causal language model; "
                f"got: {part} missing, cut off or no safetensors file ({reason}). Fetch or save it again."
            ) from error
    return held


def check_weights(name: str, model: Any, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks on weights that belong to no part of the model, such as another head's.

    report: Transformers' loading info; tied weights are not among its missing keys.
    Errors: ModelError where weights are missing, have another shape, or belong to a part of the model that
    the configuration leaves out (a layer more, a bias more).
    """
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"model {name!r}: {_listed(missing)} missing from its weights; computing with random ones in "
            "their place would give numbers that mean nothing. Save the whole model, or correct config.json."
        )
    others = sorted({str(entry[0] if isinstance(entry, tuple) else entry) for entry in report["mismatched_keys"]})
    if others:
        raise ModelError(f"model {name!r}: {_listed(others)} of another shape than config.json asks for; correct it.")
    surplus = [key for key in sorted(report["unexpected_keys"]) if not _MASKS.search(key)]
    parts = {part for part, _ in model.named_modules()} - {"", model.base_model_prefix}
    inside = [key for key in surplus if _is_inside(key, parts, model.base_model_prefix)]
    if inside:
        raise ModelError(
            f"model {name!r}: {_listed(inside)} in its weights but not in the model that config.json "
            "describes, so another model would be computed. Correct config.json (layers, biases, model_type)."
        )
    remarks = [f"model {name!r}: {_listed(surplus)} in its weights but no part of a language model; left out."]
    return (*(remarks if surplus else []), *_untied(name, model))


def _untied(name: str, model: Any) -> Iterator[str]:
    """A remark where config.json ties the unembedding to the embedding, but the file holds another."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if tied and head is not None and head.weight.data_ptr() != embedding.weight.data_ptr():
        yield (
            f"model {name!r}: config.json says that embedding and unembedding are one (tie_word_embeddings), but the "
            "weights hold an unembedding of their own; that one is used. Set tie_word_embeddings to what is true."
        )


def _is_inside(key: str, parts: set[str], base: str) -> bool:
    """Whether a weight's name lies in one of the model's parts, with or without the base model's prefix."""
    steps = key.split(".")
    owners = {".".join(steps[:end]) for end in range(1, len(steps))}
    return bool(owners & parts or {f"{base}.{owner}" for owner in owners} & parts)


def _listed(keys: Iterable[str]) -> str:
    """`a is`, `a, b are`, `a, b, c, d, e and 7 more weights are`."""
    names = list(keys)
    more = f" and {len(names) - LISTED:,} more weights" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more} {'is' if len(names) == 1 else 'are'}"


# ---- tokenizer -----------------------------------------------------------------------------------

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
        if "tokenizer.json" in files and folder != bundled("assets/demo"):
            check_tokenizer_file(folder / "tokenizer.json")
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


# ---- where it is from ----------------------------------------------------------------------------

ORIGIN_FILE = "origin.json"
_NEEDED = (CONFIG_FILE, WEIGHTS_FILE, ORIGIN_FILE)


def is_whole(folder: Path) -> bool:
    """Whether a model was kept here whole."""
    return all((folder / name).is_file() for name in _NEEDED)


def origin(folder: str | Path) -> dict[str, Any]:
    """What is known of where a kept model's weights are from; empty for any other folder."""
    with contextlib.suppress(OSError, ValueError):
        stored = json.loads((Path(folder) / ORIGIN_FILE).read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return stored
    return {}


def commit_of(folder: Path | None) -> str | None:
    """Commit that a snapshot's folder holds; None for any other folder."""
    is_snapshot = folder is not None and folder.parent.name == "snapshots"
    return folder.name if folder is not None and is_snapshot else None
