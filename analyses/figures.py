"""Layer curves: F1 over the layers of a backbone, drawn from a results table alone.

A panel is an evaluation corpus; a colour and marker is a backbone. The embedding (layer -1) stands
apart at the left, and a dotted line carries its value through the panel: what lies above is what
the layers add. With several seeds a line is their mean, the dots are the single seeds, and the
band is the mean of the seeds' 95 % intervals.
"""

import html
import json
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path
from string import Template
from typing import Any, Literal

import matplotlib
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analyses.experiments import EMBEDDING_LAYER
from analyses.results import ResultsError


@dataclass(frozen=True)
class Variant:
    """One way of decoding: which rows of the table it is, and how its lines look."""

    label: str
    decoding: str
    threshold_source: str
    linestyle: Literal["-", "--", "-."]
    """As matplotlib calls it."""
    dash: str
    """The same, as plotly calls it."""
    band_opacity: float
    hollow: bool
    """Whether its markers are outlines."""

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows decoded this way; of fixed thresholds only 0.5."""
        wanted = table["decoding"].eq(self.decoding)
        wanted &= table["threshold_source"].eq(self.threshold_source)
        if self.threshold_source == "fixed":
            wanted &= table["threshold"].eq(0.5)
        return table.loc[wanted]


TUNED = Variant("threshold from dev", "threshold", "dev", "-", "solid", 0.22, False)
HALF = Variant("threshold 0.5", "threshold", "fixed", "--", "dash", 0.10, True)
GREEDY = Variant("greedy, threshold from dev", "greedy", "dev", "-.", "dashdot", 0.10, False)


def layer_curve_static(table: pd.DataFrame, path_png: Path, path_pdf: Path) -> None:
    """Draws the layer curves for print, as PNG (200 dpi) and PDF; the same table, the same bytes.

    Decoded by threshold: solid lines where it was chosen on dev, dashed at 0.5.

    Raises `ResultsError` for a table with nothing to draw, or with several settings mixed.
    """
    curves = _Curves(table, (TUNED, HALF))
    for path in (path_png, path_pdf):
        path.parent.mkdir(parents=True, exist_ok=True)
    # A figure made without pyplot, settings in a context: nothing stays behind in matplotlib.
    with matplotlib.rc_context(_print_style()):
        figure = _draw_static(curves)
        figure.savefig(path_png, format="png", dpi=200)
        figure.savefig(path_pdf, format="pdf", metadata={"CreationDate": None})


def layer_curve_interactive(table: pd.DataFrame, path_html: Path) -> None:
    """Draws the layer curves as one page that needs no network and can be read on a phone.

    Decoding without overlaps (greedy) is hidden until its legend entry is clicked.

    Raises `ResultsError` for a table with nothing to draw, or with several settings mixed.
    """
    curves = _Curves(table, (TUNED, HALF, GREEDY))
    figure = _draw_interactive(curves)
    chart = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        div_id="layer-curve",  # plotly's own would be random
        config={
            "responsive": True,
            "displaylogo": False,
            "modeBarButtons": [["toImage", "resetScale2d"]],
        },
        post_script=_ARRANGE.substitute(
            wide=json.dumps(_arrangement(curves, is_wide=True)),
            narrow=json.dumps(_arrangement(curves, is_wide=False)),
            limit=_NARROW_PX,
        ),
    )
    title, caption = html.escape(curves.title), html.escape(curves.caption)
    path_html.parent.mkdir(parents=True, exist_ok=True)
    path_html.write_text(
        _PAGE.substitute(title=title, caption=caption, chart=chart), encoding="utf-8"
    )


# What both figures show.


@dataclass(frozen=True)
class _Look:
    """How a backbone is told from the others, in colour and in grey."""

    colour: str
    marker: str
    """As matplotlib calls it."""
    symbol: str
    """The same, as plotly calls it."""


_LOOKS = [
    _Look(to_hex(colour), marker, symbol)
    for colour, marker, symbol in zip(
        sns.color_palette("colorblind", 6),
        ("o", "s", "D", "^", "v", "X"),
        ("circle", "square", "diamond", "triangle-up", "triangle-down", "x"),
        strict=True,
    )
]


@dataclass(frozen=True)
class _Line:
    """One backbone on one corpus, decoded one way: rows of the table, a row a layer and seed."""

    corpus: str
    backbone: str
    variant: Variant
    rows: pd.DataFrame

    @cached_property
    def mean(self) -> pd.DataFrame:
        """A row a layer, in order; every number is the mean over seeds."""
        return pd.DataFrame(self.rows.groupby("layer", as_index=False).mean(numeric_only=True))

    @property
    def n_seeds(self) -> int:
        return len(self.rows["seed"].unique())

    @property
    def runs(self) -> Iterator[pd.DataFrame]:
        """The means of the embedding, and those of the layers: no line joins the two."""
        is_embedding = self.mean["layer"].eq(EMBEDDING_LAYER)
        runs = (self.mean.loc[is_embedding], self.mean.loc[~is_embedding])
        return (run for run in runs if len(run))

    @property
    def baseline(self) -> float:
        """F1 of the embedding; NaN where it was not measured."""
        return self.mean.loc[self.mean["layer"].eq(EMBEDDING_LAYER), "f1"].mean()


class _LayerAxis:
    """Where layers stand from left to right: by their number, the embedding set apart."""

    def __init__(self, layers: list[int]) -> None:
        measured = sorted(set(layers))
        self.layers = [layer for layer in measured if layer != EMBEDDING_LAYER]
        first, last = (self.layers[0], self.layers[-1]) if self.layers else (0, 0)
        self.gap = max(1.5, 0.12 * (last - first))
        self.embedding_x = first - self.gap
        embedding = [self.embedding_x] if EMBEDDING_LAYER in measured else []
        self.positions = [*embedding, *map(float, self.layers)]

    def place(self, table: pd.DataFrame) -> list[float]:
        """The position of each row; the embeddings of several backbones stand side by side."""
        backbones = table["backbone"].unique().tolist()
        step, middle = 0.6 * self.gap / len(backbones), (len(backbones) - 1) / 2
        return [
            self.embedding_x + step * (backbones.index(backbone) - middle)
            if layer == EMBEDDING_LAYER
            else float(layer)
            for backbone, layer in zip(table["backbone"], table["layer"], strict=True)
        ]

    @property
    def ticks(self) -> dict[float, str]:
        """Labels by position: the embedding, and layers in at most eight steps."""
        ticks = {self.embedding_x: "emb"} if self.embedding_x in self.positions else {}
        if self.layers:
            first, last = self.layers[0], self.layers[-1]
            step = next(size for size in (1, 2, 5, 10, 20, 50, 100) if last - first <= 8 * size)
            ticks |= {float(n): str(n) for n in range(first, last + 1) if n % step == 0}
        return ticks

    @property
    def limits(self) -> tuple[float, float]:
        left, right = self.positions[0], self.positions[-1]
        margin = 0.4 * self.gap
        return left - margin, right + margin


class _Curves:
    """The lines, the axes they share, and what is said about them."""

    def __init__(self, table: pd.DataFrame, variants: tuple[Variant, ...]) -> None:
        _check_one_setting(table)
        self.axis = _LayerAxis(table["layer"].tolist())
        self.table = table.assign(x=self.axis.place(table))
        self.corpora: list[str] = table["eval_corpus"].unique().tolist()
        self.looks = dict(zip(table["backbone"].unique().tolist(), cycle(_LOOKS), strict=False))
        self.lines = [line for variant in variants for line in self._lines(variant)]
        if not self.lines:
            raise ResultsError(
                "The table holds no row with a threshold chosen on dev or fixed at 0.5, so there "
                "is nothing to draw; run python -m analyses.layer_sweep to write one that does."
            )

    def _lines(self, variant: Variant) -> Iterator[_Line]:
        rows = variant.rows(self.table)
        for corpus in self.corpora:
            for backbone in self.looks:
                own = rows.loc[rows["eval_corpus"].eq(corpus) & rows["backbone"].eq(backbone)]
                if len(own):
                    yield _Line(corpus, backbone, variant, own)

    @property
    def title(self) -> str:
        first = self.table.iloc[0]
        return (
            f"Mentions by layer: {first['probe']} probe of rank {first['rank']}, "
            f"trained on {first['train_corpus']}"
        )

    @property
    def caption(self) -> str:
        recipe = f"Recipe: {self.table['recipe'].iloc[0]}."
        n_seeds = max(line.n_seeds for line in self.lines)
        if n_seeds == 1:
            return f"{recipe} Bands and bars: 95 % interval. Dotted: the embedding."
        return (
            f"{recipe} Lines: mean of {n_seeds} seeds; small dots: single seeds. Bands and "
            "bars: mean of the seeds' 95 % intervals. Dotted: the embedding."
        )

    def panel_title(self, corpus: str) -> str:
        n_documents = self.table.loc[self.table["eval_corpus"].eq(corpus), "n_documents"].iloc[0]
        return f"{corpus} ({n_documents:,} documents)"

    @property
    def f1_limits(self) -> tuple[float, float]:
        """From 0 to the next tenth above everything drawn."""
        highest = max(line.rows[["f1", "f1_high"]].max().max() for line in self.lines)
        return 0.0, min(1.0, math.ceil(10 * highest + 0.2) / 10)

    @property
    def n_columns(self) -> int:
        """Columns of panels where there is room: up to three in a row, more in a square."""
        n_panels = len(self.corpora)
        return n_panels if n_panels <= 3 else math.ceil(math.sqrt(n_panels))


def _check_one_setting(table: pd.DataFrame) -> None:
    """Rows of several settings would be averaged into lines that nobody measured."""
    for column in ("probe", "rank", "recipe", "train_corpus"):
        values = table[column].unique().tolist()
        if len(values) > 1:
            raise ResultsError(
                f"The table holds several values of {column}: {values}. Draw one at a time: "
                f"table[table[{column!r}] == {values[0]!r}]."
            )
    for corpus, rows in table.groupby("eval_corpus"):
        splits = rows["split"].unique().tolist()
        if len(splits) > 1:
            raise ResultsError(
                f"The table holds several splits of {corpus!r}: {splits}. Draw one at a time: "
                f"table[table['split'] == {splits[0]!r}]."
            )


# The figure for print.


def _print_style() -> dict[Any, Any]:
    return {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so every machine has it
        "pdf.fonttype": 42,  # text stays text
    }


def _draw_static(curves: _Curves) -> Figure:
    n_panels, n_columns = len(curves.corpora), curves.n_columns
    n_rows = math.ceil(n_panels / n_columns)
    width = 6.0 if n_columns == 1 else 3.4 * n_columns
    figure = Figure(figsize=(width, 1.4 + 2.5 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).flatten()
    for index, ax in enumerate(axes):
        if index >= n_panels:
            ax.set_visible(False)
            continue
        _draw_panel(ax, curves, curves.corpora[index])
        if index % n_columns == 0:
            ax.set_ylabel("F1")
        if index + n_columns >= n_panels:  # none below it
            ax.set_xlabel("layer")
            ax.tick_params(labelbottom=True)
    sns.despine(figure)
    figure.suptitle(textwrap.fill(curves.title, int(12 * width)), size="medium")
    _draw_legend(figure, curves, width)
    return figure


def _draw_panel(ax: Axes, curves: _Curves, corpus: str) -> None:
    for line in curves.lines:
        if line.corpus == corpus:
            _draw_line(ax, line, curves.looks[line.backbone])
    ax.set_title(textwrap.fill(curves.panel_title(corpus), 40))
    ax.set(xlim=curves.axis.limits, ylim=curves.f1_limits)
    ax.set_xticks(list(curves.axis.ticks), list(curves.axis.ticks.values()))


def _draw_line(ax: Axes, line: _Line, look: _Look) -> None:
    colour, variant = look.colour, line.variant
    for run in line.runs:
        x, f1, low, high = (run[name] for name in ("x", "f1", "f1_low", "f1_high"))
        ax.plot(
            x,
            f1,
            color=colour,
            linestyle=variant.linestyle,
            linewidth=1.2,
            marker=look.marker,
            markersize=3,
            markerfacecolor="white" if variant.hollow else colour,
        )
        if len(run) > 1:
            ax.fill_between(x, low, high, color=colour, alpha=variant.band_opacity, linewidth=0)
        else:
            ax.vlines(x, low, high, color=colour, alpha=0.6, linewidth=1)
    if line.n_seeds > 1:
        ax.scatter(line.rows["x"], line.rows["f1"], s=2, color=colour, alpha=0.5, linewidth=0)
    if variant is TUNED:
        ax.axhline(line.baseline, color=colour, linestyle=":", linewidth=0.9)


def _draw_legend(figure: Figure, curves: _Curves, width: float) -> None:
    """Below the panels: which line style is which threshold, which colour which backbone."""
    variants = [
        Line2D([], [], color="0.3", linestyle=variant.linestyle, label=variant.label)
        for variant in dict.fromkeys(line.variant for line in curves.lines)
    ]
    backbones = [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=4, label=name)
        for name, look in curves.looks.items()
    ]
    # In inches: a character of this size, and the line and the space beside a label.
    widest = max(0.07 * len(str(handle.get_label())) + 0.4 for handle in variants + backbones)
    legend = figure.legend(
        handles=variants + backbones,
        loc="outside lower center",
        ncols=max(1, int(width / widest)),
        frameon=False,
        title=textwrap.fill(curves.caption, int(14 * width)),
        title_fontsize="small",
    )
    legend.get_title().set_multialignment("center")


# The interactive figure.

_PANEL_PX, _GAP_PX, _TOP_PX, _BOTTOM_PX, _LEGEND_ENTRY_PX = 300, 85, 45, 55, 30
_NARROW_PX = 800

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { max-width: 1280px; margin: 1rem auto; padding: 0 0.75rem; font: 15px/1.45 sans-serif; }
h1 { font-size: 1.2rem; margin: 0; }
p { color: #555; margin: 0.4rem 0 0.8rem; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$caption Click a legend entry to hide or show its line.</p>
$chart
</body>
</html>
""")

