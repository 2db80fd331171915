"""The figure of teachers and their students, checked on the artists."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lad import figures

LONG = "a teacher with a long description of its data, its epochs and its image sizes"
THREE = {"r101": (46.2, [41.5, 41.9]), "r50": (40.4, [40.6, 40.3, 40.8]), LONG: (51.4, [41.8])}


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> dict[str, object]:
    return {" ".join(text.get_text().split()): text for text in figure.axes[0].texts}


def test_a_line_joins_the_mean_of_each_student_in_the_order_of_the_teachers():
    (ax,) = render(figures.draw_teacher_quality(THREE, [39.9, 40.2, 40.1])).axes
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == [40.4, 46.2, 51.4]
    assert list(dots.get_ydata()) == pytest.approx([40.566667, 41.7, 41.8])
    bars = [list(line.get_ydata()) for line in ax.lines if line.get_linewidth() == 2]
    assert bars == [[40.3, 40.8], [41.5, 41.9]]  # none of a single seed


def test_lines_show_the_student_alone_and_as_good_as_its_teacher():
    figure = render(figures.draw_teacher_quality(THREE, [39.9, 40.2, 40.1]))
    (ax,) = figure.axes
    (alone,) = [line for line in ax.lines if line.get_color() == figures.STUDENT]
    assert list(alone.get_ydata()) == pytest.approx([40.0667] * 2, abs=1e-3)
    (band,) = ax.patches
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx([39.9, 40.2])
    (diagonal,) = [line for line in ax.lines if line.get_color() == figures.TEACHER]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert set(texts(figure)) == {"student alone", "as good as its teacher", *THREE}


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("name", ["r{}", LONG + " {}"])
def test_labels_do_not_overlap_and_stay_inside(count, name):
    points = {name.format(row): (42 + 0.8 * row, [41 + 0.2 * row, 41.4 + 0.1 * row]) for row in range(count)}
    figure = render(figures.draw_teacher_quality(points, [40.0, 40.5]))
    (ax,) = figure.axes
    places = [text.get_window_extent() for text in ax.texts]
    assert len(places) == count + 2
    assert not any(place.overlaps(other) for row, place in enumerate(places) for other in places[:row])
    frame = ax.get_window_extent()
    assert all(frame.x0 <= place.x0 and place.x1 <= frame.x1 for place in places)
    assert all(frame.y0 <= place.y0 and place.y1 <= frame.y1 for place in places)


def test_a_teacher_whose_student_is_not_trained_is_left_out():
    figure = render(figures.draw_teacher_quality({**THREE, "missing": (48.0, [])}, []))
    assert set(texts(figure)) == {"as good as its teacher", *THREE}
    (note,) = render(figures.draw_teacher_quality({"missing": (48.0, [])}, [40.0])).texts
    assert note.get_text() == "teachers: no student is trained"
