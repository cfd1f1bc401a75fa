"""Tiny random models with a tokenizer of whole words, and plain Hugging Face to compare with."""

import importlib
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from mentionprobe import Backbone, Corpus, Document, Mention, load_backbone, load_corpus

SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}

# Wide weights: attention is far from uniform, so that a wrong entry is not nearly right.
SIZES = {
    "vocab_size": 700,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
CONFIGS = {"decoder": LlamaConfig(**SIZES, num_key_value_heads=2), "encoder": BertConfig(**SIZES)}


class Pass(NamedTuple):
    """One batch that went through a backbone."""

    n_windows: int
    hooks: tuple[str, ...]


class Reference(NamedTuple):
    """What plain Hugging Face gives for one text, special tokens left in."""

    hidden: Tensor  # [layer + 1, pos, d_model], before the final norm
    patterns: Tensor  # [layer, head, pos, pos]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """tiny_folder("decoder", scale=1.0): a model folder, the embedding multiplied by `scale`."""
    words = Tokenizer(models.WordLevel(unk_token=SPECIAL["unk_token"]))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=SIZES["vocab_size"], special_tokens=list(SPECIAL.values()), show_progress=False
    )
    words.train_from_iterator([d.text for d in load_corpus("demo", split="train")], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL)

    def write(kind: str, *, scale: float = 1.0) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"tiny-{kind}"
        auto = AutoModelForCausalLM if kind == "decoder" else AutoModelForMaskedLM
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = auto.from_config(CONFIGS[kind])
        model.get_input_embeddings().weight.data *= scale
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def decoder(tiny_folder: Callable[..., Path]) -> Backbone:
    """A tiny Llama: 3 layers, 4 heads of 4 dimensions, 2 key heads; scores come from their hook."""
    return load_backbone(tiny_folder("decoder"))


@pytest.fixture(scope="session")
def encoder(tiny_folder: Callable[..., Path]) -> Backbone:
    """A tiny BERT: 3 layers, 4 heads of 4 dimensions; scores are rebuilt from q and k."""
    return load_backbone(tiny_folder("encoder"))


@pytest.fixture(params=["decoder", "encoder"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Each of the tiny models."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def texts() -> Corpus:
    """14 sentences of 6 to 31 words and punctuation marks."""
    return Corpus("sentences", None, load_corpus("demo", split="dev").documents[:14])


@pytest.fixture(scope="session")
def long_text() -> Document:
    """One text of 289 words and punctuation marks, with its mentions."""
    return join(load_corpus("demo", split="dev").documents[:13], id="long")


def join(documents: Iterable[Document], *, id: str) -> Document:
    """One document out of several, a space between them."""
    text, mentions = "", []
    for document in documents:
        at = len(text)
        mentions += [Mention(at + m.start, at + m.end, m.label) for m in document.mentions]
        text += document.text + " "
    return Document(id, text.rstrip(), tuple(mentions))


@pytest.fixture
def shard_tokens(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """shard_tokens(50): shards are full once they hold 50 tokens."""
    module = importlib.import_module("mentionprobe.activations.extract")
    return lambda n_tokens: monkeypatch.setattr(module, "SHARD_TOKENS", n_tokens)


@pytest.fixture
def small_shards(shard_tokens: Callable[[int], None]) -> None:
    """`texts` fills five shards."""
    shard_tokens(50)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backbone, int], None]:
    """narrow(backbone, 100): give it a context of 100 text tokens until the test ends."""

    def shrink(backbone: Backbone, window: int) -> None:
        special = len(backbone.prefix) + len(backbone.suffix)
        monkeypatch.setattr(backbone.model.cfg, "n_ctx", window + special)

    return shrink


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """Every batch that goes through any backbone from here on."""
    seen: list[Pass] = []
    run = Backbone.run

    def watched(self: Backbone, ids: Tensor, mask: Tensor, hooks: Mapping) -> dict:
        seen.append(Pass(len(ids), tuple(hooks)))
        return run(self, ids, mask, hooks)

    monkeypatch.setattr(Backbone, "run", watched)
    return seen


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, from INFO up."""
    caplog.set_level(logging.INFO, logger="mentionprobe")
    return caplog


@pytest.fixture(scope="session")
def hugging_face() -> Callable[[Backbone, Iterable[int]], Reference]:
    """hugging_face(backbone, token ids): the same weights in plain transformers, one text alone."""

    @lru_cache(maxsize=2)  # the two tiny ones stay, a real one does not
    def load(folder: str, causal: bool) -> PreTrainedModel:
        auto = AutoModelForCausalLM if causal else AutoModelForMaskedLM
        return auto.from_pretrained(folder, attn_implementation="eager").eval()

    def run(backbone: Backbone, ids: Iterable[int]) -> Reference:
        model = load(backbone.tokenizer.name_or_path, backbone.contract.causal)
        before_final_norm: list[Tensor] = []
        norm = getattr(model.base_model, "norm", None)
        if norm is not None:
            handle = norm.register_forward_pre_hook(lambda _, args: before_final_norm.append(*args))
        whole = torch.tensor([[*backbone.prefix, *ids, *backbone.suffix]])
        with torch.inference_mode():
            out = model(whole, output_hidden_states=True, output_attentions=True)
        hidden = list(out.hidden_states)
        if norm is not None:
            handle.remove()
            hidden[-1] = before_final_norm[0]
        return Reference(torch.cat(hidden), torch.cat(out.attentions))

    return run


@pytest.fixture(scope="session")
def assert_close() -> Callable[[Tensor, Tensor], None]:
    """Each token's vector is right within float16's rounding, relative to its norm."""

    def check(found: Tensor, expected: Tensor) -> None:
        assert found.shape == expected.shape
        off = (found.float() - expected).norm(dim=-1) / expected.norm(dim=-1).clamp(min=1e-6)
        assert off.max() < 1e-3

    return check
