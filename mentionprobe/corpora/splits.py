"""Which files of a directory make up a split."""

import re
from collections.abc import Iterable
from pathlib import Path

from mentionprobe.errors import CorpusError

_ALIASES = {
    "train": frozenset({"train", "training"}),
    "dev": frozenset({"dev", "devel", "development", "valid", "validation", "val"}),
    "test": frozenset({"test"}),
}
SPLIT_NAMES = frozenset().union(*_ALIASES.values())
"""Names that say which split a file or folder is."""

_NOT_DATA = re.compile(
    r"\..*|_.*|(readme|licen[cs]e|notes?|copying|citation)\b.*|.*\.(md|rst|py|pdf)", re.IGNORECASE
)


def find_files(directory: Path, split: str | None) -> list[Path]:
    """The files of a split, or all data files of a directory that has no splits, sorted.

    A split is a subfolder of its name with all its data files, or the file whose stem is its
    name, or else the file whose name holds it as a word. `dev`, `devel`, `development`, `valid`,
    `validation` and `val` stand for one another where the name itself is not there.

    Raises `CorpusError` where no split is given but there are several, where it is not there,
    and where several files could be meant.
    """
    if split is not None:
        found = _the_one(directory, split)
        return _data_files(found) if found.is_dir() else [found]
    splits = [path.name for name in _ALIASES for path in _matches(directory, name)]
    if len(splits) > 1:
        raise CorpusError(f"{directory} has splits ({', '.join(splits)}); choose one by split=.")
    return _data_files(directory)


def _the_one(directory: Path, split: str) -> Path:
    matches = _matches(directory, split)
    if not matches:
        raise CorpusError(
            f"{directory} has no split {split!r}; it holds: {_names(_entries(directory))}."
        )
    if len(matches) > 1:
        raise CorpusError(
            f"{directory}: several could be the split {split!r}: {_names(matches)}. "
            "Give the path of the one you mean."
        )
    return matches[0]


def _matches(directory: Path, split: str) -> list[Path]:
    """What fits best: an exact name before a word in a name, the name given before its aliases."""
    asked = split.lower()
    aliases = next((names for names in _ALIASES.values() if asked in names), frozenset())
    for words in (_exact, _words, _runs_of_letters):
        for names in ({asked}, aliases):
            found = [path for path in _entries(directory) if words(path) & names]
            if found:
                return found
    return []


def _exact(path: Path) -> set[str]:
    return {(path.name if path.is_dir() else path.stem).lower()}


def _words(path: Path) -> set[str]:
    """`emerging.test.annotated` is the test split, `gum.test2.conllu` is not."""
    return set(re.findall(r"[a-z0-9]+", path.name.lower()))


def _runs_of_letters(path: Path) -> set[str]:
    """`wnut17train.conll` is the train split."""
    return set(re.findall(r"[a-z]+", path.name.lower()))


def _data_files(directory: Path) -> list[Path]:
    files = [path for path in _entries(directory) if path.is_file()]
    if not files:
        raise CorpusError(
            f"{directory}: expected annotated files, found: {_names(directory.iterdir())}."
        )
    return files


def _entries(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if not _NOT_DATA.fullmatch(path.name))


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(sorted(path.name for path in paths)) or "nothing"
