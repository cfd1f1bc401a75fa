"""What a probe reads, independent of the model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mentionprobe.backbones.backbone import Backbone
from mentionprobe.backbones.tokenization import DEFAULT_MAX_SPAN
from mentionprobe.band import band_products, cut_band
from mentionprobe.errors import SiteError

SQUARES = {"scores": "hook_attn_scores", "pattern": "hook_pattern"}
"""Hooks of an attention block that give [batch, head, pos, pos], by the kind of attention."""


@dataclass(frozen=True)
class Site(ABC):
    """A place in a transformer whose activations can be asked for.

    `reduce` is called inside each of the site's hooks with the raw tensor and keeps only what is
    needed of it; `assemble` makes the site's one tensor, [batch, pos, ...], of what was kept.
    """

    lowest_layer: ClassVar[int] = 0

    @property
    @abstractmethod
    def key(self) -> str:
        """A short unique name, used in stores and tables."""

    @property
    @abstractmethod
    def layers(self) -> tuple[int, ...]:
        """The layers the site reads; -1 is the embedding."""

    @property
    def left_context(self) -> int:
        """Tokens a window must show before the first token kept of it: the longest span."""
        return DEFAULT_MAX_SPAN

    @abstractmethod
    def hooks(self, backbone: Backbone) -> tuple[str, ...]:
        """Hook names; raises `SiteError` if the backbone does not give them honestly."""

    @abstractmethod
    def feature_shape(self, backbone: Backbone) -> tuple[int, ...]:
        """Shape of the site's tensor behind [batch, pos]."""

    def reduce(self, hook: str, raw: Tensor) -> Tensor:
        """What to keep of the raw tensor of `hook`, one of the names in `hooks`."""
        return raw

    def assemble(
        self, backbone: Backbone, kept: list[Tensor]
    ) -> Float[Tensor, "batch pos *feature"]:
        """The site's tensor, from what its hooks kept, in the order of `hooks`."""
        return kept[0]

    def check(self, backbone: Backbone) -> None:
        """Raises `SiteError` for a layer out of range or a site the backbone does not give."""
        for layer in self.layers:
            if not self.lowest_layer <= layer < backbone.n_layers:
                raise SiteError(
                    f"{self.key}: layer {layer} does not exist; {backbone.name} has layers "
                    f"{self.lowest_layer} to {backbone.n_layers - 1}."
                )
        self.hooks(backbone)


@dataclass(frozen=True)
class ResidualSite(Site):
    """The residual stream after block `layer`; -1 is the embedding that enters block 0."""

    lowest_layer: ClassVar[int] = -1

    layer: int

    @property
    def key(self) -> str:
        return f"residual.{self.layer}"

    @property
    def layers(self) -> tuple[int, ...]:
        return (self.layer,)

    def hooks(self, backbone: Backbone) -> tuple[str, ...]:
        return (backbone.contract.residual_hook(self.layer),)

    def feature_shape(self, backbone: Backbone) -> tuple[int, ...]:
        return (backbone.d_model,)


@dataclass(frozen=True)
class QueryKeySite(Site):
    """Queries of all heads, then keys of all key heads, of one layer: [n_heads + n_key, d_head]."""

    layer: int
    rotary: bool

    @property
    def key(self) -> str:
        return f"query_key.{self.layer}.{'after' if self.rotary else 'before'}_rotary"

    @property
    def layers(self) -> tuple[int, ...]:
        return (self.layer,)

    def hooks(self, backbone: Backbone) -> tuple[str, ...]:
        names = backbone.contract.query_key_hooks(self.layer, rotary=self.rotary)
        return tuple(f"blocks.{self.layer}.attn.{name}" for name in names)

    def feature_shape(self, backbone: Backbone) -> tuple[int, ...]:
        return (backbone.n_heads + backbone.n_key_heads, backbone.d_head)

    def assemble(
        self, backbone: Backbone, kept: list[Tensor]
    ) -> Float[Tensor, "batch pos *feature"]:
        return torch.cat(kept, dim=2)


