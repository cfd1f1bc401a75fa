import json
import math

import numpy as np
import pandas as pd
import pytest

from analyses.results import (
    COLUMNS,
    ResultsError,
    package_versions,
    read_table,
    write_manifest,
    write_table,
)

CONTRACT = (
    "backbone, probe, layer, rank, seed, recipe, train_corpus, eval_corpus, split, decoding, "
    "threshold, threshold_source, n_documents, tp, fp, fn, unreachable, precision, recall, f1, "
    "f1_low, f1_high, average_precision"
)


def test_the_columns_are_those_of_the_contract():
    assert ", ".join(COLUMNS) == CONTRACT


class TestTable:
    def test_survives_the_file_value_for_value(self, make_table, tmp_path):
        table = make_table(seeds=(0, 1)).sample(frac=1, axis="columns", random_state=0)
        write_table(table, tmp_path / "table.csv")
        back = read_table(tmp_path / "table.csv")
        assert tuple(back.columns) == COLUMNS
        pd.testing.assert_frame_equal(back, table[list(COLUMNS)], check_exact=True)

    def test_rows_may_be_dictionaries_and_the_folder_new(self, make_table, tmp_path):
        table = make_table(layers=[0])
        write_table(table.to_dict("records"), tmp_path / "new" / "table.csv")
        assert len(read_table(tmp_path / "new" / "table.csv")) == len(table)

    def test_missing_intervals_and_splits_stay_missing_and_names_like_na_stay_text(
        self, make_table, tmp_path
    ):
        table = make_table(layers=[0], corpora=["NA"])
        write_table(table.assign(f1_low=math.nan, split=None), tmp_path / "table.csv")
        back = read_table(tmp_path / "table.csv")
        assert set(back["f1_low"].isna()) == {True}
        assert set(back["eval_corpus"]) == {"NA"}
        assert set(back["split"]) == {""}

    def test_a_failed_write_leaves_the_old_table(self, make_table, tmp_path, monkeypatch):
        path = tmp_path / "table.csv"
        write_table(make_table(layers=[0]), path)
        before = path.read_bytes()
        monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            write_table(make_table(layers=[1]), path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_missing_and_unknown_columns_are_named(self, make_table, tmp_path):
        table = make_table(layers=[0]).drop(columns="f1").assign(colour="red")
        with pytest.raises(ResultsError, match="missing: f1; columns unknown: colour"):
            write_table(table, tmp_path / "table.csv")
        table.to_csv(tmp_path / "other.csv", index=False)
        with pytest.raises(
            ResultsError, match=r"other.csv .* missing: f1; columns unknown: colour"
        ):
            read_table(tmp_path / "other.csv")

    @pytest.mark.parametrize(
        ("column", "value", "explanation"),
        [
            ("tp", 1.5, "column 'tp' must hold whole numbers"),
            ("layer", None, "column 'layer' must hold whole numbers"),
            ("f1", "high", "column 'f1' must hold numbers"),
            ("decoding", "viterbi", r"decoding must be one of greedy, threshold; .*'viterbi'"),
            ("threshold_source", "test", "threshold_source must be one of dev, fixed"),
        ],
    )
    def test_wrong_values_are_refused(self, make_table, tmp_path, column, value, explanation):
        table = make_table(layers=[0])
        table[column] = value
        with pytest.raises(ResultsError, match=explanation):
            write_table(table, tmp_path / "table.csv")

    def test_a_cell_measured_twice_is_refused(self, make_table, tmp_path):
        table = make_table(layers=[0])
        with pytest.raises(ResultsError, match="3 rows measure a cell that another row holds"):
            write_table(pd.concat([table, table.assign(f1=0.5)]), tmp_path / "table.csv")

    def test_a_missing_or_foreign_file_says_so(self, tmp_path):
        with pytest.raises(ResultsError, match="does not exist; run the analysis"):
            read_table(tmp_path / "none.csv")
        (tmp_path / "empty.csv").write_text("")
        with pytest.raises(ResultsError, match=r"empty.csv is no CSV table"):
            read_table(tmp_path / "empty.csv")


class TestManifest:
    def test_is_json(self, tmp_path):
        manifest = {"experiment": "quickstart", "seeds": [0], "note": "Zürich"}
        write_manifest(tmp_path / "manifest.json", manifest)
        text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
        assert json.loads(text) == manifest
        assert "Zürich" in text

    @pytest.mark.parametrize("value", [math.nan, np.int64(1), {1, 2}])
    def test_what_json_cannot_hold_leaves_no_file(self, tmp_path, value):
        with pytest.raises((TypeError, ValueError)):
            write_manifest(tmp_path / "manifest.json", {"value": value})
        assert not list(tmp_path.iterdir())


def test_versions_name_what_the_numbers_depend_on_and_nobody():
    versions = package_versions()
    assert versions["pandas"] == pd.__version__
    assert versions["numpy"] == np.__version__
    assert {"python", "platform", "torch"} <= set(versions)
    assert not any("/" in value or "\\" in value for value in versions.values())
