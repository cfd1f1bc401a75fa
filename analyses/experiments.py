"""Experiments: named settings in experiments.yaml, checked before anything is computed.

    settings = load_experiment("quickstart")
    settings = with_overrides(settings, layers="-1,5,11", seeds="0,1,2")

Every mistake is a `ConfigError` that names the file, the line and the key where it stands, or the
command-line option that brought it in.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import ErrorDetails

from mentionprobe.errors import ConfigError

EXPERIMENTS_FILE = Path(__file__).resolve().parent.parent / "experiments.yaml"
DEFAULT_EXPERIMENT = "quickstart"
EMBEDDING_LAYER = -1

_RANGE = re.compile(r"\s*(-?\d+)(?:-(-?\d+))?\s*")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class SettingError(ConfigError, ValueError):
    """A value that cannot be read. A `ValueError` too, so that pydantic adds where it stands."""


@dataclass(frozen=True)
class CorpusSpec:
    """A corpus as an experiment names it."""

    spec: str
    """Catalogue name or path, as written: environment variables are not filled in."""
    split: str | None = None
    """The split asked for, None where none is."""

    def __str__(self) -> str:
        return self.spec if self.split is None else f"{self.spec}@{self.split}"

    @property
    def location(self) -> str:
        """The spec with environment variables filled in: what `load_corpus` takes.

        Raises `SettingError` for a variable that is not set.
        """
        for match in _VARIABLE.finditer(self.spec):
            variable = match[1] or match[2]
            if not os.environ.get(variable):
                raise SettingError(
                    f"the environment variable {variable} is not set; corpora are given relative "
                    f"to it, so set it to the folder that holds them (export {variable}=...)."
                )
        return os.path.expandvars(self.spec)

    @property
    def short_name(self) -> str:
        """File name without folder and suffix, and the split: a table name where none is given."""
        return str(CorpusSpec(Path(self.spec).stem, self.split))


def parse_corpus_spec(text: str) -> CorpusSpec:
    """Reads `name`, `path`, `name@split` or `path@split`; an @ inside a folder's name is no split.

    Raises `SettingError` for an empty name or split, and for an environment variable not set.
    """
    spec, at, split = text.rpartition("@")
    if not at or "/" in split:
        spec, split = text, None
    if not spec or split == "":
        raise SettingError(
            f"{text!r} is not a corpus; write a catalogue name or a path, optionally with @split."
        )
    corpus = CorpusSpec(spec, split)
    _ = corpus.location  # an unset variable shows now, not after hours of computation
    return corpus


def parse_layers(value: Any) -> Literal["all"] | tuple[int, ...]:
    """Reads `all`, `0-29`, `-1,3-5` or integers, as "all" or sorted layers; -1 is the embedding.

    Raises `SettingError` for anything else, and for layers below -1.
    """
    if value == "all":
        return "all"
    layers = tuple(sorted(set(_parse_integers(value))))
    if layers[0] < EMBEDDING_LAYER:
        raise SettingError(
            f"there is no layer {layers[0]}; layers count from 0, and -1 is the embedding."
        )
    return layers


def parse_seeds(value: Any) -> tuple[int, ...]:
    """Reads `0`, `0,1,2`, `0-4` or integers, in the order given.

    Raises `SettingError` for anything else, for negative seeds and for one that stands twice.
    """
    seeds = _distinct(_parse_integers(value))
    if min(seeds) < 0:
        raise SettingError(f"{min(seeds)} is not a seed; seeds are integers from 0.")
    return seeds


def _parse_integers(value: Any) -> tuple[int, ...]:
    """One or more integers, from text or as they are."""
    if isinstance(value, str):
        return tuple(number for part in value.split(",") for number in _parse_range(part))
    numbers = _listed(value)
    # bool is a subclass of int, and YAML reads `yes` as True.
    if not numbers or any(type(number) is not int for number in numbers):
        raise SettingError(f"{value!r} is no list of one or more integers; write '0,2' or '0-2'.")
    return numbers


def _parse_range(text: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise SettingError(f"{text!r} is neither an integer nor a range such as 0-29.")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise SettingError(f"the range {text!r} runs backwards; write {last}-{first}.")
    return range(first, last + 1)


def _listed(value: Any) -> tuple[Any, ...]:
    """Wherever a list is expected, a single value stands for a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise SettingError(f"{value!r} stands twice; remove one.")
    return values


