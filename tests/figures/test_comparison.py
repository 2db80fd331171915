"""Figures of comparisons, checked on the artists."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lad import figures


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def test_a_comparison_shows_every_seed_its_mean_and_rows_without_runs():
    (ax,) = render(figures.draw_comparison({"baseline": [60.0, 62.0], "LAD": []})).axes
    seeds, mean = ax.lines
    assert list(seeds.get_xdata()) == [60, 62] and list(seeds.get_ydata()) == [0, 0]
    assert set(mean.get_xdata()) == {61}
    assert [text.get_text() for text in ax.texts] == ["61.0", "not run"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["baseline", "LAD"]


def test_the_title_of_a_row_may_be_long(recwarn):
    name = "R50 taught by the mean of three teachers that were trained twice as long as it, with PKD and CrossKD"
    figure = render(figures.draw_comparison({name: [60.0], "LAD": [61.0]}))
    (ax,) = figure.axes
    label = ax.get_yticklabels()[0]
    assert label.get_text().replace("\n", " ") == name and not recwarn.list
    assert label.get_window_extent().x0 >= 0 and ax.get_window_extent().width > 200


def test_a_comparison_of_fractions_has_three_decimals():
    (ax,) = render(figures.draw_comparison({"baseline": [0.6, 0.62]}, unit="AP")).axes
    assert [text.get_text() for text in ax.texts] == ["0.610"] and ax.get_xlabel() == "AP"


def test_gains_show_the_published_and_the_measured_gain_with_its_interval():
    gains = {"LAD": (1.2, (4.2, 3.9, 4.6)), "published only": (0.9, None), "measured only": (None, (1.0, 1.0, 1.0))}
    (ax,) = render(figures.draw_gains(gains)).axes
    _zero, *marks = ax.lines
    drawn_points = [(list(line.get_xdata()), list(line.get_ydata())) for line in marks]
    assert drawn_points == [
        ([1.2], [0]),
        ([3.9, 4.6], [0, 0]),
        ([4.2], [0]),
        ([0.9], [1]),
        ([1, 1], [2, 2]),
        ([1], [2]),
    ]


def test_a_verdict_has_its_interval_and_color_and_is_hollow_if_nothing_is_distinguished():
    differences = [
        ("LAD is better", "supported", (4.5, 2.8, 6.1)),
        ("COP is better", "contradicted", (-7.9, -9.8, -6.0)),
        ("… for R50", "not distinguished", (-7.5, -19.8, 4.8)),
    ]
    figure = render(figures.draw_verdicts(differences))
    (ax,) = figure.axes
    _zero, *marks = ax.lines
    assert [list(line.get_xdata()) for line in marks[::2]] == [[2.8, 6.1], [-9.8, -6.0], [-19.8, 4.8]]
    assert [list(line.get_xdata()) for line in marks[1::2]] == [[4.5], [-7.9], [-7.5]]
    dots = [(line.get_color(), line.get_markerfacecolor()) for line in marks[1::2]]
    assert len({color for color, _ in dots}) == 3
    assert [color == face for color, face in dots] == [True, True, False]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["LAD is better", "COP is better", "… for R50"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["supported", "contradicted", "not distinguished"]
