"""Transformers without its progress bars and its notes on unused heads."""

import contextlib
from collections.abc import Iterator

from transformers.utils import logging as log


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers while weights load; its settings are put back afterwards."""
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
