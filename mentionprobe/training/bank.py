"""Many probes of one shape, computed at once on the same pass over the activations.

Members differ in their layer and their seed. Each sees the same batches in the same order, and has
its own initial draw, its own gradient clipping, its own learning-rate plateau and its own selected
epoch, so that it ends with the weights it would have had if trained alone.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mentionprobe.activations import Activations, Site
from mentionprobe.errors import TrainingError
from mentionprobe.training.recipes import Recipe

Inputs: TypeAlias = Mapping[str, Tensor]
"""The tensors a probe reads, by role ("residual", ...), each [pos, ...]."""


@runtime_checkable
class Trainable(Protocol):
    """What the bank needs of a probe; it must also be an `nn.Module`."""

    seed: int
    max_span: int
    recipe: str | Recipe
    threshold_logit_: float
    dev_f1_: float

    def bind(self, activations: Activations) -> None:
        """Take over the identity, and where needed the layer, of what is trained on."""
        ...

    def require_backbone_of(self, activations: Activations) -> None:
        """Raise `FingerprintError` for activations of another backbone."""
        ...

    def sites(self) -> Mapping[str, Site]:
        """What the probe reads, by role."""
        ...

    def initialise(self, inputs: Inputs, recipe: Recipe, generator: torch.Generator) -> None:
        """Draw fresh parameters, in the dtype and of the width of `inputs`."""
        ...

    def forward(self, inputs: Inputs, is_last: Bool[Tensor, " pos"]) -> Float[Tensor, "pos offset"]:
        """Logits of all spans of documents laid end to end."""
        ...


class Bank:
    """Probes whose parameters are stacked, so that one batched computation serves all.

    `parameters[name]` is [probe, ...]. Raises `TrainingError` for probes of different shapes.
    """

    def __init__(self, probes: Sequence[Trainable]) -> None:
        modules = [probe for probe in probes if isinstance(probe, nn.Module)]
        shapes = {
            tuple((name, tuple(p.shape)) for name, p in module.named_parameters())
            for module in modules
        }
        if len(modules) != len(probes) or len(shapes) != 1 or shapes == {()}:
            raise TrainingError("a bank needs probes of one shape, with parameters.")
        self.probes = probes
        self._modules = modules
        stacked, _ = stack_module_state(modules)
        self.parameters: dict[str, Tensor] = dict(stacked)
        self._sites = [probe.sites() for probe in probes]

    def __len__(self) -> int:
        return len(self.probes)

    def read(
        self, activations: Activations, documents: Sequence[int], dtype: torch.dtype
    ) -> dict[str, Float[Tensor, "probe pos *feature"]]:
        """What every member reads on `documents`; a site that several share is read once."""
        return {
            role: _stack_sites(
                [sites[role] for sites in self._sites], activations, documents, dtype
            )
            for role in self._sites[0]
        }

    def logits(
        self,
        inputs: Mapping[str, Float[Tensor, "probe pos *feature"]],
        is_last: Bool[Tensor, " pos"],
    ) -> Float[Tensor, "probe pos offset"]:
        """Span logits of every member."""

        def one(parameters: dict[str, Tensor], member: dict[str, Tensor]) -> Tensor:
            return functional_call(self._modules[0], parameters, (member, is_last))

        return vmap(one)(self.parameters, dict(inputs))

    def write_back(self) -> None:
        """Give every member its row of the stacked parameters."""
        with torch.no_grad():
            for i, module in enumerate(self._modules):
                for name, parameter in module.named_parameters():
                    parameter.copy_(self.parameters[name][i])


def _stack_sites(
    sites: Sequence[Site], activations: Activations, documents: Sequence[int], dtype: torch.dtype
) -> Float[Tensor, "probe pos *feature"]:
    distinct = list(dict.fromkeys(sites))
    stacked = activations.read(distinct, documents, dtype=dtype)
    if len(distinct) == len(sites):
        return stacked
    return stacked[[distinct.index(site) for site in sites]]
