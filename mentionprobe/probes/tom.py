"""ToM: token matching on the residual stream (Eq. 1)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mentionprobe.backbones.tokenization import DEFAULT_MAX_SPAN
from mentionprobe.band import band_products
from mentionprobe.probes.span_probe import SpanProbe
from mentionprobe.training import Inputs, Recipe


class ToM(SpanProbe):
    """m_ij is the cosine of two learned projections of the residual stream to `rank` dimensions.

    `query_projection` and `key_projection` are [d_model, rank]. The query belongs to the last
    token j and the key to the first token i, as in the published code (Eq. 1 names them the other
    way round).

    >>> ToM(rank=64, layer=10)
    ToM(rank=64, layer=10, max_span=25, seed=0, recipe='default')
    """

    name = "tom"

    query_projection: nn.Parameter
    key_projection: nn.Parameter

    def __init__(
        self,
        *,
        rank: int = 64,
        layer: int | None = None,
        max_span: int = DEFAULT_MAX_SPAN,
        seed: int = 0,
        recipe: str | Recipe = "default",
    ) -> None:
        super().__init__(layer=layer, max_span=max_span, seed=seed, recipe=recipe)
        self.rank = rank

    def _draw_match(self, inputs: Inputs, recipe: Recipe, generator: torch.Generator) -> None:
        d_model, dtype = inputs["residual"].shape[-1], inputs["residual"].dtype
        scale = 1.0 if recipe.projection_scale == "unit" else d_model**-0.5
        for name in ("query_projection", "key_projection"):
            draw = torch.randn(d_model, self.rank, generator=generator, dtype=dtype) * scale
            self.register_parameter(name, nn.Parameter(draw))

    def match_scores(self, inputs: Inputs) -> Float[Tensor, "pos offset"]:
        """Cosines of the end token's query and the start token's key (Eq. 1)."""
        both = torch.cat([self.query_projection, self.key_projection], dim=1)
        query, key = (inputs["residual"] @ both).unflatten(-1, (2, self.rank)).unbind(-2)
        return band_products(
            F.normalize(query, dim=-1), F.normalize(key, dim=-1), max_span=self.max_span
        )

    def hyper_parameters(self) -> dict[str, Any]:
        """What the constructor was given."""
        return {"rank": self.rank, **super().hyper_parameters()}