_ARRANGE = Template("""
const wide = $wide, narrow = $narrow;
let arranged = wide;
function arrange() {
  const wanted = window.innerWidth < $limit ? narrow : wide;
  if (wanted !== arranged) Plotly.relayout("{plot_id}", wanted);
  arranged = wanted;
}
window.addEventListener("resize", arrange);
arrange();
""")


def _draw_interactive(curves: _Curves) -> go.Figure:
    figure = go.Figure(layout={"template": "plotly_white", "legend": {"font": {"size": 11}}})
    for index, corpus in enumerate(curves.corpora):
        _add_panel(figure, curves, index, corpus)
    in_legend: set[Any] = set()
    for line in curves.lines:
        for trace in _traces(line, curves):
            # All panels share an entry of the legend: a click hides or shows the line in each.
            trace.showlegend = trace.name is not None and trace.name not in in_legend
            in_legend.add(trace.name)
            figure.add_trace(trace)
    for key, value in _arrangement(curves, is_wide=True).items():
        figure.layout[key] = value
    return figure


def _add_panel(figure: go.Figure, curves: _Curves, index: int, corpus: str) -> None:
    number = _axis_number(index)
    ticks = curves.axis.ticks
    x_axis = {
        "title": {"text": "layer", "standoff": 5},
        "range": curves.axis.limits,
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
        "zeroline": False,
        "anchor": f"y{number}",
    }
    y_axis = {"title": {"text": "F1"}, "range": curves.f1_limits, "anchor": f"x{number}"}
    if index:
        x_axis["matches"], y_axis["matches"] = "x", "y"
    figure.update_layout({f"xaxis{number}": x_axis, f"yaxis{number}": y_axis})
    figure.add_annotation(
        text=f"<b>{html.escape(curves.panel_title(corpus))}</b>",
        xref=f"x{number} domain",
        yref=f"y{number} domain",
        x=0,
        y=1,
        yanchor="bottom",
        showarrow=False,
    )


