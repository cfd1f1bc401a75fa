"""`load_corpus`: from a name or a path to a corpus."""

import logging
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from mentionprobe.corpora.document import Corpus, Document
from mentionprobe.corpora.formats import did_you_mean, find_format, reader
from mentionprobe.corpora.splits import SPLIT_NAMES, find_files
from mentionprobe.errors import CorpusError, UnknownNameError

log = logging.getLogger(__name__)


def load_corpus(
    spec: str | Path, *, split: str | None = None, format: str | None = None, **options: Any
) -> Corpus:
    """Reads a corpus.

    `spec` is a name in the catalogue (`demo`), a file, or a directory. `split` chooses among the
    subfolders or files of a directory by name; a file has no splits. `format` is one of
    `bracketed`, `columns`, `conllu`, `jsonl`, `tokens-jsonl`, `entities-json`; left out, it is
    found from each file. `options` go to the reader of the format: see `read_columns`.

        load_corpus("demo", split="train")
        load_corpus("crossner/ai", split="dev")
        load_corpus("conll2003/eng.testa", separator=" ", tag_column=3)

    Raises `UnknownNameError` for a `spec` that is neither in the catalogue nor a path that
    exists, and for an unknown format; `CorpusError` for a split that is missing or ambiguous and
    for a file that cannot be read as its format; `TypeError` for an option the format has not.
    """
    if isinstance(spec, str) and spec in CATALOGUE:
        if format is not None or options:
            raise CorpusError(f"{spec!r} is in the catalogue; give no format and no options.")
        return CATALOGUE[spec](split)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _load_directory(path, split, format, options)
    if not path.exists():
        raise UnknownNameError(
            f"{str(spec)!r} is neither in the catalogue ({', '.join(CATALOGUE)}) nor the path of "
            f"a file or directory that exists.{did_you_mean(str(spec), CATALOGUE)}"
        )
    if split is not None:
        raise CorpusError(f"{path} is a file and has no splits; leave out split={split!r}.")
    return _read([path], *_name_and_split(path, path.stem), format, options)


def _load_demo(split: str | None) -> Corpus:
    with as_file(files("mentionprobe.corpora") / "demo") as directory:
        return _load_directory(directory, split, "bracketed", {})


CATALOGUE: dict[str, Callable[[str | None], Corpus]] = {"demo": _load_demo}


def _load_directory(
    directory: Path, split: str | None, format: str | None, options: dict[str, Any]
) -> Corpus:
    found = find_files(directory, split)
    name = directory.resolve().name
    if split is None:
        name, split = _name_and_split(directory, name)
    return _read(found, name, split, format, options)


def _name_and_split(path: Path, own_name: str) -> tuple[str, str | None]:
    """`ai/test.txt` is the split `test` of `ai`; any other path bears its own name."""
    if own_name.lower() in SPLIT_NAMES:
        return path.resolve().parent.name, own_name
    return own_name, None


def _read(
    paths: list[Path], name: str, split: str | None, format: str | None, options: dict[str, Any]
) -> Corpus:
    documents = [document for path in paths for document in _read_file(path, format, options)]
    corpus = Corpus(name, split, tuple(documents))
    if corpus.n_mentions == 0:
        log.warning("%s: none of the %d documents has a mention.", corpus, len(corpus))
    return corpus


def _read_file(path: Path, format: str | None, options: dict[str, Any]) -> list[Document]:
    format = format or find_format(path)
    documents = list(reader(format)(path, **options))
    if not documents:
        raise CorpusError(f"{path}: expected sentences in the format {format!r}, found none.")
    return documents
