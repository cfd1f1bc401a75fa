"""The command itself, end to end, on a real encoder and the bundled corpus."""

import json
import subprocess
import sys

import pytest

from analyses.experiments import LayerSweepSettings, load_experiment, with_overrides
from analyses.layer_sweep import run, summary
from analyses.results import read_table
from mentionprobe import Backbone
from mentionprobe.errors import UnknownNameError


@pytest.fixture(scope="module")
def settings() -> LayerSweepSettings:
    return with_overrides(
        load_experiment("quickstart"),
        backbones=["minilm-l6"],
        layers="-1,2",
        seeds="0,1",
        rank=8,
        epochs=1,
        max_train_documents=60,
        max_dev_documents=30,
    )


@pytest.fixture(scope="module")
def swept(minilm: Backbone, settings: LayerSweepSettings, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    return out, *run(settings, out, backbones=[minilm], store=out / "store")


def test_the_table_has_a_row_for_every_layer_seed_decoding_and_threshold(swept):
    out, table, _ = swept
    assert len(table) == 2 * 2 * 2 * 2
    assert set(table.layer) == {-1, 2}
    assert set(table.seed) == {0, 1}
    assert (table.tp + table.fn == 807).all()  # the mentions of the test split
    assert read_table(out / "scores.csv").f1.tolist() == table.f1.tolist()


def test_figures_and_manifest_stand_beside_it(swept):
    out, _, manifest = swept
    for name in ("layer_sweep.png", "layer_sweep.pdf", "layer_sweep.html"):
        assert (out / name).stat().st_size > 10_000
    written = json.loads((out / "manifest.json").read_text())
    assert written["backbones"][0]["fingerprint"] == manifest["backbones"][0]["fingerprint"]
    assert written["corpora"]["eval demo"]["mentions"] == 807
    assert len(written["backbones"][0]["dev_f1"]) == 4


def test_a_second_run_reads_the_store_and_gives_the_same_numbers(
    swept, minilm, settings, tmp_path, monkeypatch
):
    out, table, _ = swept

    def refuse(*_, **__):
        raise AssertionError("the model was run again")

    monkeypatch.setattr(Backbone, "run", refuse)
    again, _ = run(settings, tmp_path, backbones=[minilm], store=out / "store")
    assert again.f1.tolist() == table.f1.tolist()


def test_the_summary_shows_the_layer_that_is_best_on_dev(swept):
    _, table, manifest = swept
    shown = summary(table, manifest)
    assert shown.row_count == 1
    best = max(manifest["backbones"][0]["dev_f1"], key=lambda entry: entry["f1"])["layer"]
    assert f"(layer {best})" in str(next(iter(shown.columns[3].cells)))


def test_a_wrong_recipe_shows_before_any_work(settings, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        run(with_overrides(settings, recipe="papr"), tmp_path)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "analyses.layer_sweep", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


def test_help_explains_every_option():
    shown = command("--help").stdout
    for option in (
        "--experiment",
        "--backbone",
        "--train",
        "--eval",
        "--layers",
        "--seeds",
        "--out",
    ):
        assert option in shown
    assert "-1 is the" in shown


def test_a_mistake_is_one_message_and_no_traceback():
    done = command("--layers", "a-b")
    assert done.returncode == 2
    assert "--layers" in done.stderr
    assert "Traceback" not in done.stderr
