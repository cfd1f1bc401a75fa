"""Hooks, sites, and what they gave for a corpus, in memory or on disk."""

from mentionprobe.activations.activations import Activations
from mentionprobe.activations.extract import extract
from mentionprobe.activations.sites import Site, attention, query_key, residual

__all__ = ["Activations", "Site", "attention", "extract", "query_key", "residual"]
