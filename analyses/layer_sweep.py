"""At which layers can entity mentions be read off? (Figure 6)

    python -m analyses.layer_sweep                          # SmolLM2 on the bundled corpus
    python -m analyses.layer_sweep --experiment crossner    # from experiments.yaml
    python -m analyses.layer_sweep --backbone minilm-l6 --seeds 0,1,2 --out results/minilm

Trains a probe at every layer, embedding included, all from one pass of the backbone, and writes
scores.csv, manifest.json, layer_sweep.png, .pdf and .html.
"""

import logging
import resource
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyses.command import run_command
from analyses.experiments import (
    DEFAULT_EXPERIMENT,
    CorpusSpec,
    LayerSweepSettings,
    load_experiment,
    with_overrides,
)
from analyses.figures import layer_curve_interactive, layer_curve_static
from analyses.results import package_versions, write_manifest, write_table
from mentionprobe import (
    Activations,
    Backbone,
    Corpus,
    extract,
    load_backbone,
    load_corpus,
    residual,
)
from mentionprobe.backbones import align, alignment_report
from mentionprobe.probes import PROBES, SpanProbe
from mentionprobe.training import Evaluation, evaluate, fit_bank, get_recipe

logger = logging.getLogger(__name__)

Row = dict[str, Any]


def run(
    settings: LayerSweepSettings,
    out: Path,
    *,
    backbones: Iterable[Backbone] | None = None,
    store: Path | str | None = "cache",
    device: str | None = None,
    dtype: str = "float32",
) -> tuple[pd.DataFrame, Row]:
    """Do the sweep and write table, manifest and figures to `out`; table and manifest.

    `backbones` takes the place of those the settings name: hooked models of your own, through
    `load_backbone`. `store` is where activations are kept: "cache", a folder, or None for memory.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    # A wrong name or path shows before any work.
    get_recipe(settings.recipe)
    corpora = load_corpora(settings)
    rows: list[Row] = []
    described: list[Row] = []
    loaded = backbones or (load_backbone(b, device=device, dtype=dtype) for b in settings.backbones)
    for backbone in loaded:
        new_rows, description = _sweep(backbone, settings, corpora, store)
        rows += new_rows
        described.append(description)
    table = pd.DataFrame(rows)
    write_table(table, out / "scores.csv")
    layer_curve_static(table, out / "layer_sweep.png", out / "layer_sweep.pdf")
    layer_curve_interactive(table, out / "layer_sweep.html")
    manifest = {
        "analysis": "layer_sweep",
        "command": _command(),
        "settings": settings.model_dump(mode="json"),
        "backbones": described,
        "corpora": {role: _describe(corpus) for role, corpus in corpora.items()},
        "versions": package_versions(),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_memory_gb": round(_peak_memory() / 1e9, 2),
    }
    write_manifest(out / "manifest.json", manifest)
    return table, manifest


def load_corpora(settings: LayerSweepSettings) -> dict[str, Corpus]:
    """The corpora by role: "train", "dev", and "eval NAME" for each table."""
    train = _join("train", settings.train, "train")
    dev = _join("dev", settings.dev, "dev")
    corpora = {
        "train": train.sample(settings.max_train_documents or len(train)),
        "dev": dev.sample(settings.max_dev_documents or len(dev)),
    }
    for name, specs in settings.eval.items():
        corpora[f"eval {name}"] = _join(name, specs, "test")
    return corpora


def _join(name: str, specs: Sequence[CorpusSpec], default_split: str) -> Corpus:
    """One corpus out of one or several specs; a folder or a catalogue name needs a split."""
    parts = []
    for spec in specs:
        is_file = Path(spec.location).is_file()
        split = spec.split or (None if is_file else default_split)
        parts.append(load_corpus(spec.location, split=split))
    return parts[0] if len(parts) == 1 else Corpus.concatenate(name, parts)


def _sweep(
    backbone: Backbone,
    settings: LayerSweepSettings,
    corpora: dict[str, Corpus],
    store: Path | str | None,
) -> tuple[list[Row], Row]:
    """All layers and seeds of one backbone: its rows, and its part of the manifest."""
    layers = layers_of(settings, backbone)
    sites = [residual(layer) for layer in layers]
    seconds: dict[str, float] = {}

    def read(role: str) -> Activations:
        started = time.perf_counter()
        activations = extract(backbone, corpora[role], sites, store=store)
        seconds[f"extract {role}"] = round(time.perf_counter() - started, 1)
        return activations

    train, dev = read("train"), read("dev")
    logger.info("train: %s", _reachability(train, corpora["train"], settings.max_span))
    probes = make_probes(settings, layers)
    started = time.perf_counter()
    fit_bank(probes, train, corpora["train"], dev=(dev, corpora["dev"]))
    seconds["train probes"] = round(time.perf_counter() - started, 1)
    rows: list[Row] = []
    for role in (role for role in corpora if role.startswith("eval ")):
        activations = read(role)
        logger.info("%s: %s", role, _reachability(activations, corpora[role], settings.max_span))
        started = time.perf_counter()
        for found in evaluate(probes, activations, corpora[role]):
            rows.append(_row(backbone, probes[found.probe], settings, corpora, role, found))
        seconds[f"score {role}"] = round(time.perf_counter() - started, 1)
    description = {
        "name": backbone.name,
        "model": type(backbone.model).__name__,
        "fingerprint": backbone.fingerprint,
        "contract": backbone.contract.summary(),
        "seconds": seconds,
        "dev_f1": [
            {"layer": probe.layer, "seed": probe.seed, "f1": round(probe.dev_f1_, 4)}
            for probe in probes
        ],
    }
    return rows, description


def layers_of(settings: LayerSweepSettings, backbone: Backbone) -> Sequence[int]:
    """The layers to probe; "all" begins with the embedding."""
    return range(-1, backbone.n_layers) if settings.layers == "all" else settings.layers


def make_probes(settings: LayerSweepSettings, layers: Iterable[int]) -> list[SpanProbe]:
    """An untrained probe for every seed and layer."""
    recipe = get_recipe(settings.recipe, epochs=settings.epochs)
    make = PROBES[settings.probe]
    return [
        make(rank=settings.rank, layer=layer, max_span=settings.max_span, seed=seed, recipe=recipe)
        for seed in settings.seeds
        for layer in layers
    ]


def _reachability(activations: Activations, corpus: Corpus, max_span: int) -> str:
    pairs = zip(activations.documents, corpus, strict=True)
    return alignment_report(align(t, d.gold_spans, max_span=max_span) for t, d in pairs)


def _row(
    backbone: Backbone,
    probe: SpanProbe,
    settings: LayerSweepSettings,
    corpora: dict[str, Corpus],
    role: str,
    found: Evaluation,
) -> Row:
    score = found.score
    return {
        "backbone": backbone.name,
        "probe": probe.name,
        "layer": probe.layer,
        "rank": settings.rank,
        "seed": probe.seed,
        "recipe": settings.recipe,
        "train_corpus": str(corpora["train"]),
        "eval_corpus": role.removeprefix("eval "),
        "split": corpora[role].split,
        "decoding": found.decoding,
        "threshold": found.threshold,
        "threshold_source": found.threshold_source,
        "n_documents": found.n_documents,
        "tp": score.tp,
        "fp": score.fp,
        "fn": score.fn,
        "unreachable": found.unreachable,
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "f1_low": score.f1_low,
        "f1_high": score.f1_high,
        "average_precision": found.average_precision,
    }


def _describe(corpus: Corpus) -> Row:
    return {
        "corpus": str(corpus),
        "documents": len(corpus),
        "groups": len({document.group for document in corpus}),
        "mentions": corpus.n_mentions,
        "sha256": corpus.fingerprint,
    }


def _command() -> str:
    """The command line that was typed, without the folder the program lies in."""
    return shlex.join(["python", "-m", "analyses.layer_sweep", *sys.argv[1:]])


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summary(table: pd.DataFrame, manifest: Row) -> Table:
    """A short table for the terminal: the embedding, the layer that is best on dev, the last."""
    shown = Table(title="F1, exact match, threshold from dev (means over seeds, 95 % intervals)")
    for column in ("backbone", "corpus", "embedding", "best layer on dev", "at 0.5", "last layer"):
        shown.add_column(column)
    best = {part["name"]: _best_layer(part["dev_f1"]) for part in manifest["backbones"]}
    cell = ["backbone", "eval_corpus", "threshold_source", "layer"]
    flat = table.loc[table.decoding == "threshold"]
    means = pd.pivot_table(flat, ["f1", "f1_low", "f1_high"], cell, sort=False).reset_index()
    found = {tuple(row[key] for key in cell): row for row in means.to_dict("records")}
    for backbone, corpus in dict.fromkeys((key[0], key[1]) for key in found):
        layers = [key[3] for key in found if key[:2] == (backbone, corpus)]
        dev = {layer: found[backbone, corpus, "dev", layer] for layer in layers}
        layer = best[backbone]
        interval = f"[{dev[layer]['f1_low']:.3f}, {dev[layer]['f1_high']:.3f}]"
        shown.add_row(
            backbone,
            corpus,
            f"{dev[-1]['f1']:.3f}" if -1 in dev else "–",
            Text(f"{dev[layer]['f1']:.3f} {interval} (layer {layer})"),
            f"{found[backbone, corpus, 'fixed', layer]['f1']:.3f}",
            f"{dev[max(layers)]['f1']:.3f}",
        )
    return shown


def _best_layer(dev_f1: list[Row]) -> int:
    """The layer with the best mean F1 on dev over seeds."""
    by_layer: dict[int, list[float]] = {}
    for entry in dev_f1:
        by_layer.setdefault(entry["layer"], []).append(entry["f1"])
    return max(by_layer, key=lambda layer: mean(by_layer[layer]))


def _help(setting: str) -> str:
    return LayerSweepSettings.model_fields[setting].description or ""


def main(
    experiment: Annotated[
        str, typer.Option(help="Name of an experiment in experiments.yaml.")
    ] = DEFAULT_EXPERIMENT,
    config: Annotated[
        Path | None, typer.Option(help="Another experiments.yaml.", show_default=False)
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help=_help("backbones") + " Can be repeated.")
    ] = None,
    train: Annotated[
        list[str] | None, typer.Option(help=_help("train") + " Can be repeated.")
    ] = None,
    dev: Annotated[list[str] | None, typer.Option(help=_help("dev") + " Can be repeated.")] = None,
    evaluation: Annotated[
        list[str] | None, typer.Option("--eval", help=_help("eval") + " Can be repeated.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help=_help("layers"))] = None,
    seeds: Annotated[str | None, typer.Option(help=_help("seeds"))] = None,
    probe: Annotated[str | None, typer.Option(help=_help("probe"))] = None,
    rank: Annotated[int | None, typer.Option(help=_help("rank"))] = None,
    max_span: Annotated[int | None, typer.Option(help=_help("max_span"))] = None,
    recipe: Annotated[str | None, typer.Option(help=_help("recipe"))] = None,
    epochs: Annotated[int | None, typer.Option(help=_help("epochs"))] = None,
    max_train_documents: Annotated[
        int | None, typer.Option(help=_help("max_train_documents"))
    ] = None,
    max_dev_documents: Annotated[int | None, typer.Option(help=_help("max_dev_documents"))] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results (default: results/EXPERIMENT).")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps activations (default: the cache folder)."),
    ] = None,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="Keep activations in memory and not on disk.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, … (default: the best)")] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
) -> None:
    """Train and evaluate a probe at every layer of one or more backbones.

    Without options: SmolLM2-135M on the bundled demo corpus, minutes on two cores. Settings come
    from experiments.yaml; options given here override them. Writes scores.csv, manifest.json and
    layer_sweep.png, .pdf and .html to the results folder.
    """
    settings = with_overrides(
        load_experiment(experiment, config),
        backbones=backbone,
        train=train,
        dev=dev,
        eval=evaluation,
        layers=layers,
        seeds=seeds,
        probe=probe,
        rank=rank,
        max_span=max_span,
        recipe=recipe,
        epochs=epochs,
        max_train_documents=max_train_documents,
        max_dev_documents=max_dev_documents,
    )
    out = out or Path("results") / experiment
    kept_in = None if in_memory else (store or "cache")
    table, manifest = run(settings, out, store=kept_in, device=device, dtype=dtype)
    console = Console()
    console.print(summary(table, manifest))
    console.print(f"{out}/: scores.csv, manifest.json, layer_sweep.png, .pdf, .html")


if __name__ == "__main__":
    run_command(main)