def _to_corpus_spec(value: Any) -> CorpusSpec:
    if isinstance(value, CorpusSpec):
        return value
    if not isinstance(value, str):
        raise SettingError(f"{value!r} is not a corpus; write a catalogue name or a path.")
    return parse_corpus_spec(value)


def _named_tables(value: Any) -> Any:
    """Corpora given without names, as on the command line, become a table each."""
    if isinstance(value, Mapping):
        return value
    corpora = [_to_corpus_spec(item) for item in _listed(value)]
    tables = {corpus.short_name: corpus for corpus in corpora}
    if len(tables) < len(corpora):
        raise SettingError("two of the corpora share a file name; name them in experiments.yaml.")
    return tables


_Count = Annotated[int, Field(strict=True, ge=1)]
_Names = Annotated[
    tuple[str, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_distinct)
]
_Corpora = Annotated[
    tuple[Annotated[CorpusSpec, BeforeValidator(_to_corpus_spec), PlainSerializer(str)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
]
_Tables = Annotated[dict[str, _Corpora], BeforeValidator(_named_tables), Field(min_length=1)]


class LayerSweepSettings(BaseModel):
    """What a layer sweep trains, on what, and where it is evaluated.

    `model_dump(mode="json")` is what a manifest keeps; validating it gives the settings back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    description: str
    """One sentence on what the experiment asks."""
    backbones: _Names
    """Language models to probe: catalogue names, hub ids or directories."""
    probe: Literal["tom"] = "tom"
    """Which match score the probe uses."""
    rank: _Count = 64
    """Dimension of the probe's query and key projections."""
    max_span: _Count = 25
    """Longest candidate span, in tokens."""
    recipe: str = "default"
    """Name of the training recipe."""
    layers: Annotated[Literal["all"] | tuple[int, ...], BeforeValidator(parse_layers)] = "all"
    """Layers to probe: all, or a list such as 0-29 or -1,5,11; -1 is the embedding."""
    seeds: Annotated[tuple[int, ...], BeforeValidator(parse_seeds)] = (0,)
    """Seeds, such as 0,1,2; each trains its own probe in every layer."""
    train: _Corpora
    """Corpus to train on: catalogue name or path, optionally with @split; several are joined."""
    dev: _Corpora
    """Corpus on which weights and thresholds are selected, given as for training."""
    eval: _Tables
    """Corpora to evaluate on: each gets its own rows, under its name, in the results table."""
    max_train_documents: _Count | None = None
    """Train on a sample of this many documents; all when not given."""
    max_dev_documents: _Count | None = None
    """Select on a sample of this many documents; all when not given."""
    epochs: _Count | None = None
    """Passes over the training corpus; the recipe's number when not given."""


def list_experiments(path: Path | None = None) -> dict[str, str]:
    """Name and description of every experiment in the file, in its order; nothing is validated.

    Raises `ConfigError` for a file that is missing or no YAML mapping.
    """
    experiments = _read_yaml(path or EXPERIMENTS_FILE).content
    return {
        name: str(settings.get("description", "")) if isinstance(settings, dict) else ""
        for name, settings in experiments.items()
    }


def load_experiment(name: str = DEFAULT_EXPERIMENT, path: Path | None = None) -> LayerSweepSettings:
    """The settings of one experiment; `path` is experiments.yaml of this project unless given.

    Raises `ConfigError` for an unknown name, and for every mistake in the experiment at once.
    """
    file = _read_yaml(path or EXPERIMENTS_FILE)
    if name not in file.content:
        raise ConfigError(
            f"{file.path}: there is no experiment {name!r}{_near_misses(name, file.content)} "
            f"The file holds: {', '.join(map(str, file.content))}."
        )
    try:
        return LayerSweepSettings.model_validate(file.content[name])
    except ValidationError as error:
        raise ConfigError(_report(error, lambda keys: file.place((name, *keys)))) from error


def with_overrides(settings: LayerSweepSettings, **changes: Any) -> LayerSweepSettings:
    """The settings with some changed and all checked again; a change to None is none.

    Values may be as the command line gives them: layers and seeds as text, corpora as specs.

    Raises `ConfigError`, which names the options by `option_name`.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return LayerSweepSettings.model_validate({**dict(settings), **given})
    except ValidationError as error:
        raise ConfigError(_report(error, lambda keys: option_name(str(keys[0])))) from error


def option_name(setting: str) -> str:
    """The command-line option that overrides a setting."""
    # Backbones are given one at a time: --backbone a --backbone b.
    return "--backbone" if setting == "backbones" else "--" + setting.replace("_", "-")


_Keys = tuple[str | int, ...]


def _report(error: ValidationError, place: Callable[[_Keys], str]) -> str:
    """One line for each mistake; `place` says where the keys of a setting stand."""
    lines: dict[tuple[_Keys, str], str] = {}
    for details in error.errors(include_url=False):
        keys, explanation = details["loc"], _explain(details)
        # What is wrong with every corpus of a list, such as an unset variable, is said once.
        lines.setdefault((keys[:1], explanation), f"{place(keys)}: {explanation}")
    return "\n".join(lines.values())


def _explain(details: ErrorDetails) -> str:
    match details["type"]:
        case "missing":
            return "this setting is missing; every experiment needs it."
        case "extra_forbidden":
            key, known = str(details["loc"][-1]), LayerSweepSettings.model_fields
            return f"unknown setting {key!r}{_near_misses(key, known)}"
        case "model_type":
            return f"an experiment is a mapping of settings; found {details['input']!r}."
        case "too_short":
            return "must hold at least one entry; found none."
        case "value_error":
            return str(details.get("ctx", {})["error"])
        case _:
            expected = details["msg"].replace("Input should be", "must be")
            return f"{expected}; found {details['input']!r}."


def _near_misses(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that begins with an unknown name."""
    near = difflib.get_close_matches(name, map(str, known))
    return f"; did you mean {' or '.join(near)}?" if near else "."


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first_lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = first_lines.setdefault((key.tag, str(key.value)), key.start_mark.line + 1)
            if line != key.start_mark.line + 1:
                problem = f"the key {key.value!r} stands on line {line} already; remove one"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


# No setting is a date; read as one, 2024-13-01 would be an error without a line.
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


@dataclass(frozen=True)
class _YamlFile:
    """A YAML mapping, and the nodes that know on which lines its parts stand."""

    path: Path
    content: dict[str, Any]
    root: yaml.Node

    def place(self, keys: _Keys) -> str:
        """File, line and key path of a value, or of the nearest thing around it in the file."""
        node, line = self.root, 1
        for key in keys:
            found = _find_child(node, key)
            if found is None:
                break
            node, line = found
        return f"{self.path}, line {line}, {'.'.join(map(str, keys))}"


def _find_child(node: yaml.Node, key: str | int) -> tuple[yaml.Node, int] | None:
    """What stands under a key or position, and the line of that key or item."""
    if isinstance(node, yaml.MappingNode):
        # Keys merged in by << stand before the mapping's own, which win.
        for key_node, value in reversed(node.value):
            if key_node.value == str(key):
                return value, key_node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    return None


def _read_yaml(path: Path) -> _YamlFile:
    try:
        loader = _StrictLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        content = loader.construct_document(root) if root else None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, line {line}: not valid YAML: {error.problem}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a text file in UTF-8: {error}") from error
    if root is None or not isinstance(content, dict):
        raise ConfigError(f"{path}: expected experiments (`name:` and settings below), found none.")
    return _YamlFile(path, content, root)
