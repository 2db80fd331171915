"""Figures of training, checked on the artists."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lad import figures


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def test_training_draws_ap_only_where_it_was_evaluated():
    epochs = [
        {"epoch": 1, "cls": 1.0, "box": 0.5, "positives_per_gt": 5.0},
        {"epoch": 2, "cls": 0.8, "box": 0.4, "positives_per_gt": 6.0, "AP": 0.3},
    ]
    figure = render(figures.draw_training({"teacher": epochs, "plain student": epochs[:1]}))
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[1, 2], [1]]
    assert [list(line.get_ydata()) for line in figure.axes[3].lines] == [[0.3]]
    assert figure.axes[0].lines[0].get_color() == figures.TEACHER


def test_training_draws_any_logged_numbers_in_a_color_for_each_run():
    epochs = {
        name: [{"epoch": 1, "agreement": share}] for name, share in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)
    }
    figure = render(figures.draw_training(epochs, {"agreement": "agreement with the targets"}))
    (ax,) = figure.axes
    assert ax.get_title() == "agreement with the targets" and ax.get_ylim()[0] == 0
    assert [line.get_ydata()[0] for line in ax.lines] == [0.1, 0.2, 0.3, 0.4]
    assert len({line.get_color() for line in ax.lines}) == 4
    (legend,) = figure.legends  # below the panels: four names do not fit into one
    assert [text.get_text() for text in legend.get_texts()] == list("abcd")


def test_the_rows_of_a_table_have_the_colors_of_its_comparison():
    rows = {title: [60.0] for title in ("teacher", "baseline", "soft label", "LAD", "SoLAD")}
    lines = render(figures.draw_comparison(rows)).axes[0].lines[::2]  # before the line of each mean
    dots = {title: line.get_color() for title, line in zip(rows, lines, strict=True)}
    epochs = {title: [{"epoch": 1, "cls": 1.0}] for title in ("SoLAD", "soft label")}
    (ax,) = render(figures.draw_training(epochs, {"cls": "loss"}, among=rows)).axes
    assert {line.get_label(): line.get_color() for line in ax.lines} == {title: dots[title] for title in epochs}


def test_an_axis_from_zero_has_room_above_its_highest_point():
    epochs = [{"epoch": 1, "AP": 0.60, "agreement": 0.0}, {"epoch": 2, "AP": 0.61, "agreement": 0.0}]
    ap, agreement = render(figures.draw_training({"a": epochs}, {"AP": "AP", "agreement": "agreement"})).axes
    assert ap.get_ylim() == (0, 1.05 * 0.61) and agreement.get_ylim() == (0, 1)


def test_a_panel_without_data_says_not_logged():
    ax, empty = render(figures.draw_training({"a": [{"epoch": 1, "cls": 1.0}]}, {"cls": "loss", "cost": "cost"})).axes
    assert not ax.texts and [text.get_text() for text in empty.texts] == ["not logged"]
