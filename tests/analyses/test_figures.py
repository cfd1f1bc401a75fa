import base64
import json
import math
import re

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from analyses.figures import layer_curve_interactive, layer_curve_static
from analyses.results import ResultsError, read_table, write_table

TABLES = {
    "as_swept": {},
    "single_layer": {"layers": [10]},
    "embedding_alone": {"layers": [-1]},
    "without_embedding": {"layers": [0, 5, 11]},
    "several_seeds": {"seeds": (0, 1, 2)},
    "two_depths": {"depths": {"smollm2-135m": 30, "minilm-l6": 6}, "corpora": ("gum", "wnut17")},
    "odd_number_of_panels": {"layers": [-1, 0, 1], "corpora": ("a", "b", "c", "d", "e")},
    "more_backbones_than_colours": {"depths": {f"model-{i}": 3 for i in range(8)}},
}


@pytest.fixture(params=TABLES)
def table(request, make_table):
    return make_table(**TABLES[request.param])


def draw_static(table, folder):
    layer_curve_static(table, folder / "curve.png", folder / "curve.pdf")
    return (folder / "curve.png").read_bytes(), (folder / "curve.pdf").read_bytes()


def draw_interactive(table, folder):
    layer_curve_interactive(table, folder / "curve.html")
    return (folder / "curve.html").read_text(encoding="utf-8")


def traces_of(page):
    """The traces as the browser gets them: the first list given to Plotly.newPlot."""
    start = re.search(r'Plotly\.newPlot\(\s*"layer-curve",\s*', page)
    assert start is not None
    return json.JSONDecoder().raw_decode(page, start.end())[0]


