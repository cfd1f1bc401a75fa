"""Compare training recipes on dev: one change at a time from the default.

    python -m benchmarks.recipes --experiment crossner --backbone smollm2-135m --layers 5,10,15,20

Prints a Markdown table of dev scores, means over the layers. Test data is never read.
"""

import logging
from dataclasses import replace
from typing import Annotated

import numpy as np
import typer

from analyses.experiments import load_experiment, with_overrides
from analyses.layer_sweep import layers_of, load_corpora
from mentionprobe import extract, load_backbone, residual
from mentionprobe.probes import ToM
from mentionprobe.training import RECIPES, Recipe, evaluate, fit_bank

PAPER, DEFAULT = RECIPES["paper"], RECIPES["default"]

VARIANTS: dict[str, Recipe] = {
    "paper": PAPER,
    "paper + one-cycle": replace(PAPER, schedule="one_cycle"),
    "paper + theta start": replace(PAPER, theta=DEFAULT.theta),
    "paper + theta start + one-cycle": replace(PAPER, theta=DEFAULT.theta, schedule="one_cycle"),
    "default": DEFAULT,
    "default, full class weight": replace(DEFAULT, positive_weight="balanced"),
    "default, unit projections": replace(DEFAULT, projection_scale="unit"),
    "default, theta ones": replace(DEFAULT, theta=PAPER.theta),
    "default, theta 15, -8, 12, 1, 1": replace(DEFAULT, theta=(15.0, -8.0, 12.0, 1.0, 1.0)),
    "default, rate 3e-3": replace(DEFAULT, learning_rate=3e-3),
    "default, rate 3e-2": replace(DEFAULT, learning_rate=3e-2),
    "default, weight decay 1e-2": replace(DEFAULT, weight_decay=1e-2),
    "default, batches of 8": replace(DEFAULT, batch_documents=8),
    "default, 16 epochs": replace(DEFAULT, epochs=16),
    "default, last epoch": replace(DEFAULT, select_epoch=False),
}


def main(
    experiment: Annotated[str, typer.Option(help="Its train and dev corpora.")] = "crossner",
    backbone: Annotated[str, typer.Option(help="Which language model.")] = "smollm2-135m",
    layers: Annotated[str, typer.Option(help="Layers to average over.")] = "5,10,15,20",
    only: Annotated[list[str] | None, typer.Option(help="Variants to run (all).")] = None,
    store: Annotated[str, typer.Option(help="Where activations are kept.")] = "cache",
) -> None:
    """Train every variant and print its scores on dev."""
    logging.basicConfig(level=logging.WARNING)
    settings = with_overrides(load_experiment(experiment), backbones=[backbone], layers=layers)
    corpora = load_corpora(settings)
    model = load_backbone(backbone)
    numbers = layers_of(settings, model)
    sites = [residual(layer) for layer in numbers]
    train, dev = (extract(model, corpora[role], sites, store=store) for role in ("train", "dev"))
    print("| recipe | F1 at 0.5 | F1 at best threshold | average precision |")
    print("| --- | --- | --- | --- |")
    for name in only or VARIANTS:
        probes = [ToM(layer=layer, recipe=VARIANTS[name]) for layer in numbers]
        fit_bank(probes, train, corpora["train"], dev=(dev, corpora["dev"]))
        found = evaluate(probes, dev, corpora["dev"], decodings=("threshold",), n_resamples=10)
        half = np.mean([e.score.f1 for e in found if e.threshold_source == "fixed"])
        best = np.mean([e.score.f1 for e in found if e.threshold_source == "dev"])
        ap = np.mean([e.average_precision for e in found if e.threshold_source == "dev"])
        print(f"| {name} | {half:.3f} | {best:.3f} | {ap:.3f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
