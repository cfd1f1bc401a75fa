import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.experiments import (
    CorpusSpec,
    LayerSweepSettings,
    list_experiments,
    load_experiment,
    option_name,
    parse_corpus_spec,
    parse_layers,
    parse_seeds,
    with_overrides,
)
from mentionprobe.errors import ConfigError

VALID = """\
    small:
      description: Two layers.
      backbones: [smollm2-135m]
      train: demo
      dev: demo
      eval: {demo: demo}
"""


@pytest.fixture
def write_yaml(tmp_path):
    def write(text):
        path = tmp_path / "experiments.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


@pytest.fixture
def small(write_yaml):
    return load_experiment("small", write_yaml(VALID))


def error_of(path, name="small"):
    with pytest.raises(ConfigError) as caught:
        load_experiment(name, path)
    return str(caught.value)


class TestBundledExperiments:
    def test_quickstart_is_what_runs_when_none_is_named(self):
        assert load_experiment() == load_experiment("quickstart")
        assert load_experiment().train == (CorpusSpec("demo"),)

    def test_all_are_valid(self, monkeypatch):
        monkeypatch.setenv("MENTIONPROBE_DATA", "/data")
        for name, description in list_experiments().items():
            assert load_experiment(name).description == description

    def test_crossner_reads_its_corpora_below_the_data_folder(self, monkeypatch):
        monkeypatch.setenv("MENTIONPROBE_DATA", "/data")
        settings = load_experiment("crossner")
        assert settings.train[0].location == "/data/fewnerd/dev.txt"
        assert settings.train[0].split is None
        assert [spec.short_name for spec in settings.eval["crossner"]] == [
            f"{domain}@test" for domain in ("ai", "literature", "music", "politics", "science")
        ]
        assert list(settings.eval) == ["crossner", "ncbi-disease", "wnut17", "gum"]

    def test_an_unset_variable_is_named_once_a_setting(self, monkeypatch):
        monkeypatch.delenv("MENTIONPROBE_DATA", raising=False)
        with pytest.raises(ConfigError, match="variable MENTIONPROBE_DATA is not set") as caught:
            load_experiment("crossner")
        assert len(str(caught.value).splitlines()) == len(["train", "dev", "eval"])


