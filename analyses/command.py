"""What the commands share: logging, and errors without a traceback."""

import logging
from collections.abc import Callable

import typer
from rich.console import Console
from rich.logging import RichHandler

from mentionprobe.errors import MentionprobeError


def run_command(main: Callable[..., None]) -> None:
    """Run `main` as a command line; an error of ours is one message and exit status 2."""
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for package in ("analyses", "mentionprobe", "__main__"):
        logging.getLogger(package).setLevel(logging.INFO)
    try:
        typer.run(main)
    except MentionprobeError as error:
        console.print(f"Error: {error}", style="bold red", markup=False, highlight=False)
        raise SystemExit(2) from error
