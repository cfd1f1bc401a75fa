"""Interchangeable span probes."""

from collections.abc import Callable

from mentionprobe.probes.span_probe import SpanProbe
from mentionprobe.probes.tom import ToM

PROBES: dict[str, Callable[..., SpanProbe]] = {probe.name: probe for probe in (ToM,)}
"""The probes by the name used in configs and tables."""

__all__ = ["PROBES", "SpanProbe", "ToM"]
