"""What a layer sweep costs, against one plain forward pass of the backbone, measured in one run.

    python -m benchmarks.layer_sweep                                   # bundled text, repeated
    python -m benchmarks.layer_sweep --corpus fewnerd/dev.txt --tokens 60000
    python -m benchmarks.layer_sweep --memory                          # 25k against 100k tokens

F is one Hugging Face forward pass over the same batches without the unembedding. F and the
extraction take turns, piece by piece of the corpus, so that a machine that changes its speed does
not favour one of them. Probes are trained without scoring dev after each epoch. The way the paper's
code works (for each layer and each epoch, one pass up to that layer) is measured on a small sample
for a few layers and extrapolated.
"""

import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import AutoModel

from mentionprobe import Backbone, Corpus, extract, load_backbone, load_corpus, residual
from mentionprobe.activations.windows import cut_windows, pack, pad
from mentionprobe.backbones.catalogue import CATALOGUE, Wheel
from mentionprobe.backbones.wheels import folder_from_wheel
from mentionprobe.probes import ToM
from mentionprobe.training import evaluate, fit_bank, get_recipe

EPOCHS = 8
PIECES = 6
PAPER_LAYERS = 5


def timed(work: Callable[[], Any]) -> float:
    """Seconds `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def corpus_of(spec: str | None, backbone: Backbone, n_tokens: int) -> Corpus:
    """A corpus of at least `n_tokens` tokens: a file's, or the bundled texts as often as needed."""
    if spec is None:
        parts = [load_corpus("demo", split=split) for split in ("train", "dev", "test")]
        whole = Corpus.concatenate("demo", parts)
        n = sum(map(len, backbone.tokenize(whole.documents)))
        copies = [replace(whole, name=f"copy{i}") for i in range(-(-n_tokens // n))]
        return Corpus.concatenate("demo repeated", copies)
    whole = load_corpus(spec)
    lengths = np.cumsum([len(t) for t in backbone.tokenize(whole.documents)])
    return replace(whole, documents=whole.documents[: int(np.searchsorted(lengths, n_tokens)) + 1])


def pieces(corpus: Corpus) -> Iterator[Corpus]:
    """The corpus in `PIECES` parts."""
    for i in range(PIECES):
        yield replace(corpus, name=f"{corpus.name}-{i}", documents=corpus.documents[i::PIECES])


@dataclass
class PlainPass:
    """The same tokens through Hugging Face's own model, without hooks and without logits."""

    backbone: Backbone
    model: Any

    def __call__(self, corpus: Corpus, *, n_layers: int | None = None) -> None:
        documents = self.backbone.tokenize(corpus.documents)
        windows = [
            w for d, t in enumerate(documents) for w in cut_windows(d, len(t), self.backbone.window)
        ]
        blocks = self.model.layers
        self.model.layers = blocks[:n_layers]
        try:
            for batch in pack(windows, batch_tokens=2048):
                ids, mask = pad(self.backbone, batch, documents)
                with torch.inference_mode():
                    self.model(ids, attention_mask=mask, use_cache=False)
        finally:
            self.model.layers = blocks


def benchmark(corpus_spec: str | None, n_tokens: int, name: str) -> dict[str, Any]:
    """All times, in seconds and in units of F."""
    backbone = load_backbone(name)
    source = CATALOGUE[name].source
    folder = folder_from_wheel(name, source) if isinstance(source, Wheel) else source
    plain = PlainPass(backbone, AutoModel.from_pretrained(folder, dtype=torch.float32).eval())
    corpus = corpus_of(corpus_spec, backbone, n_tokens)
    n_tokens = sum(map(len, backbone.tokenize(corpus.documents)))
    sites = [residual(layer) for layer in range(-1, backbone.n_layers)]
    warm = replace(corpus, documents=corpus.documents[:16])
    plain(warm)
    extract(backbone, warm, sites)
    forward = extraction = 0.0
    with tempfile.TemporaryDirectory() as store:
        for i, piece in enumerate(pieces(corpus)):
            turns: list[tuple[str, Callable[[], Any]]] = [
                ("forward", lambda piece=piece: plain(piece)),
                ("extraction", lambda piece=piece: extract(backbone, piece, sites, store=store)),
            ]
            for what, work in turns if i % 2 else reversed(turns):
                seconds = timed(work)
                if what == "forward":
                    forward += seconds
                else:
                    extraction += seconds
        paper = forward * _paper_way(plain, warm, backbone)
        whole = extract(backbone, corpus, sites, store=store)  # pieces were timed, this is not
        probes = [
            ToM(layer=site.layer, recipe=get_recipe("default", select_epoch=False))
            for site in sites
        ]
        training = timed(lambda: fit_bank(probes, whole, corpus))
        scoring = timed(lambda: evaluate(probes, whole, corpus))
    total = extraction + training + scoring
    seconds = {
        "F, one plain forward pass": forward,
        f"extraction of {len(sites)} sites": extraction,
        f"training of {len(sites)} probes, {EPOCHS} epochs": training,
        "decoding and scoring": scoring,
        "whole sweep": total,
        "the paper's way (extrapolated, passes only)": paper,
    }
    return {
        "backbone": backbone.name,
        "corpus": str(corpus),
        "tokens": n_tokens,
        "threads": torch.get_num_threads(),
        "seconds": {what: round(value, 1) for what, value in seconds.items()},
        "in units of F": {what: round(value / forward, 2) for what, value in seconds.items()},
    }


def _paper_way(plain: PlainPass, sample: Corpus, backbone: Backbone) -> float:
    """One pass up to each layer in each epoch, in units of a whole pass; some depths measured.

    Measured on a small sample, whose whole pass is the unit, so that its size does not matter.
    """
    depths = np.linspace(1, backbone.n_layers, PAPER_LAYERS).round().astype(int)
    seconds = [min(timed(lambda d=d: plain(sample, n_layers=d)) for _ in range(3)) for d in depths]
    slope, constant = np.polyfit(depths, seconds, 1)
    every = constant + slope * np.arange(backbone.n_layers + 1)
    return float(EPOCHS * every.sum() / every[-1])


class MemoryWatch(threading.Thread):
    """Highest anonymous memory of this process, pages of mapped files left out (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.resident = 0

    def run(self) -> None:
        while True:
            fields = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            self.anonymous = max(self.anonymous, int(fields["RssAnon"].split()[0]))
            self.resident = max(self.resident, int(fields["VmRSS"].split()[0]))
            time.sleep(0.05)


def memory(corpus_spec: str | None, n_tokens: int, name: str) -> dict[str, Any]:
    """Peak memory of training and scoring once the store is on disk, in this process."""
    backbone = load_backbone(name)
    corpus = corpus_of(corpus_spec, backbone, n_tokens)
    sites = [residual(layer) for layer in range(-1, backbone.n_layers)]
    store = Path(tempfile.gettempdir()) / "mentionprobe-benchmark"
    extract(backbone, corpus, sites, store=store)
    watch = MemoryWatch()
    watch.start()
    whole = extract(backbone, corpus, sites, store=store)
    recipe = get_recipe("default", epochs=1, select_epoch=False)
    probes = [ToM(layer=site.layer, recipe=recipe) for site in sites]
    fit_bank(probes, whole, corpus)
    evaluate(probes, whole, corpus)
    return {
        "tokens": whole.n_tokens,
        "anonymous_gb": round(watch.anonymous / 1e6, 2),
        "with_mapped_files_gb": round(watch.resident / 1e6, 2),
    }


def main(
    corpus: Annotated[str | None, typer.Option(help="A corpus file; else the bundled one.")] = None,
    tokens: Annotated[int, typer.Option(help="Least number of tokens.")] = 50_000,
    backbone: Annotated[str, typer.Option(help="A Llama-type decoder.")] = "smollm2-135m",
    memory_only: Annotated[
        bool, typer.Option("--memory", help="Compare peak memory at 25k and 100k tokens.")
    ] = False,
    memory_of: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure; prints JSON."""
    logging.basicConfig(level=logging.WARNING)
    if memory_of is not None:
        print(json.dumps(memory(corpus, memory_of, backbone)))
    elif memory_only:
        chosen = ["--corpus", corpus] if corpus else []
        for n_tokens in (25_000, 100_000):
            # A process each: peaks of one must not hide those of the other.
            command = [sys.executable, "-m", "benchmarks.layer_sweep", *chosen]
            subprocess.run([*command, "--memory-of", str(n_tokens)], check=True)
    else:
        print(json.dumps(benchmark(corpus, tokens, backbone), indent=2))


if __name__ == "__main__":
    typer.run(main)