class TestMistakesInTheFile:
    @pytest.mark.parametrize(
        ("setting", "explanation"),
        [
            ("rnak: 8", "rnak: unknown setting 'rnak'; did you mean rank?"),
            ("colour: red", "colour: unknown setting 'colour'."),
            ("rank: 0", "rank: must be greater than or equal to 1; found 0."),
            ("rank: '8'", "rank: must be a valid integer; found '8'."),
            ("rank: yes", "rank: must be a valid integer; found True."),
            ("epochs: 1.5", "epochs: must be a valid integer; found 1.5."),
            ("probe: ltqk", "probe: must be 'tom'; found 'ltqk'."),
            ("recipe: [a]", "recipe: must be a valid string; found ['a']."),
            ("seeds: [1, 1]", "seeds: 1 stands twice; remove one."),
            ("seeds: -1", "seeds: -1 is not a seed; seeds are integers from 0."),
            ("layers: 5-x", "layers: '5-x' is neither an integer nor a range such as 0-29."),
        ],
    )
    def test_name_file_line_and_key(self, write_yaml, setting, explanation):
        path = write_yaml(VALID + f"      {setting}\n")
        assert error_of(path) == f"{path}, line 7, small.{explanation}"

    def test_inside_a_list_name_the_line_of_the_item(self, write_yaml):
        path = write_yaml(VALID.replace("dev: demo", "dev:\n      - demo\n      - demo@"))
        assert error_of(path).startswith(f"{path}, line 7, small.dev.1: 'demo@' is not a corpus;")

    def test_inside_a_table_name_its_line(self, write_yaml):
        path = write_yaml(VALID.replace("{demo: demo}", "\n        demo: demo\n        gum: 3"))
        assert error_of(path).startswith(f"{path}, line 8, small.eval.gum.0: 3 is not a corpus;")

    def test_are_told_all_at_once(self, write_yaml):
        path = write_yaml(VALID + "      rank: 0\n      epochs: 0\n")
        assert [line.split(", ")[1] for line in error_of(path).splitlines()] == ["line 7", "line 8"]

    def test_missing_settings_name_the_line_of_the_experiment(self, write_yaml):
        path = write_yaml("# first\nsmall:\n  description: nothing else\n")
        first, *others = error_of(path).splitlines()
        assert first.startswith(f"{path}, line 2, small.backbones: this setting is missing")
        assert len(others) == len(["train", "dev", "eval"])

    @pytest.mark.parametrize("empty", ["backbones: []", "train: []", "eval: {}"])
    def test_empty_lists_are_refused(self, write_yaml, empty):
        key = empty.split(":")[0]
        kept = [line for line in textwrap.dedent(VALID).splitlines() if f" {key}:" not in line]
        assert "must hold at least one entry" in error_of(
            write_yaml("\n".join([*kept, "  " + empty]))
        )

    @pytest.mark.parametrize(
        ("text", "explanation"),
        [
            (
                "a:\n  rank: 1\n  rank: 2\n",
                "line 3: not valid YAML: the key 'rank' stands on line 2",
            ),
            ("a: {}\na: {}\n", "line 2: not valid YAML: the key 'a' stands on line 1 already"),
            ("a:\n\trank: 1\n", "line 2: not valid YAML: found character '\\t'"),
            ("a: *b\n", "line 1: not valid YAML: found undefined alias 'b'"),
        ],
    )
    def test_bad_yaml_and_double_keys_name_the_line(self, write_yaml, text, explanation):
        path = write_yaml(text)
        assert error_of(path).startswith(f"{path}, {explanation}")

    @pytest.mark.parametrize("text", ["", "- a\n- b\n", "only words"])
    def test_a_file_without_experiments(self, write_yaml, text):
        with pytest.raises(ConfigError, match="expected experiments"):
            list_experiments(write_yaml(text))

    def test_a_file_that_is_missing_or_no_text(self, tmp_path):
        assert "cannot be read" in error_of(tmp_path / "none.yaml")
        (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
        assert "not a text file in UTF-8" in error_of(tmp_path / "binary.yaml")

    def test_an_experiment_that_is_no_mapping(self, write_yaml):
        path = write_yaml("\nsmall:\n")
        assert error_of(path).startswith(f"{path}, line 2, small: an experiment is a mapping")

    def test_an_unknown_experiment_lists_near_misses_and_all_names(self, write_yaml):
        explanation = error_of(write_yaml(VALID), name="smal")
        assert "'smal'; did you mean small? The file holds: small." in explanation


def test_merged_keys_work_and_their_mistakes_name_the_line_they_come_from(write_yaml):
    path = write_yaml(
        VALID.replace("small:", "small: &base").replace("train: demo", "train: demo@")
    )
    path.write_text(path.read_text() + "other: {<<: *base, rank: 8}\n")
    assert error_of(path, name="other").startswith(f"{path}, line 4, other.train.0:")


def test_dates_are_text(write_yaml):
    path = write_yaml(VALID + "      recipe: 2024-13-45\n")
    assert load_experiment("small", path).recipe == "2024-13-45"


class TestLayers:
    @pytest.mark.parametrize(
        ("written", "layers"),
        [
            ("all", "all"),
            ("0-3", (0, 1, 2, 3)),
            ("-1,3-5", (-1, 3, 4, 5)),
            ("-1-1", (-1, 0, 1)),
            ("5, 3,5", (3, 5)),
            (7, (7,)),
            ([11, -1, 5], (-1, 5, 11)),
        ],
    )
    def test_are_all_or_sorted(self, written, layers):
        assert parse_layers(written) == layers

    @pytest.mark.parametrize("written", ["", "3-1", "0..3", "1;2", "-2", [], [True], [1.0], None])
    def test_anything_else_is_a_config_error(self, written):
        with pytest.raises(ConfigError):
            parse_layers(written)

    @given(st.sets(st.integers(-1, 200), min_size=1))
    def test_written_out_and_read_back(self, layers):
        assert parse_layers(",".join(map(str, layers))) == tuple(sorted(layers))


def test_seeds_keep_their_order():
    assert parse_seeds("3,0-1") == (3, 0, 1)
    assert parse_seeds(5) == (5,)


class TestCorpusSpecs:
    @pytest.mark.parametrize(
        ("text", "spec", "split"),
        [
            ("demo", "demo", None),
            ("demo@train", "demo", "train"),
            ("corpora/gum@test", "corpora/gum", "test"),
            ("me@home/dev.txt", "me@home/dev.txt", None),
            ("me@home/gum@dev", "me@home/gum", "dev"),
        ],
    )
    def test_the_split_stands_behind_the_last_at(self, text, spec, split):
        assert parse_corpus_spec(text) == CorpusSpec(spec, split)
        assert str(parse_corpus_spec(text)) == text

    @pytest.mark.parametrize("text", ["", "@train", "demo@"])
    def test_an_empty_name_or_split_is_refused(self, text):
        with pytest.raises(ConfigError, match="is not a corpus"):
            parse_corpus_spec(text)

    @pytest.mark.parametrize("variable", ["$CORPORA", "${CORPORA}"])
    def test_variables_are_filled_in_for_loading_and_kept_for_the_manifest(
        self, variable, monkeypatch
    ):
        monkeypatch.setenv("CORPORA", "/home/me/corpora")
        spec = parse_corpus_spec(f"{variable}/gum@dev")
        assert spec.location == "/home/me/corpora/gum"
        assert str(spec) == f"{variable}/gum@dev"


class TestOverrides:
    def test_none_changes_nothing(self, small):
        assert with_overrides(small, rank=None, layers=None) == small

    def test_values_may_be_text_as_on_the_command_line(self, small):
        changed = with_overrides(small, layers="-1,3", seeds="0,2", train="demo@train")
        assert (changed.layers, changed.seeds) == ((-1, 3), (0, 2))
        assert changed.train == (CorpusSpec("demo", "train"),)
        assert changed.dev == small.dev

    def test_corpora_to_evaluate_on_become_a_table_each(self, small):
        changed = with_overrides(small, eval=["demo", "folder/ai.txt@test"])
        assert changed.eval == {
            "demo": (CorpusSpec("demo"),),
            "ai@test": (CorpusSpec("folder/ai.txt", "test"),),
        }

    def test_tables_of_one_name_are_refused(self, small):
        with pytest.raises(ConfigError, match="--eval: two of the corpora share a file name"):
            with_overrides(small, eval=["a/dev.txt", "b/dev.txt"])

    @pytest.mark.parametrize(
        ("change", "explanation"),
        [
            ({"rank": 0}, "--rank: must be greater than or equal to 1; found 0."),
            ({"max_span": "x"}, "--max-span: must be a valid integer; found 'x'."),
            ({"layers": "9-1"}, "--layers: the range '9-1' runs backwards; write 1-9."),
            ({"backbones": ["a", "a"]}, "--backbone: 'a' stands twice; remove one."),
        ],
    )
    def test_mistakes_name_the_option(self, small, change, explanation):
        with pytest.raises(ConfigError) as caught:
            with_overrides(small, **change)
        assert str(caught.value) == explanation

    def test_every_setting_has_an_option_and_a_text_for_help(self):
        for name, field in LayerSweepSettings.model_fields.items():
            assert option_name(name).startswith("--")
            assert field.description


def test_settings_survive_the_manifest(small):
    changed = with_overrides(small, layers="0-2", train=["demo@train", "demo@dev"], epochs=3)
    assert LayerSweepSettings.model_validate_json(changed.model_dump_json()) == changed


def test_settings_cannot_be_changed_unchecked(small):
    with pytest.raises(ValueError, match="frozen"):
        small.rank = 0