def _axis_number(index: int) -> str:
    """What plotly puts behind `x` and `xaxis` for the panel of this index."""
    return str(index + 1) if index else ""


def _traces(line: _Line, curves: _Curves) -> list[go.Scatter]:
    """All that is drawn of a line; what belongs into the legend has a name."""
    look, number = curves.looks[line.backbone], _axis_number(curves.corpora.index(line.corpus))
    traces = [_band_trace(run, line, look) for run in line.runs if len(run) > 1]
    if line.variant is TUNED:
        traces.append(_baseline_trace(line, look, curves.axis))
    if line.n_seeds > 1:
        traces.append(_seeds_trace(line, look))
    traces += [_mean_trace(run, line, look) for run in line.runs]
    for trace in traces:
        trace.update(
            legendgroup=_legend_label(line),
            visible="legendonly" if line.variant is GREEDY else True,
            xaxis=f"x{number}",
            yaxis=f"y{number}",
        )
    return traces


def _legend_label(line: _Line) -> str:
    return f"{line.backbone}: {line.variant.label}"


def _mean_trace(run: pd.DataFrame, line: _Line, look: _Look) -> go.Scatter:
    variant = line.variant
    of_what = f"mean of {line.n_seeds} seeds" if line.n_seeds > 1 else None
    trace = go.Scatter(
        name=_legend_label(line),
        x=run["x"],
        y=run["f1"],
        mode="lines+markers",
        line={"color": look.colour, "dash": variant.dash, "width": 1.8},
        marker={
            "symbol": look.symbol,
            "size": 6,
            "color": "white" if variant.hollow else look.colour,
            "line": {"color": look.colour, "width": 1.2},
        },
        hovertext=_hover_texts(run, line, of_what),
        hoverinfo="text",
    )
    if len(run) == 1:  # too short for a band
        above, below = run["f1_high"] - run["f1"], run["f1"] - run["f1_low"]
        trace.error_y = {"array": above, "arrayminus": below, "color": look.colour, "width": 0}
    return trace


