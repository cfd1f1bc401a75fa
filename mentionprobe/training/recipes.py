"""Named sets of training hyper-parameters."""

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from mentionprobe.errors import UnknownNameError


@dataclass(frozen=True)
class Recipe:
    """How a probe is initialised and trained."""

    name: str
    epochs: int = 8
    batch_documents: int = 16
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4
    gradient_clip: float = 2.0
    """Largest gradient norm of one probe."""
    schedule: Literal["plateau", "one_cycle"] = "one_cycle"
    """`plateau`: halve a probe's rate when its training loss has not fallen for `patience`
    batches. `one_cycle`: warm up and anneal to zero over the planned number of batches."""
    plateau_batches: int = 5000
    projection_scale: Literal["unit", "d_model"] = "d_model"
    """Variance of the initial projections: 1, or 1 / d_model."""
    theta: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Initial weights of the span head, in the order of Eq. 2: m_ij, max, min, v_j, v_{j+1}."""
    positive_weight: Literal["balanced", "root"] = "balanced"
    """Weight of a mention in the loss: #neg / #pos of the batch (Eq. 3), or its square root."""
    select_epoch: bool = False
    """Keep the epoch with the best F1 on dev (each at its best threshold), else the last."""
    early_stopping: int | None = None
    """Stop a probe that has not improved on dev for this many epochs; None never stops."""


RECIPES: dict[str, Recipe] = {
    # As published (Table 4 and the authors' code), first phase; see docs/recipes.md.
    "paper": Recipe(
        name="paper",
        schedule="plateau",
        projection_scale="unit",
    ),
    # Cosines are bounded, so theta has to grow before the logits can separate anything; starting
    # it high, and annealing, is what a few hundred batches need. The root of the class weight
    # makes 0.5 nearly the best threshold. docs/recipes.md has the measurements.
    "default": Recipe(
        name="default",
        theta=(10.0, 0.0, 10.0, 1.0, 1.0),
        positive_weight="root",
        select_epoch=True,
        early_stopping=4,
    ),
}


def get_recipe(recipe: str | Recipe, **changes: int | float | str | None) -> Recipe:
    """The recipe of that name, with the changes that are not None.

    Raises `UnknownNameError` with the near misses.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            near = difflib.get_close_matches(recipe, RECIPES, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise UnknownNameError(f"no recipe {recipe!r}.{meant} There are: {', '.join(RECIPES)}.")
        recipe = RECIPES[recipe]
    return replace(recipe, **{k: v for k, v in changes.items() if v is not None})
