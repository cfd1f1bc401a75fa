"""Tiny random models, with tokenizers trained here, in folders such as a hub would serve.

Weights are drawn ten times wider than usual: attention is then far from uniform, and what holds is
told from what holds by accident.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import ModuleList
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from mentionprobe import Backbone, Document, load_backbone, load_corpus

VOCABULARY = 600
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
ARCHITECTURES: dict[str, tuple[str, PreTrainedConfig]] = {
    "llama": ("byte-bpe", LlamaConfig(**_SIZES, num_key_value_heads=2)),
    "phi3": ("sentencepiece-bpe", Phi3Config(**_SIZES, num_key_value_heads=2, pad_token_id=0)),
    "gpt-neox": ("byte-bpe", GPTNeoXConfig(**_SIZES)),
    "gpt2": ("byte-bpe", GPT2Config(**_SIZES)),
    "bert": ("wordpiece", BertConfig(**_SIZES)),
    "roberta": ("byte-bpe", RobertaConfig(**_SIZES)),
}
"""The tokenizer's kind and the config of each tiny model."""

ENCODERS = ("bert", "roberta")

_METASPACE = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def _texts() -> list[str]:
    return [document.text for document in load_corpus("demo", split="train")]


def byte_bpe() -> PreTrainedTokenizerFast:
    """As GPT-2, Pythia, Llama 3 and RoBERTa have it: on bytes, spaces part of the word after."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "<pad>", "</s>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    special = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>"}
    return _with_special_tokens(tokenizer, special)


def sentencepiece_bpe() -> PreTrainedTokenizerFast:
    """As Llama 2, Mistral and Phi-3 have it: spaces as ▁, one before the text, unknown as bytes."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = _METASPACE
    trainer = trainers.BpeTrainer(vocab_size=200, limit_alphabet=60, show_progress=False)
    trained.train_from_iterator(_texts(), trainer)
    model = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *BYTES, *model["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)},
            [tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = _METASPACE
    return _with_special_tokens(tokenizer, {"unk": "<unk>", "bos": "<s>", "eos": "</s>"})


def sentencepiece_unigram() -> PreTrainedTokenizerFast:
    """As XLM-R and T5 have it, with the byte fallback of newer ones."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(_texts(), trainer)
    pieces = json.loads(trained.to_str())["model"]["vocab"]
    special = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    vocabulary = [*special, *((byte, -20.0) for byte in BYTES), *map(tuple, pieces[1:])]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return _with_special_tokens(tokenizer, {"unk": "<unk>", "bos": "<s>", "eos": "</s>"})


def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT has it: lower case, no accents, words apart from punctuation."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=list(special.values()), show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return _with_special_tokens(tokenizer, special)


def _with_special_tokens(tokenizer: Tokenizer, special: dict[str, str]) -> PreTrainedTokenizerFast:
    keywords = {f"{role}_token": token for role, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **keywords)


@cache
def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """One of `TOKENIZERS`, trained once."""
    return TOKENIZERS[kind]()


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-bpe": byte_bpe,
    "sentencepiece-bpe": sentencepiece_bpe,
    "sentencepiece-unigram": sentencepiece_unigram,
    "wordpiece": wordpiece,
}


@pytest.fixture(scope="session", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """Each kind of tokenizer in turn."""
    return make_tokenizer(request.param)


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[[str], PreTrainedTokenizerFast]:
    """tokenizer_of("byte-bpe"): the tokenizer of that kind."""
    return make_tokenizer


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """The tokenizer of the kind a test names."""
    return make_tokenizer(request.param)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_folder("llama"): the folder of a tiny model of `ARCHITECTURES`."""

    @cache
    def write(architecture: str) -> Path:
        kind, config = ARCHITECTURES[architecture]
        folder = tmp_path_factory.mktemp("models") / f"tiny-{architecture}"
        auto = AutoModelForMaskedLM if architecture in ENCODERS else AutoModelForCausalLM
        with torch.random.fork_rng():
            torch.manual_seed(0)
            auto.from_config(config).save_pretrained(folder)
        make_tokenizer(kind).save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], Backbone]:
    """tiny("llama"): the loaded backbone of a tiny model, to be left as it is."""
    return cache(lambda architecture: load_backbone(tiny_folder(architecture)))


@pytest.fixture(scope="session", params=ARCHITECTURES)
def each_tiny(request: pytest.FixtureRequest, tiny: Callable[[str], Backbone]) -> Backbone:
    """The tiny backbone of each architecture in turn."""
    if request.param == "roberta" and version("transformer-lens") < "4":
        pytest.skip("TransformerLens 3.9 has no Bridge for RoBERTa")
    return tiny(request.param)


@pytest.fixture(scope="session")
def encode() -> Callable[..., tuple[Tensor, Tensor]]:
    """encode(backbone, *texts): ids with special tokens, padded on the right, and their mask."""

    def make_batch(backbone: Backbone, *texts: str) -> tuple[Tensor, Tensor]:
        documents = backbone.tokenize([Document(text, text) for text in texts])
        rows = [torch.tensor([*backbone.prefix, *d.ids, *backbone.suffix]) for d in documents]
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return pad_sequence(rows, batch_first=True, padding_value=7), mask

    return make_batch


class Plain(NamedTuple):
    """What Hugging Face alone gives for a batch."""

    states: list[Tensor]  # [layer + 1] of [batch, pos, d_model]; the embedding first
    patterns: list[Tensor]  # [layer] of [batch, head, pos, pos]


@pytest.fixture(scope="session")
def hugging_face() -> Callable[[Backbone], Callable[[Tensor, Tensor], Plain]]:
    """hugging_face(backbone)(ids, mask): the same checkpoint, loaded and run without hooks."""

    @cache
    def load(backbone: Backbone) -> Callable[[Tensor, Tensor], Plain]:
        auto = AutoModelForCausalLM if backbone.contract.causal else AutoModelForMaskedLM
        folder = backbone.tokenizer.name_or_path
        model = auto.from_pretrained(folder, attn_implementation="eager").eval()
        blocks = next(module for module in model.modules() if isinstance(module, ModuleList))

        def run(ids: Tensor, mask: Tensor) -> Plain:
            # HF's last hidden state has been through the final norm; the last block's output not.
            last: list[Tensor] = []
            handle = blocks[-1].register_forward_hook(lambda *call: last.append(call[-1]))
            with torch.inference_mode(), handle:
                asked = {"output_hidden_states": True, "output_attentions": True}
                out = model(ids, attention_mask=mask, **asked)
            final = last[0][0] if isinstance(last[0], tuple) else last[0]
            return Plain([*out.hidden_states[:-1], final], list(out.attentions))

        return run

    return load