def _band_trace(run: pd.DataFrame, line: _Line, look: _Look) -> go.Scatter:
    """The intervals as an area: along the upper ends, and back along the lower ones."""
    known = run.dropna(subset=["f1_low", "f1_high"])
    red, green, blue = (round(255 * part) for part in to_rgb(look.colour))
    return go.Scatter(
        x=[*known["x"], *known["x"][::-1]],
        y=[*known["f1_high"], *known["f1_low"][::-1]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{line.variant.band_opacity})",
        hoverinfo="skip",
    )


def _baseline_trace(line: _Line, look: _Look, axis: _LayerAxis) -> go.Scatter:
    return go.Scatter(
        x=axis.limits,
        y=[line.baseline] * 2,
        mode="lines",
        line={"color": look.colour, "dash": "dot", "width": 1.2},
        hoverinfo="skip",
    )


def _seeds_trace(line: _Line, look: _Look) -> go.Scatter:
    return go.Scatter(
        x=line.rows["x"],
        y=line.rows["f1"],
        mode="markers",
        marker={"color": look.colour, "size": 3, "opacity": 0.5},
        hovertext=_hover_texts(line.rows, line),
        hoverinfo="text",
    )


def _hover_texts(rows: pd.DataFrame, line: _Line, of_what: str | None = None) -> list[str]:
    """What pointing at each of the rows shows; `of_what` stands in place of the seed."""
    return [
        _hover_text(row, line, of_what or f"seed {row['seed']:.0f}")
        for row in rows.to_dict("records")
    ]


