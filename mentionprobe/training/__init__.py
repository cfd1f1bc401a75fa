"""Banks of probes: loss, recipes, training, scoring."""

from mentionprobe.training.bank import Bank, Inputs, Trainable
from mentionprobe.training.fit import fit_bank
from mentionprobe.training.loss import balanced_bce
from mentionprobe.training.recipes import RECIPES, Recipe, get_recipe
from mentionprobe.training.scoring import Evaluation, evaluate

__all__ = [
    "RECIPES",
    "Bank",
    "Evaluation",
    "Inputs",
    "Recipe",
    "Trainable",
    "balanced_bce",
    "evaluate",
    "fit_bank",
    "get_recipe",
]
