"""Tiny random models with a tokenizer of whole words, and ways to look at them without ours."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from mentionprobe import Backbone, Corpus, Document, load_backbone, load_corpus
from mentionprobe.backbones import TokenizedDocument

SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
# Wide weights: attention is far from uniform, so that a wrong entry is not nearly right.
_SIZES = {
    "vocab_size": 700,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
CONFIGS = {"decoder": LlamaConfig(**_SIZES, num_key_value_heads=2), "encoder": BertConfig(**_SIZES)}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_folder("decoder") or ("encoder"): 3 layers, 4 heads; the decoder has 2 key heads."""
    words = Tokenizer(models.WordLevel(unk_token=SPECIAL["unk_token"]))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=_SIZES["vocab_size"], special_tokens=list(SPECIAL.values()), show_progress=False
    )
    words.train_from_iterator([d.text for d in load_corpus("demo", split="train")], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL)

    def write(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"tiny-{kind}"
        auto = AutoModelForCausalLM if kind == "decoder" else AutoModelForMaskedLM
        with torch.random.fork_rng():
            torch.manual_seed(0)
            auto.from_config(CONFIGS[kind]).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write