def _hover_text(row: dict[str, Any], line: _Line, of_what: str) -> str:
    layer = "embedding" if row["layer"] == EMBEDDING_LAYER else f"layer {row['layer']:.0f}"
    interval = f"95 %: {row['f1_low']:.3f} to {row['f1_high']:.3f}"
    return "<br>".join(
        [
            f"<b>{line.backbone}, {layer}</b>",
            f"{line.variant.decoding} decoding, {of_what}",
            f"F1 {row['f1']:.3f} ({'no interval' if math.isnan(row['f1_low']) else interval})",
            f"P {row['precision']:.3f}, R {row['recall']:.3f}, AP {row['average_precision']:.3f}",
            f"threshold {row['threshold']:.3f} ({line.variant.threshold_source})",
            f"{line.corpus}, n = {row['n_documents']:.0f} documents",
        ]
    )


def _arrangement(curves: _Curves, *, is_wide: bool) -> dict[str, Any]:
    """Where panels and legend stand, as changes to the layout.

    Wide: panels in a grid, legend at the right. Narrow: one below the other, legend at the end.
    """
    n_panels = len(curves.corpora)
    n_columns = min(curves.n_columns, 2) if is_wide else 1
    n_rows = math.ceil(n_panels / n_columns)
    n_entries = len({_legend_label(line) for line in curves.lines})
    bottom = _BOTTOM_PX if is_wide else _BOTTOM_PX + _LEGEND_ENTRY_PX * n_entries
    inner = n_rows * _PANEL_PX + (n_rows - 1) * _GAP_PX
    below = {"x": 0, "xanchor": "left", "y": -_BOTTOM_PX / inner, "yanchor": "top"}
    layout: dict[str, Any] = {
        "height": _TOP_PX + inner + bottom,
        "margin": {"l": 55, "r": 10, "t": _TOP_PX, "b": bottom},
        "legend": {"x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top"} if is_wide else below,
        # A finger that drags scrolls the page instead of zooming.
        "dragmode": "zoom" if is_wide else False,
    }
    for index in range(n_panels):
        row, column = divmod(index, n_columns)
        number, top = _axis_number(index), 1 - row * (_PANEL_PX + _GAP_PX) / inner
        layout[f"yaxis{number}.domain"] = [max(0.0, top - _PANEL_PX / inner), top]
        layout[f"xaxis{number}.domain"] = _column_domain(column, n_columns)
    return layout


def _column_domain(column: int, n_columns: int) -> list[float]:
    gap = 0.12
    width = (1 - gap * (n_columns - 1)) / n_columns
    left = column * (width + gap)
    return [left, min(1.0, left + width)]
