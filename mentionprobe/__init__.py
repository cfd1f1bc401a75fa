"""Where does a language model know what an entity mention is?"""

from mentionprobe.activations import Activations, attention, extract, query_key, residual
from mentionprobe.backbones import Backbone, load_backbone
from mentionprobe.corpora import Corpus, Document, Mention, load_corpus
from mentionprobe.probes import ToM
from mentionprobe.training import evaluate, fit_bank

__version__ = "0.1.0"

__all__ = [
    "Activations",
    "Backbone",
    "Corpus",
    "Document",
    "Mention",
    "ToM",
    "attention",
    "evaluate",
    "extract",
    "fit_bank",
    "load_backbone",
    "load_corpus",
    "query_key",
    "residual",
]
