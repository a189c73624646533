"""Models of strangers: folders, tokenizers and GGUF files, as `load_model` and `read_tokenizer` take them."""

from __future__ import annotations

import json
import random
import shutil
import struct
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from eapgp.models.catalogue import demo_folder
from eapgp.models.checkpoint import PROBE, VOCABULARIES, byte_tokenizer, read_tokenizer
from eapgp.models.gguf import converted
from eapgp.models.load import load_model
from eapgp.tasks import posable
from tests.gguf_made import tiny_llama, write_gguf
from tools.torture.judge import ACCEPTED, REFUSED, Box, Case, Entrance
from tools.torture.strange import TEXTS, VALUES, bend, garble, json_of, nested, pickled

Files = dict[str, bytes]
CODE = "from pathlib import Path\nPath({!r}).touch()\n"
"""Python beside a model that its configuration asks to be run."""


def files_of(folder: Path) -> Files:
    """A folder's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


class _Folder(Entrance):
    """A folder of files, some of them bent."""

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.sound = self.make()
        self.strange = list(self.by_hand())

    @abstractmethod
    def make(self) -> list[Files]:
        """Sound folders."""

    @abstractmethod
    def by_hand(self) -> Iterator[tuple[str, Files, str]]:
        """What it is, its files, what must become of it."""

    @abstractmethod
    def bent(self, rng: random.Random) -> tuple[Files, str]:
        """A sound folder of which something was bent."""

    @abstractmethod
    def take(self, folder: Path) -> None:
        """Hand the folder in and check what is taken."""

    def case(self, index: int, rng: random.Random) -> Case:
        """Sound ones, those by hand, then bent ones."""
        if index < len(self.sound):
            files, kind, must = self.sound[index], "sound", ACCEPTED
        elif index - len(self.sound) < len(self.strange):
            kind, files, must = self.strange[index - len(self.sound)]
        else:
            files, kind = self.bent(rng)
            must = ""
        folder = self.box.work / "model"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return Case(kind, lambda: self.take(folder), must)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


class Folders(_Folder):
    """Model folders in Hugging Face layout."""

    name, title, count, quick = "folders", "model folders", 900, 0

    def make(self) -> list[Files]:
        """A tiny GPT-2 and a tiny Llama, whole and in two files."""
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        words = {name: data for name, data in files_of(demo_folder()).items() if name.startswith("tokenizer")}
        size = len(read_tokenizer(demo_folder()))
        config = GPT2Config(vocab_size=size, n_positions=32, n_embd=8, n_layer=1, n_head=2)
        models = [GPT2LMHeadModel(config), tiny_llama(heads=2, groups=1, layers=1)]
        folders = []
        for number, model in enumerate(models):
            for most in ("1GB", "8KB"):
                folder = self.box.work / f"{number}-{most}"
                model.save_pretrained(folder, max_shard_size=most)
                if number:
                    byte_tokenizer().save_pretrained(folder)
                folders.append(files_of(folder) | ({} if number else words))
        return folders

    def by_hand(self) -> Iterator[tuple[str, Files, str]]:
        """Code, pickles, headers of any size, and indices that lead elsewhere."""
        whole, canary = self.sound[0], self.box.canary
        config = json.loads(whole["config.json"])
        code = CODE.format(str(canary)).encode()
        auto = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer"), "evil.Evil")
        for kind in ({"auto_map": auto}, {"auto_map": auto, "model_type": "evil"}, {"model_type": "evil"}):
            yield (
                f"code of its own ({', '.join(kind)})",
                {**whole, "evil.py": code, "config.json": _json(config | kind)},
                "",
            )
        words = json.loads(whole["tokenizer_config.json"]) | {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
        yield "a tokenizer's code", {**whole, "evil.py": code, "tokenizer_config.json": _json(words)}, ""
        rest = {name: data for name, data in whole.items() if name != "model.safetensors"}
        for protocol in (0, 2, 4):
            yield (
                f"pickled weights, protocol {protocol}",
                {**rest, "pytorch_model.bin": pickled(canary, protocol)},
                REFUSED,
            )
            yield "a pickle named safetensors", {**rest, "model.safetensors": pickled(canary, protocol)}, REFUSED
        for length in (0, 1, 8, 2**31, 2**62, 2**64 - 1):
            data = struct.pack("<Q", length) + whole["model.safetensors"][8:]
            yield f"a header of {length} bytes", {**rest, "model.safetensors": data}, REFUSED
        yield "an empty file of weights", {**rest, "model.safetensors": b""}, REFUSED
        yield "no files", {}, REFUSED
        for target in (
            "../../guard/kept",
            "/etc/passwd",
            "absent.safetensors",
            "",
            "..",
            ".",
            "a\0b",
            "config.json",
            1,
            None,
        ):
            index = {"metadata": {}, "weight_map": {"transformer.wte.weight": target}}
            yield f"an index to {target!r}", {**rest, "model.safetensors.index.json": _json(index)}, REFUSED
        yield from self._configurations(whole, config)

    def _configurations(self, whole: Files, config: dict[str, Any]) -> Iterator[tuple[str, Files, str]]:
        for key, value in (
            ("vocab_size", 10**9),
            ("n_layer", 10**6),
            ("n_layer", 10**30),
            ("n_embd", 10**6),
            ("n_head", 0),
        ):
            yield f"{key} = {value}", {**whole, "config.json": _json(config | {key: value})}, REFUSED
        for field in (
            "adapter_config.json",
            "generation_config.json",
            "special_tokens_map.json",
            "chat_template.jinja",
        ):
            for text in ("{", "[]", "{{" * 9_000, "null", '{"a": ' * 9_000):
                yield f"{field} of {text[:9]!r}", {**whole, field: text.encode()}, ""
        for number, value in enumerate(VALUES):
            yield f"value {number} as config.json", {**whole, "config.json": _json(value)}, REFUSED

    def bent(self, rng: random.Random) -> tuple[Files, str]:
        """Configuration, header of the weights, index or any file as bytes."""
        files, how = dict(rng.choice(self.sound)), rng.random()
        if how < 0.55:
            names = [name for name in files if name.endswith(".json") and name != "tokenizer.json"]
            name = rng.choice([*names, "config.json", "config.json"])
            bent, kind = bend(json.loads(files[name]), rng)
            files[name] = json_of(bent, rng)
        elif how < 0.8:
            name = rng.choice([name for name in files if name.endswith(".safetensors")])
            files[name], kind = _bent_header(files[name], rng)
        else:
            name = rng.choice(list(files))
            files[name], kind = garble(files[name], rng)
        return files, f"{name}: {kind}"

    def take(self, folder: Path) -> None:
        """Load it and run it once."""
        model = load_model(str(folder))
        assert model.n_vocab > 0 and model.graph.n_layers > 0
        with torch.no_grad():
            logits = model.bridge(torch.zeros((1, 2), dtype=torch.long), return_type="logits")
        assert logits.shape[:2] == (1, 2)


def _bent_header(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A safetensors file whose header says something else."""
    (length,) = struct.unpack("<Q", data[:8])
    bent, kind = bend(json.loads(data[8 : 8 + length]), rng)
    header = json_of(bent, rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :], f"header: {kind}"


