"""The results table, one row a measured cell, and the manifest that says how it came about.

Both are plain files that a figure can be redrawn from without a model: CSV and JSON.
"""

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from mentionprobe.cache import atomic_file
from mentionprobe.errors import MentionprobeError

COLUMN_TYPES: dict[str, type] = {
    "backbone": str,
    "probe": str,
    "layer": int,  # -1 is the embedding
    "rank": int,
    "seed": int,
    "recipe": str,
    "train_corpus": str,
    "eval_corpus": str,
    "split": str,
    "decoding": str,
    "threshold": float,  # a probability
    "threshold_source": str,
    "n_documents": int,
    "tp": int,
    "fp": int,
    "fn": int,  # unreachable mentions included
    "unreachable": int,
    "precision": float,
    "recall": float,
    "f1": float,
    "f1_low": float,  # of the 95 % interval; empty where there is none
    "f1_high": float,
    "average_precision": float,
}
COLUMNS = tuple(COLUMN_TYPES)
CELL = COLUMNS[: COLUMNS.index("threshold_source") + 1]
"""The columns that say what was measured; no two rows agree in all of them."""

ALLOWED_VALUES = {"decoding": {"threshold", "greedy"}, "threshold_source": {"dev", "fixed"}}

_PROJECT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    "mentionprobe",
    "torch",
    "transformer-lens",
    "transformers",
    "numpy",
    "pandas",
    "scikit-learn",
    "safetensors",
)


class ResultsError(MentionprobeError):
    """A results table that is not there, or does not hold what the contract says."""


def write_table(rows: pd.DataFrame | Iterable[Mapping[str, Any]], path: Path) -> None:
    """Writes the table as CSV, with its columns in the order of `COLUMNS`, all of it or nothing.

    Raises `ResultsError` for columns missing or unknown, values of the wrong type, and cells that
    stand twice.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    table = _checked(frame, "the table")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """The table that `write_table` wrote, value for value.

    Raises `ResultsError` for a file that is missing or holds no such table.
    """
    if not path.exists():
        raise ResultsError(f"{path} does not exist; run the analysis that writes it first.")
    # Names such as "NA" are text like any other; only an empty number is one that is missing.
    missing = {name: [""] for name, kind in COLUMN_TYPES.items() if kind is float}
    try:
        frame = pd.read_csv(
            path,
            dtype={name: str for name, kind in COLUMN_TYPES.items() if kind is str},
            keep_default_na=False,
            na_values=missing,
            float_precision="round_trip",
        )
    except ValueError as error:
        raise ResultsError(f"{path} is no CSV table: {error}") from error
    return _checked(frame, str(path))


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Writes what a run used and did as JSON, all of it or nothing.

    Raises `TypeError` or `ValueError` for what JSON cannot hold, NaN included.
    """
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def package_versions() -> dict[str, str]:
    """What the numbers depend on besides data and settings; nothing that names person or machine.

    Packages that are not installed are left out, and so is the commit where the project is no git
    checkout. A commit ending in "-dirty" had changes that were not committed.
    """
    versions = {"python": platform.python_version()}
    versions["platform"] = f"{platform.system()} {platform.machine()}"
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    commit = _git_commit(_PROJECT)
    return versions | ({"commit": commit} if commit else {})


def _git_commit(project: Path) -> str | None:
    # The folder is named so that git does not look for a repository further up.
    repository = ["git", f"--git-dir={project / '.git'}", f"--work-tree={project}"]
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            [*repository, *describe], capture_output=True, text=True, check=True, cwd=project
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The columns of the contract in its order and types; `name` is for errors."""
    _check_columns(frame, name)
    table = pd.DataFrame(
        {
            column: _typed(pd.Series(frame[column]), kind, name)
            for column, kind in COLUMN_TYPES.items()
        }
    )
    for column, allowed in ALLOWED_VALUES.items():
        unknown = sorted(set(table[column]) - allowed)
        if unknown:
            raise ResultsError(
                f"{name}: {column} must be one of {', '.join(sorted(allowed))}; found {unknown}."
            )
    twice = table[table.duplicated(list(CELL))]
    if len(twice):
        raise ResultsError(
            f"{name}: {len(twice)} rows measure a cell that another row holds already, the first "
            f"being {twice.iloc[0][list(CELL)].to_dict()}; drop the older rows."
        )
    return table


def _check_columns(frame: pd.DataFrame, name: str) -> None:
    missing = [column for column in COLUMNS if column not in frame.columns]
    unknown = [str(column) for column in frame.columns if column not in COLUMN_TYPES]
    if missing or unknown:
        raise ResultsError(
            f"{name} is no results table: columns missing: {', '.join(missing) or 'none'}; "
            f"columns unknown: {', '.join(unknown) or 'none'}. All stand in analyses/results.py."
        )


def _typed(values: pd.Series, kind: type, name: str) -> pd.Series:
    if kind is str:
        return values.fillna("").astype(str)  # a corpus without splits has the split None
    try:
        # Through Int64, since a plain cast to int would cut off decimals without a word.
        return values.astype("Int64").astype(int) if kind is int else values.astype(float)
    except (TypeError, ValueError) as error:
        wanted = "whole numbers" if kind is int else "numbers"
        raise ResultsError(f"{name}: column {values.name!r} must hold {wanted}: {error}") from error
