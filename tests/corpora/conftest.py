"""Small files for the readers to read."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("ai/test.txt", "Bern\tB-place\n") makes a file, UTF-8 unless given bytes."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.fixture
def surfaces() -> Callable[..., list[tuple[str, str | None]]]:
    """The surface form and the label of each mention of a document."""
    return lambda document: [(document.text[m.start : m.end], m.label) for m in document.mentions]
