"""Load a model by catalogue name, Hugging Face id or local folder.

Only safetensors weights are read, no remote code is trusted, and nothing is fetched unless the
name is a hub model that the user picked.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from eapgp.errors import EapgpError, ModelError, OptionError, UnknownNameError, WrongTypeError
from eapgp.graph import Graph
from eapgp.models import packaged
from eapgp.models.adapter import layer_of, norm_of
from eapgp.models.catalogue import BUNDLED, CATALOGUE, PACKAGED, demo_folder, find_model
from eapgp.models.checkpoint import check_weights
from eapgp.models.configs import configuration
from eapgp.models.gguf import SUFFIX, converted, is_gguf
from eapgp.models.model import Model
from eapgp.models.store import origin

# Random weights come from torch's one generator: two threads that draw from it at once would get other models.
_LOADING = threading.Lock()
DTYPES = ("float32", "bfloat16", "float16", "float64")
HUB = "https://huggingface.co"
log = logging.getLogger(__name__)


def pick_device(device: str) -> str:
    """`auto` becomes cuda, mps or cpu, whichever is there first.

    Errors: OptionError for a device that this machine lacks.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available:
        raise OptionError(f"unknown device {device!r}: expected auto, cpu, cuda, cuda:N or mps.")
    if not available[kind]:
        raise OptionError(f"device {device!r} is not available on this machine; use --device auto or cpu.")
    return device


def load_model(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "float32",
    random_weights: bool = False,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    prepend_bos: bool | None = None,
    device_map: str | dict[str, Any] | None = None,
) -> Model:
    """Load, freeze and check a model.

    name: a catalogue name (`demo`, `gpt2`, …), a Hugging Face id, a local folder with config.json and
    model.safetensors, or a local .gguf file (converted once, see `eapgp.models.gguf`). `random_weights` builds
    the architecture at its true size with seeded random weights and needs no network; its tokenizer is
    `tokenizer`, else the model's own if it can be read, else the bundled model's, whose words every task is
    made of (plain bytes for a local folder without one).

    Errors: ModelError (cannot be found, read, or its architecture is not supported),
    OptionError (device, dtype).
    """
    WrongTypeError.check("model", name, (str, Path), "give a name of the catalogue, owner/name or a folder")
    name = str(name)
    if dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    place = pick_device(device)
    source = _source(name, random_weights)
    with _LOADING, _quiet(), _own_draws():
        hf_model, notes = _weights(name, source, dtype, random_weights, seed, device_map)
        own_tokenizer = _tokenizer(source, tokenizer, random_weights)
        own_bos = own_tokenizer.bos_token_id  # read before booting, which invents one where there is none
        bridge = _boot(name, source, hf_model, own_tokenizer, place, device_map)
    try:
        return wrap_bridge(
            bridge,
            name=name,
            tokenizer=own_tokenizer,
            dtype=dtype,
            prepend_bos=_has_bos(own_bos, bridge) if prepend_bos is None else prepend_bos,
            random_seed=seed if random_weights else None,
            notes=notes,
        )
    except EapgpError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelError(
            f"model {name!r} ({type(hf_model).__name__}) is not supported: its parts are not where a decoder-only "
            f"transformer has them ({_first_line(error)}). Choose another model."
        ) from error


def _first_line(error: Exception) -> str:
    """What an error says first, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def wrap_bridge(
    bridge: Any,
    *,
    name: str,
    tokenizer: Any,
    dtype: str = "float32",
    prepend_bos: bool = True,
    random_seed: int | None = None,
    notes: tuple[str, ...] = (),
) -> Model:
    """Freeze a booted bridge, give every query head its own keys, look at its parts and check them."""
    from eapgp.models.capability import check_model
    from eapgp.models.grouped import ungroup

    ungroup(bridge)
    for module in bridge.modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    bridge.eval()
    cfg = bridge.cfg
    final = norm_of(bridge.ln_final, cfg)
    if final is None:
        raise ModelError(f"model {name!r} has no final norm; this architecture is not supported.")
    cap = getattr(cfg, "output_logits_soft_cap", None)
    model = Model(
        id=name,
        graph=Graph(int(cfg.n_layers), int(cfg.n_heads), bool(cfg.parallel_attn_mlp), int(cfg.d_model)),
        bridge=bridge,
        tokenizer=tokenizer,
        layers=tuple(layer_of(bridge, index) for index in range(int(cfg.n_layers))),
        final_norm=final,
        device=next(bridge.original_model.parameters()).device,
        dtype=dtype,
        prepend_bos=prepend_bos,
        soft_cap=float(cap) if cap and cap > 0 else None,
        random_seed=random_seed,
        notes=notes,
    )
    check_model(model)
    return model


def _source(name: str, random_weights: bool) -> str:
    """Folder or hub id behind a name."""
    entry = find_model(name)
    if entry is not None and entry.source == PACKAGED:
        return str(_packaged(name)) if not random_weights else name
    if entry is not None:
        return str(demo_folder()) if entry.source == BUNDLED else entry.source
    if name.lower().endswith(SUFFIX):
        return str(_of_gguf(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{name!r} holds no config.json: expected a folder in Hugging Face layout.")
        return str(folder.resolve())
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name
    names = [entry.name for entry in CATALOGUE]
    raise UnknownNameError.of("model", name, names, hint="A Hugging Face id (owner/name) or a local folder also works.")


def _packaged(name: str) -> Path:
    """Folder of a model that `eapgp models get` fetches. Errors: ModelError where that was not done yet."""
    if not packaged.is_here(name):
        size = packaged.PACKAGES[name].n_bytes / 1e6
        raise ModelError(
            f"model {name!r} is not on this machine yet: fetch it once with 'eapgp models get {name}' ({size:.0f} MB), "
            "or use random weights."
        )
    return packaged.folder_of(name)


def _of_gguf(name: str) -> Path:
    """Folder of a GGUF file's model, converted at the first time. Errors: ModelError."""
    if not is_gguf(name):
        raise ModelError(f"model {name!r}: expected a GGUF file, there is none; check the path.")
    return converted(name)


