"""A span probe is a match score and a span head (Eq. 2); probes differ only in the match score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mentionprobe.activations import Activations, Site
from mentionprobe.activations.sites import residual
from mentionprobe.backbones.tokenization import DEFAULT_MAX_SPAN
from mentionprobe.corpora import Corpus
from mentionprobe.errors import FingerprintError, TrainingError
from mentionprobe.training import Inputs, Recipe, fit_bank

Fitted = TypeVar("Fitted", bound="SpanProbe")


class SpanProbe(nn.Module, ABC):
    """Scores every span of at most `max_span` tokens as a mention or not.

    The logit of the span from token i to token j is theta · (m_ij, max m_kj, min m_kj, v_j,
    v_{j+1}), i < k <= j (Eq. 2). For a one-token span the pools are empty and count as 0; v_{j+1}
    is 0 after the last token of a document. Subclasses say what m is.

    Parameters are drawn by `fit`: `value_weight` [d_model] and `value_bias` [], v = w · z + b;
    `theta` [5], in the order of Eq. 2. Learned attributes: `threshold_`, the probability at or
    above which a span counts as a mention, `dev_f1_`, the F1 it had where that was chosen, and
    `fingerprint_`, whose activations the probe reads.
    """

    name: ClassVar[str]

    value_weight: nn.Parameter
    value_bias: nn.Parameter
    theta: nn.Parameter

    def __init__(
        self,
        *,
        layer: int | None = None,
        max_span: int = DEFAULT_MAX_SPAN,
        seed: int = 0,
        recipe: str | Recipe = "default",
    ) -> None:
        super().__init__()
        self.layer = layer
        self.max_span = max_span
        self.seed = seed
        self.recipe = recipe
        self.threshold_logit_: float = 0.0
        self.dev_f1_: float = float("nan")
        self.fingerprint_: dict[str, str] = {}

    @property
    def threshold_(self) -> float:
        """Probability at or above which a span is predicted, chosen on dev for F1."""
        return float(torch.tensor(self.threshold_logit_, dtype=torch.float64).sigmoid())

    @property
    def n_parameters(self) -> int:
        """How many numbers were learned."""
        return sum(p.numel() for p in self.parameters())

    def fit(
        self: Fitted,
        activations: Activations,
        corpus: Corpus,
        *,
        dev: tuple[Activations, Corpus] | None = None,
    ) -> Fitted:
        """Train on the gold mentions of `corpus`; choose the epoch and the threshold on `dev`.

        Without `dev`, a tenth of the groups of `corpus` is held out for that.
        Raises `FingerprintError` if `activations` are not those of the texts of `corpus`, or dev
        comes from another backbone, and `TrainingError` if there is no mention to learn from.
        """
        fit_bank([self], activations, corpus, dev=dev)
        return self

    def sites(self) -> Mapping[str, Site]:
        """What the probe reads, by role."""
        if self.layer is None:
            raise TrainingError(f"{type(self).__name__} has no layer yet; pass layer= or fit it.")
        return {"residual": residual(self.layer)}

    def bind(self, activations: Activations) -> None:
        """Take over whose activations these are, and the layer if there is only one.

        Raises `TrainingError` if several layers were extracted and `layer` was not given.
        """
        if self.layer is None:
            layers = sorted({layer for site in activations.sites for layer in site.layers})
            if len(layers) != 1:
                raise TrainingError(
                    f"the activations hold layers {layers}; say which one to read, for example "
                    f"{type(self).__name__}(layer={layers[-1]})."
                )
            self.layer = layers[0]
        self.fingerprint_ = {k: v for k, v in activations.fingerprint.items() if k != "texts"}

    def require_backbone_of(self, activations: Activations) -> None:
        """Raises `FingerprintError` if the probe was trained on another backbone or tokenizer."""
        for part, expected in self.fingerprint_.items():
            found = activations.fingerprint[part]
            if found != expected:
                raise FingerprintError(
                    f"this probe was trained on {part} {expected}, these activations come from "
                    f"{part} {found} ({activations.backbone}); extract with the probe's backbone."
                )

    def initialise(self, inputs: Inputs, recipe: Recipe, generator: torch.Generator) -> None:
        """Draw fresh parameters, in the dtype and of the width of `inputs`."""
        z = inputs["residual"]
        self._draw_match(inputs, recipe, generator)
        bound = z.shape[-1] ** -0.5
        for name, shape in (("value_weight", (z.shape[-1],)), ("value_bias", ())):
            draw = torch.empty(shape, dtype=z.dtype).uniform_(-bound, bound, generator=generator)
            self.register_parameter(name, nn.Parameter(draw))
        self.theta = nn.Parameter(torch.tensor(recipe.theta, dtype=z.dtype))

    @abstractmethod
    def _draw_match(self, inputs: Inputs, recipe: Recipe, generator: torch.Generator) -> None:
        """Draw the parameters of the match score."""

    @abstractmethod
    def match_scores(self, inputs: Inputs) -> Float[Tensor, "pos offset"]:
        """m_ij for every span, [end j, offset j - i]."""

    def forward(self, inputs: Inputs, is_last: Bool[Tensor, " pos"]) -> Float[Tensor, "pos offset"]:
        """Logits of all spans of documents laid end to end.

        `is_last` marks the last token of each document. Entries that are no candidate span (they
        begin before their document) hold numbers without a meaning.
        """
        match = self.match_scores(inputs)
        pooled_max, pooled_min = running_pools(match)
        # A matrix product with one column: under vmap, one batched product for the whole bank.
        value = (inputs["residual"] @ self.value_weight[:, None]).squeeze(-1) + self.value_bias
        following = F.pad(value[1:], (0, 1)).masked_fill(is_last, 0.0)
        theta = self.theta
        per_token = theta[3] * value + theta[4] * following
        spans = theta[0] * match + theta[1] * pooled_max + theta[2] * pooled_min
        return spans + per_token[:, None]

    def span_logits(self, activations: Activations, document: int) -> Float[Tensor, "pos offset"]:
        """Logits of all spans of one document, [end, offset], without gradients.

        Raises `FingerprintError` if the activations come from another backbone.
        """
        self.require_backbone_of(activations)
        dtype = self.theta.dtype
        inputs = {
            role: activations.read([site], [document], dtype=dtype)[0]
            for role, site in self.sites().items()
        }
        is_last = torch.zeros(len(activations.documents[document]), dtype=torch.bool)
        is_last[-1] = True
        with torch.inference_mode():
            return self(inputs, is_last)

    def extra_repr(self) -> str:
        """Hyper-parameters, for `repr`."""
        return ", ".join(f"{k}={v!r}" for k, v in self.hyper_parameters().items())

    def hyper_parameters(self) -> dict[str, Any]:
        """What the constructor was given."""
        recipe = self.recipe if isinstance(self.recipe, str) else self.recipe.name
        return {
            "layer": self.layer,
            "max_span": self.max_span,
            "seed": self.seed,
            "recipe": recipe,
        }


def running_pools(
    match: Float[Tensor, "pos offset"],
) -> tuple[Float[Tensor, "pos offset"], Float[Tensor, "pos offset"]]:
    """max and min of m_kj over i < k <= j: the running extremes along the band, one step behind.

    0 where no k lies between (one-token spans).
    """
    inner = match[..., :-1]
    largest, smallest = inner.cummax(-1).values, inner.cummin(-1).values
    return F.pad(largest, (1, 0)), F.pad(smallest, (1, 0))
