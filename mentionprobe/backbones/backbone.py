"""A hooked transformer with its tokenizer: the one place that knows how to run it."""

import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mentionprobe.backbones.contract import Contract, check_contract, check_ids
from mentionprobe.backbones.tokenization import TokenizedDocument, require_offsets, tokenize
from mentionprobe.corpora import Document
from mentionprobe.corpora.formats import did_you_mean
from mentionprobe.errors import BackboneError, SiteError

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Largest relative difference the contract check forgives, by the dtype the model runs in."""

COMPUTATION = (
    "n_heads",
    "n_key_value_heads",
    "act_fn",
    "eps",
    "normalization_type",
    "positional_embedding_type",
    "rotary_base",
    "rope_parameters",
    "window_size",
    "attn_scale",
    "attn_scores_soft_cap",
)
"""Settings of `cfg` under which the same weights compute something else."""


@runtime_checkable
class HookedModel(Protocol):
    """What we use of a `HookedTransformer`, `HookedEncoder` or `TransformerBridge`."""

    cfg: Any
    tokenizer: Any
    forward: Callable[..., Any]

    @property
    def hook_dict(self) -> Mapping[str, Any]: ...
    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any: ...
    def eval(self) -> Any: ...
    def parameters(self) -> Iterable[torch.nn.Parameter]: ...


Kept = TypeVar("Kept")


class _Enough(Exception):  # noqa: N818 - no error
    """Raised inside the last hook needed: what lies above it is never computed."""


class Backbone:
    """A checked hooked model and its tokenizer.

    Made by `load_backbone`. `contract` says what its hooks give; `fingerprint` identifies weights,
    config, tokenizer and dtype; `prefix` and `suffix` are the special tokens put around every text,
    so that the first position, where attention sinks, is never a word. `hf_hidden_states` are
    Hugging Face's for `check_ids`, from the model before it was hooked.
    """

    def __init__(
        self,
        model: HookedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        hf_hidden_states: tuple[Tensor, ...] | None = None,
    ) -> None:
        require_offsets(tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        parameter = next(iter(model.parameters()))
        self.dtype, self.device = parameter.dtype, parameter.device
        cfg = model.cfg
        self.n_layers, self.d_model, self.n_heads = cfg.n_layers, cfg.d_model, cfg.n_heads
        self.n_key_heads: int = getattr(cfg, "n_key_value_heads", None) or cfg.n_heads
        self.d_head: int = cfg.d_head
        self._mask_name = _mask_argument(model)
        self.contract = self._check(hf_hidden_states)
        self.prefix, self.suffix = _special_tokens(
            tokenizer, causal=self.contract.causal, d_vocab=cfg.d_vocab
        )
        self.fingerprint = _fingerprint(model, tokenizer, self.prefix + self.suffix)

    def __repr__(self) -> str:
        kind = type(self.model).__name__
        size = f"{self.n_layers} layers, d_model {self.d_model}, {self.n_heads} heads"
        return f"Backbone({self.name!r}, {kind}, {size}, {self.dtype}, {self.contract.summary()})"

    @property
    def window(self) -> int:
        """Text tokens that fit into the context beside the special tokens."""
        return self.model.cfg.n_ctx - len(self.prefix) - len(self.suffix)

    def tokenize(
        self, documents: Sequence[Document], *, truncate: bool = False
    ) -> list[TokenizedDocument]:
        """Tokens of each text; `truncate` cuts off what does not fit into one context."""
        limit = self.window if truncate else None
        return tokenize(self.tokenizer, documents, max_tokens=limit)

    def run(
        self,
        ids: Int[Tensor, "batch pos"],
        mask: Int[Tensor, "batch pos"],
        hooks: Mapping[str, Callable[[Tensor], Kept]],
    ) -> dict[str, Kept]:
        """One forward pass that ends as soon as every hook in `hooks` has fired.

        `mask` is 1 on real tokens, which must stand left of the padding. Each hook's raw tensor is
        given to its function at once, and only what that returns is kept. A hook that never fires
        is absent from the result; one that does not exist raises `SiteError`.
        """
        known = self.model.hook_dict
        unknown = [name for name in hooks if name not in known]
        if unknown:
            raise SiteError(
                f"{self.name} has no hook {unknown[0]!r}.{did_you_mean(unknown[0], known)}"
            )
        kept: dict[str, Kept] = {}

        def keep(raw: Tensor, hook: Any, *, name: str) -> None:
            kept[name] = hooks[name](raw)
            if len(kept) == len(hooks):
                raise _Enough

        forward_hooks = [(name, partial(keep, name=name)) for name in hooks]
        arguments = {self._mask_name: mask.to(self.device)}
        with torch.inference_mode(), contextlib.suppress(_Enough):
            self.model.run_with_hooks(
                ids.to(self.device), fwd_hooks=forward_hooks, return_type=None, **arguments
            )
        return kept

    def _check(self, hf_hidden_states: tuple[Tensor, ...] | None) -> Contract:
        ids = check_ids(self.tokenizer)
        cfg = self.model.cfg
        if ids.max() >= cfg.d_vocab:
            raise BackboneError(
                f"the tokenizer gives token id {ids.max()}, the model knows {cfg.d_vocab}: they do "
                "not belong together."
            )
        declared = float(getattr(cfg, "attn_scale", 0.0) or 0.0)
        scales = [self.d_head**-0.5, 1.0, *([1 / declared, declared] if declared > 0 else [])]
        return check_contract(
            lambda names: self.run(ids, torch.ones_like(ids), dict.fromkeys(names, torch.clone)),
            set(self.model.hook_dict),
            n_layers=self.n_layers,
            hidden_states=hf_hidden_states,
            soft_cap=max(0.0, float(getattr(cfg, "attn_scores_soft_cap", 0.0) or 0.0)),
            scales=tuple(scales),
            tolerance=TOLERANCE[self.dtype],
        )


def _mask_argument(model: HookedModel) -> str:
    """`attention_mask`, or what `HookedEncoder` calls it."""
    accepted = inspect.signature(model.forward).parameters
    for name in ("attention_mask", "one_zero_attention_mask"):
        if name in accepted:
            return name
    raise BackboneError(
        f"{type(model).__name__}.forward takes no attention mask; it must be a HookedTransformer, "
        "HookedEncoder or TransformerBridge."
    )


def _special_tokens(
    tokenizer: Any, *, causal: bool, d_vocab: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids before and after every text.

    An encoder gets its own pair (CLS, SEP); a decoder its BOS, or the separator it was trained
    with where it has none. What the model has no embedding for does not count: TransformerLens
    adds such tokens to tokenizers without any.
    """
    found = {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "sep", "cls")}
    ids = {role: token for role, token in found.items() if token is not None and token < d_vocab}
    if not causal and {"cls", "sep"} <= ids.keys():
        return (ids["cls"],), (ids["sep"],)
    if not ids:
        raise BackboneError(
            "the tokenizer has neither a BOS nor an EOS nor a separator token; set "
            "`tokenizer.bos_token`, so that the attention sink at position 0 is not a word."
        )
    return (next(iter(ids.values())),), ()


def _fingerprint(
    model: HookedModel, tokenizer: PreTrainedTokenizerBase, special: tuple[int, ...]
) -> dict[str, str]:
    """Identity of weights, config, tokenizer and dtype, each a short SHA-256 or a name.

    Weights are hashed tensor by tensor and sorted, so that wrappers that only rename the same
    parameters agree. Of the config and the tokenizer, only what changes a residual stream counts.
    """
    tensors = {p.data_ptr(): p for p in model.parameters()}.values()
    weights = "".join(sorted(map(_hash_tensor, tensors)))
    config = {name: getattr(model.cfg, name, None) for name in COMPUTATION}
    backend: Any = tokenizer.backend_tokenizer
    words = json.loads(backend.to_str())
    vocabulary = [words[part] for part in ("added_tokens", "normalizer", "pre_tokenizer", "model")]
    return {
        "weights": _short_hash(weights),
        "config": _short_hash(repr(config)),
        "tokenizer": _short_hash(repr((vocabulary, special))),
        "dtype": str(next(iter(tensors)).dtype).removeprefix("torch."),
    }


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash_tensor(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(repr((tuple(plain.shape), plain.dtype)).encode())
    digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