def _own_draws() -> contextlib.AbstractContextManager[None]:
    """Lets the caller's random numbers go on afterwards as if nothing had been drawn."""
    import torch

    return torch.random.fork_rng(devices=[])


def _weights(
    name: str, source: str, dtype: str, random_weights: bool, seed: int, device_map: str | dict[str, Any] | None
) -> tuple[Any, tuple[str, ...]]:
    """The Transformers model, and remarks on its checkpoint."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    if random_weights:
        entry = find_model(name)
        config = (
            AutoConfig.from_pretrained(source)
            if Path(source).is_dir()
            else configuration(entry.name if entry else name)
        )
        config._attn_implementation = "eager"
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval(), ()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=getattr(torch, dtype),
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            device_map=device_map,
            local_files_only=_is_offline(),
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise _load_error(name, source, error) from error
    told = origin(source).get("weights")
    notes = (f"The model's weights were {told}; those of the original differ.",) if told else ()
    return model.eval(), (*notes, *check_weights(name, model, report))


def _is_offline() -> bool:
    """Whether the hub's name does not resolve, so that only the local cache is left.

    The hub's own library would try again for half a minute per file, and report every try.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return False  # the proxy resolves names
    host = urlparse(os.environ.get("HF_ENDPOINT", HUB)).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return True
    return False


def _load_error(name: str, source: str, error: Exception) -> ModelError:
    first = _first_line(error)
    if Path(source).is_dir():
        return ModelError(
            f"model folder {name!r} cannot be read: expected config.json and model.safetensors of a causal "
            f"language model; got: {first}"
        )
    return ModelError(
        f"model {name!r} could not be fetched from the hub and is not in the local cache: {first} "
        "Check the name and the network, give a local folder, or use random weights."
    )


def _tokenizer(source: str, name: str | Path | None, random_weights: bool) -> Any:
    from transformers import AutoTokenizer

    place = str(name) if name is not None else source
    folder = Path(place)
    if (folder / "merges.txt").is_file() and not (folder / "tokenizer_config.json").is_file():
        return _byte_pair_tokenizer(folder)
    try:
        return AutoTokenizer.from_pretrained(
            place, trust_remote_code=False, local_files_only=random_weights or _is_offline()
        )
    except Exception as error:
        if random_weights and name is None:
            return byte_tokenizer() if folder.is_dir() else AutoTokenizer.from_pretrained(str(demo_folder()))
        first = _first_line(error)
        raise ModelError(f"the tokenizer of {place!r} cannot be read: {first}") from error


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


def _boot(
    name: str, source: str, hf_model: Any, tokenizer: Any, device: str, device_map: str | dict[str, Any] | None
) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    entry = find_model(name)
    key = source if Path(source).is_dir() or entry is None else entry.source
    try:
        where = {} if device_map is not None else {"device": device}
        return TransformerBridge.boot_transformers(key, hf_model=hf_model, tokenizer=tokenizer, **where)
    except EapgpError:
        raise
    except Exception as error:
        kind = type(hf_model).__name__
        first = _first_line(error)
        raise ModelError(f"model {name!r} ({kind}) is not supported by TransformerLens' bridge: {first}") from error


def _has_bos(bos_id: int | None, bridge: Any) -> bool:
    """Prompts start with BOS where the tokenizer has one of its own inside the vocabulary."""
    if not getattr(bridge.cfg, "default_prepend_bos", True) or bos_id is None:
        return False
    return bos_id < bridge.unembed.original_component.weight.shape[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own messages off standard output; they go to the log."""
    text = io.StringIO()
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        with contextlib.redirect_stdout(text):
            yield
    finally:
        if before is None:
            os.environ.pop("TOKENIZERS_PARALLELISM")
        if text.getvalue().strip():
            log.debug("%s", text.getvalue().strip())