def numbers(values):
    """Numbers of a trace, which plotly may have packed."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


def mean_traces(page):
    return [trace for trace in traces_of(page) if "name" in trace]


@pytest.mark.filterwarnings("error")
class TestStatic:
    def test_is_drawn(self, table, tmp_path):
        png, pdf = draw_static(table, tmp_path)
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000
        assert pdf.startswith(b"%PDF")
        assert len(pdf) > 5_000

    def test_is_drawn_without_intervals(self, make_table, tmp_path):
        draw_static(make_table().assign(f1_low=math.nan, f1_high=math.nan), tmp_path)

    def test_the_same_table_gives_the_same_bytes(self, make_table, tmp_path):
        table = make_table(layers=[-1, 0, 1])
        first = draw_static(table, tmp_path / "first")
        assert draw_static(table, tmp_path / "second") == first

    def test_text_in_the_pdf_stays_text(self, make_table, tmp_path):
        _, pdf = draw_static(make_table(layers=[-1, 0, 1]), tmp_path)
        assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
        assert b"/Type3" not in pdf

    def test_leaves_no_style_behind(self, make_table, tmp_path):
        before = {name: matplotlib.rcParams[name] for name in matplotlib.rcParams}
        draw_static(make_table(layers=[0, 1]), tmp_path)
        assert {name: matplotlib.rcParams[name] for name in matplotlib.rcParams} == before
        assert not pyplot.get_fignums()


@pytest.mark.filterwarnings("error")
class TestInteractive:
    def test_works_without_a_network(self, table, tmp_path):
        page = draw_interactive(table, tmp_path)
        assert not re.search(r"<script[^>]*\ssrc\s*=", page)
        assert not re.search(r"<link[^>]*\shref\s*=", page)
        assert "Plotly.newPlot" in page

    def test_the_same_table_gives_the_same_page(self, make_table, tmp_path):
        table = make_table(layers=[-1, 0, 1])
        assert draw_interactive(table, tmp_path) == draw_interactive(table, tmp_path)

    def test_fits_the_width_of_a_phone(self, make_table, tmp_path):
        page = draw_interactive(make_table(layers=[0, 1], corpora=("a", "b")), tmp_path)
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
        narrow = re.search(r"const wide = .*?, narrow = (\{.*\});", page)
        assert narrow is not None
        layout = json.loads(narrow[1])
        assert layout["xaxis.domain"] == layout["xaxis2.domain"] == [0.0, 1.0]
        assert layout["yaxis2.domain"][1] < layout["yaxis.domain"][0]

    def test_the_embedding_stands_apart_and_its_value_is_carried_through(
        self, make_table, tmp_path
    ):
        page = draw_interactive(make_table(layers=[-1, 0, 1, 2]), tmp_path)
        embedding, layers = (numbers(trace["x"]) for trace in mean_traces(page)[:2])
        assert layers == [0, 1, 2]
        assert len(embedding) == 1
        assert embedding[0] < -1
        (dotted,) = [t for t in traces_of(page) if t["line"].get("dash") == "dot"]
        assert numbers(dotted["x"])[0] < embedding[0]
        assert numbers(dotted["x"])[1] > layers[-1]
        assert numbers(dotted["y"]) == numbers(mean_traces(page)[0]["y"]) * 2

    def test_pointing_shows_the_numbers_of_the_row(self, make_table, tmp_path):
        table = make_table(layers=[-1, 7])
        row = table[table["layer"].eq(7) & table["decoding"].eq("threshold")].iloc[0]
        text = mean_traces(draw_interactive(table, tmp_path))[1]["hovertext"][0]
        for shown in (
            "smollm2-135m, layer 7",
            f"F1 {row['f1']:.3f} (95 %: {row['f1_low']:.3f} to {row['f1_high']:.3f})",
            f"P {row['precision']:.3f}, R {row['recall']:.3f}, AP {row['average_precision']:.3f}",
            f"threshold {row['threshold']:.3f} (dev)",
            "demo, n = 120 documents",
        ):
            assert shown in text

    def test_a_missing_interval_is_named(self, make_table, tmp_path):
        table = make_table(layers=[3]).assign(f1_low=math.nan, f1_high=math.nan)
        assert "(no interval)" in mean_traces(draw_interactive(table, tmp_path))[0]["hovertext"][0]

    def test_several_seeds_are_a_mean_and_their_dots(self, make_table, tmp_path):
        table = make_table(layers=[3], seeds=(0, 1, 4))
        page = draw_interactive(table, tmp_path)
        assert "Lines: mean of 3 seeds; small dots: single seeds." in page
        rows = table[table["threshold_source"].eq("dev") & table["decoding"].eq("threshold")]
        assert f"F1 {rows['f1'].mean():.3f}" in mean_traces(page)[0]["hovertext"][0]
        dots = next(t for t in traces_of(page) if "name" not in t and "hovertext" in t)
        assert ["seed 4" in text for text in dots["hovertext"]] == [False, False, True]

    def test_greedy_waits_in_the_legend(self, make_table, tmp_path):
        visible = {
            trace["legendgroup"]: trace["visible"]
            for trace in traces_of(draw_interactive(make_table(layers=[0, 1]), tmp_path))
        }
        assert visible == {
            "smollm2-135m: threshold from dev": True,
            "smollm2-135m: threshold 0.5": True,
            "smollm2-135m: greedy, threshold from dev": "legendonly",
        }

    def test_a_line_stands_once_in_the_legend(self, table, tmp_path):
        shown = [t["name"] for t in traces_of(draw_interactive(table, tmp_path)) if t["showlegend"]]
        assert len(shown) == len(set(shown)) == 3 * table["backbone"].nunique()

    def test_names_cannot_break_the_page(self, make_table, tmp_path):
        table = make_table(layers=[0]).assign(train_corpus="<script src=x>")
        assert "<script src=x>" not in draw_interactive(table, tmp_path)


def test_only_fixed_thresholds_of_a_half_are_drawn(make_table, tmp_path):
    table = make_table(layers=[0, 1])
    table = table[table["decoding"].eq("threshold") & table["threshold_source"].eq("fixed")]
    draw_static(table, tmp_path)
    with pytest.raises(ResultsError, match="no row with a threshold chosen on dev"):
        draw_static(table.assign(threshold=0.3), tmp_path)


@pytest.mark.parametrize("column", ["probe", "rank", "recipe", "train_corpus", "split"])
def test_several_settings_are_not_averaged(make_table, tmp_path, column):
    table = make_table(layers=[0, 1])
    table[column] = table[column].where(table["layer"].eq(0), table[column] * 2)
    with pytest.raises(ResultsError, match=f"holds several (values|splits) of .*{column}"):
        draw_static(table, tmp_path)


def test_a_table_from_a_file_draws_the_same(make_table, tmp_path):
    table = make_table(layers=[-1, 0, 1])
    write_table(table, tmp_path / "table.csv")
    assert draw_static(read_table(tmp_path / "table.csv"), tmp_path) == draw_static(table, tmp_path)