class Tokenizers(_Folder):
    """Tokenizers, of which some make their library panic."""

    name, title, count, quick = "tokenizers", "tokenizers", 1500, 10

    def make(self) -> list[Files]:
        """The bundled one, bytes, and one of every kind that the library has."""
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

        byte_tokenizer().save_pretrained(self.box.work / "bytes")
        demo = {name: data for name, data in files_of(demo_folder()).items() if name.startswith("tokenizer")}
        folders = [demo, files_of(self.box.work / "bytes")]
        vocab = {"[UNK]": 0, "a": 1, "b": 2, "ab": 3, "##b": 4, " ": 5, "W": 6, "h": 7, "e": 8, "n": 9}
        for model in (
            models.WordPiece(vocab, unk_token="[UNK]"),
            models.Unigram([(word, -float(number)) for word, number in vocab.items()], 0, False),
            models.BPE(vocab, [("a", "b")], unk_token="[UNK]", byte_fallback=True),
            models.WordLevel(vocab, unk_token="[UNK]"),
        ):
            tokenizer = Tokenizer(model)
            tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("x", "y")])
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
            tokenizer.post_processor = processors.TemplateProcessing("a $A b", None, [("a", 1), ("b", 2)])
            config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
            folders.append({"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": _json(config)})
        return folders

    def by_hand(self) -> Iterator[tuple[str, Files, str]]:
        """What made tokenizers' library panic, hang or abort elsewhere."""
        for number, sound in enumerate(self.sound):
            document = json.loads(sound["tokenizer.json"])
            for label, part in _panics():
                yield f"{label} ({number})", {**sound, "tokenizer.json": _json(document | part)}, ""
        sound = self.sound[2]
        config = json.loads(sound["tokenizer_config.json"])
        wrong: dict[str, tuple[Any, ...]] = {
            "tokenizer_class": ("Evil", "os.system", "", None, 1, "LlamaTokenizer", "GPT2Tokenizer", "BertTokenizer"),
            "chat_template": ("{{", "{% for x in range(10**9) %}{{x}}{% endfor %}", 1, {"a": 1}),
            "model_max_length": (-1, 0, 10**400, "x", None),
            "added_tokens_decoder": ({"-1": {}}, {"x": {"content": "y"}}, {str(2**40): {"content": "z"}}, [], None),
            "bos_token": (1, {"content": 1}, {"__type": "AddedToken"}, "\ud800", "x" * 99_999, None),
            "auto_map": ({"AutoTokenizer": ["evil.Evil", "evil.Evil"]},),
            "extra_special_tokens": ([], {"a": 1}, "x", ["a", "a"]),
            "clean_up_tokenization_spaces": ("x", None),
        }
        for key, values in wrong.items():
            for value in values:
                code = {"evil.py": CODE.format(str(self.box.canary)).encode()} if key == "auto_map" else {}
                data = json.dumps(config | {key: value}).encode()
                yield f"{key} = {value!r:.40}", {**sound, **code, "tokenizer_config.json": data}, ""
        for name in VOCABULARIES:
            for data in (b"", b"{}", b"\xff\xfe", b"a a\n", bytes(999), b"[" * 99_999):
                yield f"{name} of {data[:9]!r} alone", {name: data}, REFUSED
        for number, value in enumerate(VALUES):
            yield f"value {number} as tokenizer.json", {**sound, "tokenizer.json": _json(value)}, REFUSED

    def bent(self, rng: random.Random) -> tuple[Files, str]:
        """tokenizer.json or its configuration."""
        files = dict(rng.choice(self.sound[1:] if rng.random() < 0.8 else self.sound))
        name = rng.choice(("tokenizer.json", "tokenizer.json", "tokenizer.json", "tokenizer_config.json"))
        if rng.random() < 0.8:
            bent, kind = bend(json.loads(files[name]), rng)
            files[name] = json_of(bent, rng)
        else:
            files[name], kind = garble(files[name], rng)
        return files, f"{name}: {kind}"

    def take(self, folder: Path) -> None:
        """Read it, and ask it what the commands and pages ask."""
        tokenizer = read_tokenizer(folder)
        for text in (PROBE, "", " ", "a" * 200, "\U0001f9d1\u200d\U0001f680"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert all(isinstance(one, int) and one >= 0 for one in ids), f"ids {ids[:5]}"
        assert isinstance(posable("ioi", tokenizer), str)


def _panics() -> Iterator[tuple[str, dict[str, Any]]]:
    """Parts of tokenizer.json, each with a name."""
    for charsmap in ("", "AAAA", "/////25vIHRyaWU=", "A" * 400, "!", "/" * 4_000):
        yield f"charsmap {charsmap[:9]!r}", {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}
    for pattern in ("(", "(a+)+$", "[", "\\", "(?<a>", "", "a{99999}", "(?R)", "." * 999, "(((((a*)*)*)*)*)*b"):
        regex = {"pattern": {"Regex": pattern}, "content": "x"}
        yield f"regex {pattern[:9]!r}", {"normalizer": {"type": "Replace", **regex}}
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        yield f"split {pattern[:9]!r}", {"pre_tokenizer": split}
    for number in (0, -1, 2**31, 2**63, 2**64, 1.5, "x"):
        both = {"strategy": "LongestFirst", "direction": "Right", "max_length": number, "stride": number}
        yield f"truncation to {number}", {"truncation": both}
        yield f"stride over the length {number}", {"truncation": {**both, "max_length": 1, "stride": 5}}
        padding = {"strategy": {"Fixed": number}, "direction": "Right", "pad_to_multiple_of": number}
        padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "a"}
        if number != 2**31:  # a gigabyte per text is what it asks for
            yield f"padding to {number}", {"padding": padding}
        added = {"id": number, "content": "a", "special": True}
        added |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        yield f"an added token of id {number}", {"added_tokens": [added]}
    single = [{"SpecialToken": {"id": "absent", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": {}}
    yield "a template of absent tokens", {"post_processor": template}
    bert = {"type": "BertProcessing", "sep": ["x", 2**31], "cls": ["y", 2**31]}
    yield "Bert's processor", {"post_processor": bert}
    models: dict[str, dict[str, Any]] = {
        "unigram of nothing": {"type": "Unigram", "vocab": [], "unk_id": 0},
        "unigram, unknown elsewhere": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 99},
        "unigram of infinite scores": {"type": "Unigram", "vocab": [["a", -1e308], ["", 1e308]], "unk_id": 0},
        "BPE of merges of nothing": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]},
        "BPE of merges as texts": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a", "a b c", ""]},
        "BPE of one id": {"type": "BPE", "vocab": {"a": 0, "b": 0, "ab": 4_000_000_000}, "merges": [["a", "b"]]},
        "word pieces of no letters": {
            "type": "WordPiece",
            "vocab": {},
            "unk_token": "x",
            "max_input_chars_per_word": 0,
        },
        "word level without unknown": {"type": "WordLevel", "vocab": {}, "unk_token": "x"},
        "dropout of 2": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 2.0},
        "another": {"type": "Evil"},
    }
    for label, model in models.items():
        yield label, {"model": model}
    for depth in (100, 300):
        inner: dict[str, Any] = {"type": "Lowercase"}
        for _ in range(depth):
            inner = {"type": "Sequence", "normalizers": [inner]}
        yield f"{depth} normalizers within each other", {"normalizer": inner}
    yield "nested lists", {"decoder": nested(400)}
    for text in ("", "\u2581\u2581", "é", "ab"):
        yield (
            f"metaspace {text!r}",
            {"pre_tokenizer": {"type": "Metaspace", "replacement": text, "prepend_scheme": "always"}},
        )
        prepend = {"type": "Prepend", "prepend": text * 5_000}
        yield f"prepend of {len(text) * 5_000}", {"normalizer": {"type": "Sequence", "normalizers": [prepend] * 3}}
    yield "digits of any", {"pre_tokenizer": {"type": "Digits", "individual_digits": "x"}}
    yield "a fixed length of 0", {"pre_tokenizer": {"type": "FixedLength", "length": 0}}