@dataclass(frozen=True)
class AttentionSite(Site):
    """Attention from a span's last token to its first, on the span band: [offset, layers * heads].

    `kind` is "scores" (scaled, before softmax) or "pattern" (after). Scores that a model's hook
    does not give honestly are rebuilt from queries and keys, on the band alone. Raises `SiteError`
    for settings that name nothing.
    """

    of_layers: tuple[int, ...]
    kind: Literal["scores", "pattern"]
    max_span: int

    def __post_init__(self) -> None:
        if self.kind not in SQUARES:
            raise SiteError(f"attention of kind {self.kind!r}: use {' or '.join(SQUARES)}.")
        if not self.of_layers or self.max_span < 1:
            raise SiteError(
                f"attention of layers {self.of_layers} on spans of up to {self.max_span} tokens is "
                "nothing; name at least one layer and one token."
            )

    @property
    def layers(self) -> tuple[int, ...]:
        return self.of_layers

    @property
    def key(self) -> str:
        return f"attention.{self.kind}.{'-'.join(map(str, self.layers))}.{self.max_span}"

    @property
    def left_context(self) -> int:
        return self.max_span

    def hooks(self, backbone: Backbone) -> tuple[str, ...]:
        return tuple(
            f"blocks.{layer}.attn.{name}"
            for layer in self.layers
            for name in self._layer_hooks(backbone, layer)
        )

    def _layer_hooks(self, backbone: Backbone, layer: int) -> tuple[str, ...]:
        if self.kind == "pattern":
            backbone.contract.require_pattern(layer)
            return (SQUARES["pattern"],)
        if backbone.contract.score_source(layer) == "hook":
            return (SQUARES["scores"],)
        return backbone.contract.query_key_hooks(layer, rotary=True)

    def feature_shape(self, backbone: Backbone) -> tuple[int, ...]:
        return (self.max_span, len(self.layers) * backbone.n_heads)

    def reduce(self, hook: str, raw: Tensor) -> Tensor:
        """Cut the band out of [batch, head, pos, pos]; queries and keys are kept as they are."""
        is_square = hook.endswith(SQUARES[self.kind])
        return cut_band(raw, max_span=self.max_span) if is_square else raw

    def assemble(
        self, backbone: Backbone, kept: list[Tensor]
    ) -> Float[Tensor, "batch pos *feature"]:
        bands: list[Tensor] = []
        pieces = iter(kept)
        for layer in self.layers:
            names = self._layer_hooks(backbone, layer)
            if len(names) == 1:
                bands.append(next(pieces))
            else:
                bands.append(self._rebuilt(backbone, layer, next(pieces), next(pieces)))
        return torch.cat(bands, dim=1).permute(0, 2, 3, 1)

    def _rebuilt(
        self,
        backbone: Backbone,
        layer: int,
        query: Float[Tensor, "batch pos head d_head"],
        key: Float[Tensor, "batch pos key_head d_head"],
    ) -> Float[Tensor, "batch head pos offset"]:
        """Scores on the band; query head h reads key head h // (heads / key heads)."""
        contract = backbone.contract.layers[layer]
        queries = query.unflatten(2, (key.shape[2], -1)).permute(0, 2, 3, 1, 4)
        keys = key.permute(0, 2, 1, 3)[:, :, None].expand_as(queries)
        band = band_products(queries, keys, max_span=self.max_span).flatten(1, 2) * contract.scale
        cap = contract.soft_cap
        return cap * torch.tanh(band / cap) if cap > 0 else band


def residual(layer: int) -> ResidualSite:
    """The residual stream after block `layer` (`hook_resid_post`); -1 is the embedding."""
    return ResidualSite(layer)


def query_key(layer: int, *, rotary: bool = True) -> QueryKeySite:
    """Per-head queries and keys of one layer, after (default) or before rotary position encoding.

    Grouped key heads are kept as they are.
    """
    return QueryKeySite(layer, rotary)


def attention(
    layers: int | Sequence[int],
    *,
    kind: Literal["scores", "pattern"] = "scores",
    max_span: int = DEFAULT_MAX_SPAN,
) -> AttentionSite:
    """Attention of every head of `layers`, from the last token of each span to its first."""
    return AttentionSite((layers,) if isinstance(layers, int) else tuple(layers), kind, max_span)
