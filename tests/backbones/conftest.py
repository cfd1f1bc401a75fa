"""Tiny random models of each architecture, with tokenizers trained here, in folders like a hub's.

Weights are drawn ten times wider than usual, so that attention is far from uniform and a contract
that holds by accident is told from one that holds.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from mentionprobe import Backbone, load_backbone, load_corpus

VOCABULARY = 600
CONTEXT = 64
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
_COMMON = {"initializer_range": 0.2, "max_position_embeddings": CONTEXT, "intermediate_size": 48}
_LLAMA = {**_SIZES, **_COMMON, "num_key_value_heads": 2}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT, "initializer_range": 0.2}

ARCHITECTURES: dict[str, tuple[str, type, type, dict[str, Any]]] = {
    "llama": ("byte-bpe", LlamaConfig, LlamaForCausalLM, _LLAMA),
    "llama-sentencepiece": ("sentencepiece-bpe", LlamaConfig, LlamaForCausalLM, _LLAMA),
    "phi3": ("sentencepiece-bpe", Phi3Config, Phi3ForCausalLM, {**_LLAMA, "pad_token_id": 0}),
    "gpt-neox": ("byte-bpe", GPTNeoXConfig, GPTNeoXForCausalLM, {**_SIZES, **_COMMON}),
    "gpt2": ("byte-bpe", GPT2Config, GPT2LMHeadModel, _GPT2),
    "bert": ("wordpiece", BertConfig, BertForMaskedLM, {**_SIZES, **_COMMON}),
    "roberta": ("byte-bpe", RobertaConfig, RobertaForMaskedLM, {**_SIZES, **_COMMON}),
}


def _train(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    texts = [document.text for document in load_corpus("demo", split="train")]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_bpe() -> PreTrainedTokenizerFast:
    """As GPT-2, Pythia, Llama 3 and RoBERTa: bytes, with the space before a word part of it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=_train(tokenizer, trainer),
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
    )