class GgufFiles(Entrance):
    """GGUF files."""

    name, title, count, quick = "gguf", "GGUF files", 1200, 0

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        path = box.work / "m.gguf"
        write_gguf(path, tiny_llama(heads=2, groups=1, layers=1), "llama")
        self.sound = path.read_bytes()
        self.strange = list(self._strange())

    def _strange(self) -> Iterator[tuple[str, bytes, str]]:
        head = self.sound[:24]
        yield "empty", b"", REFUSED
        yield "another kind of file", b"PK\3\4" * 99, REFUSED
        for version in (0, 1, 4, 2**31):
            yield f"version {version}", self.sound[:4] + struct.pack("<I", version) + self.sound[8:], REFUSED
        yield "the other order of bytes", self.sound[:4] + struct.pack(">I", 3) + self.sound[8:], REFUSED
        for count in (2**20, 2**31, 2**62, 2**64 - 1):
            yield f"{count} tensors", head[:8] + struct.pack("<Q", count) + self.sound[16:], REFUSED
            yield f"{count} entries", head[:16] + struct.pack("<Q", count) + self.sound[24:], REFUSED
            yield f"a key of {count} bytes", head + struct.pack("<Q", count) + self.sound[32:], REFUSED
            header = head[:8] + struct.pack("<QQ", 0, 1)
            key = struct.pack("<Q", 1) + b"k"
            for kind in (4, 8, 9):
                value = struct.pack("<IIQ", 9, kind, count)
                yield f"an array of {count}, kind {kind}", header + key + value + bytes(99), REFUSED
        header, key = head[:8] + struct.pack("<QQ", 0, 1), struct.pack("<Q", 1) + b"k"
        yield "arrays of arrays", header + key + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50_000, REFUSED
        for cut in (3, 4, 8, 23, 24, 40, 200, len(self.sound) // 2, len(self.sound) - 1):
            yield f"cut after {cut}", self.sound[:cut], REFUSED
        for label, write in _gguf_headers():
            yield label, self._written(write), REFUSED

    def _written(self, write: Callable[[gguf.GGUFWriter], None]) -> bytes:
        path = self.box.work / "h.gguf"
        writer = gguf.GGUFWriter(str(path), "llama")
        write(writer)
        writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()

    def case(self, index: int, rng: random.Random) -> Case:
        """Those by hand; then the bytes of a sound file, of its header more than of its weights."""
        if index == 0:
            return Case("sound", lambda: self.take(self.sound), ACCEPTED)
        if index <= len(self.strange):
            kind, data, must = self.strange[index - 1]
            return Case(kind, lambda: self.take(data), must)
        split = self.sound.find(b"token_embd") if rng.random() < 0.85 else len(self.sound)
        garbled, kind = garble(self.sound[:split], rng)
        return Case(kind, lambda: self.take(garbled + self.sound[split:]))

    def take(self, data: bytes) -> None:
        """Convert it as the first load does; a folder that is kept is whole."""
        path = self.box.work / "m.gguf"
        path.write_bytes(data)
        folder = converted(path)
        assert folder.is_relative_to(self.box.inner / "models"), f"kept at {folder}"
        read_tokenizer(folder)
        shutil.rmtree(folder)


def _gguf_headers() -> Iterator[tuple[str, Callable[[gguf.GGUFWriter], None]]]:
    """Headers that say what no model can be."""
    for value in (0, 3, 2**31):
        yield f"alignment {value}", lambda writer, value=value: writer.add_uint32("general.alignment", value)  # type: ignore[misc]
    for text in TEXTS[:20]:
        if "\ud800" <= max(text, default="") <= "\udfff":
            continue
        yield f"architecture {text!a:.20}", lambda writer, text=text: writer.add_string("x.architecture", text)  # type: ignore[misc]
    for key in ("block_count", "embedding_length", "attention.head_count", "vocab_size", "context_length"):
        for value in (0, 2**31, 2**32 - 1):
            name = f"llama.{key}"
            yield f"{name} = {value}", lambda writer, n=name, v=value: writer.add_uint32(n, v)  # type: ignore[misc]
    yield "no words", lambda writer: writer.add_tokenizer_model("llama")
