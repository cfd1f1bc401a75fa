"""Hooked models: where they come from, what their hooks really give, how they see a text."""

from mentionprobe.backbones.backbone import Backbone
from mentionprobe.backbones.catalogue import CATALOGUE
from mentionprobe.backbones.load import load_backbone
from mentionprobe.backbones.tokenization import (
    DEFAULT_MAX_SPAN,
    Alignment,
    TokenizedDocument,
    align,
    alignment_report,
    tokenize,
)

__all__ = [
    "CATALOGUE",
    "DEFAULT_MAX_SPAN",
    "Alignment",
    "Backbone",
    "TokenizedDocument",
    "align",
    "alignment_report",
    "load_backbone",
    "tokenize",
]
