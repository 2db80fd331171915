"""The explorer's widgets: controls that change the explorer, and panels that show its figures and table."""

import functools
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from lad.data.coco import CocoDataset
from lad.experiments.run_store import Run, finished_runs
from lad.explorer.accessibility import NAMES_SCRIPT, PANELS, TOOLTIPS, named_svg
from lad.explorer.config import LEVELS, UNTRAINED
from lad.explorer.markup import STYLE, table_html, thumbnail
from lad.explorer.photo import Photo, UserBox, open_photo
from lad.explorer.state import CURRENT_WEIGHTS, Explorer
from lad.explorer.view import assignments_for, gt_names
from lad.figures.style import to_svg
from lad.geometry import STRIDES
from lad.report.compare_runs import run_titles

THUMBNAILS = 8  # per page
RUN_WIDTH, ASSIGNMENT_WIDTH = "320px", "345px"  # dropdowns of run titles and of assignment titles
MIN_BOX_SIDE = 0.02  # of the user's box, as a fraction of the image
NO_EPOCH = -1  # the epoch slider's value for a network without saved epochs: a slider cannot hold None
OWN_TEACHER = "own teacher, if any"


class Controls:
    """The widgets of an explorer.

    Attributes:
        explorer: The explorer that the widgets change and show.
        runs: Runs to choose from, newest first, by the value of their option.
        page: The widget that holds all others, to be displayed.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.runs = {run.folder.name: run for run in reversed(finished_runs(explorer.config.out))}
        self.run_options: list[tuple[str, str]] = []  # title and value of each run
        self.first_thumbnail = explorer.config.image // THUMBNAILS * THUMBNAILS
        self.drawn_thumbnails: tuple[CocoDataset, int] | None = None
        self.is_refreshing = False
        self._create_controls()
        self._create_panels()
        self.page = self._create_page()
        self._connect()
        self.refresh()

    def refresh(self) -> None:
        """Show the explorer's current state in every control and panel."""
        self.is_refreshing = True
        try:
            self._refresh_networks()
            self._refresh_display_options()
            self._refresh_user_box()
            self._show_thumbnails()
        finally:
            self.is_refreshing = False
        self._draw()

    def _create_controls(self) -> None:
        self.run = widgets.Dropdown(description="run", layout=_wide(RUN_WIDTH))
        self.compare_with = widgets.Dropdown(description="teacher", layout=_wide(RUN_WIDTH))
        self.epoch = widgets.SelectionSlider(description="epoch", options=[(CURRENT_WEIGHTS, NO_EPOCH)])
        self.previous, self.next = (
            widgets.Button(description=sign, tooltip=f"{which} images", layout=widgets.Layout(width="2.6em"))
            for sign, which in (("◀", "previous"), ("▶", "next"))
        )
        self.thumbnails = [widgets.Button() for _ in range(THUMBNAILS)]
        for place, button in enumerate(self.thumbnails):
            button.add_class("lad-thumbnail")
            button.add_class(f"lad-thumbnail-{place}")
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="own photo")
        self.image_range = widgets.Label(layout=widgets.Layout(margin="2px 8px"))
        self.gt = widgets.Dropdown(description="object")
        self.assignment = widgets.Dropdown(description="assignment", layout=_wide(ASSIGNMENT_WIDTH))
        self.levels = [
            widgets.ToggleButton(
                description=f"P{level}",
                tooltip=f"show level P{level}, a location every {stride} pixels",
                layout=widgets.Layout(width="3.2em"),
            )
            for level, stride in zip(LEVELS, STRIDES, strict=True)
        ]
        self.anchor_boxes = _checkbox("anchor boxes")
        self.predicted_boxes = _checkbox("predicted boxes")
        self.table_of = widgets.Dropdown(description="table of")
        self.box_x, self.box_y = (
            widgets.FloatRangeSlider(description=f"box {axis}", min=0, max=1, step=0.01, readout_format=".0%")
            for axis in "xy"
        )
        self.box_class = widgets.Dropdown(description="class")
        self.user_box = _row(self.box_x, self.box_y, self.box_class)
        for name, tooltip in TOOLTIPS.items():
            getattr(self, name).tooltip = tooltip

    def _create_panels(self) -> None:
        self.thumbnail_style = widgets.HTML()
        self.message = widgets.HTML()
        self.message.add_class("lad-message")
        self.panels = {name: widgets.HTML() for name in PANELS}
        for name, panel in self.panels.items():
            panel.add_class(f"lad-{name.replace(' ', '-')}")
        self.table = widgets.HTML()
        self.table.add_class("lad-table")

    def _create_page(self) -> widgets.VBox:
        panels = list(self.panels.values())
        page = widgets.VBox(
            [
                widgets.HTML(STYLE),
                widgets.Output(outputs=(_script(NAMES_SCRIPT),)),
                _row(self.run, self.compare_with, self.epoch),
                _row(
                    widgets.HBox([self.previous, self.image_range, self.next, self.upload]),
                    _row(*self.thumbnails, width="auto"),
                ),
                self.thumbnail_style,
                _row(
                    self.gt,
                    self.assignment,
                    widgets.HBox([widgets.Label("show levels"), *self.levels]),
                    widgets.HBox([self.anchor_boxes, self.predicted_boxes]),
                ),
                self.user_box,
                self.message,
                _row(_column(*panels[:2]), _column(*panels[2:]), align="flex-start"),
                self.table_of,
                self.table,
            ]
        )
        page.add_class("lad-explorer")
        return page

    def _refresh_networks(self) -> None:
        """Show the runs and the epoch."""
        config, session = self.explorer.config, self.explorer.session
        chosen = {name: self._run_value(run) for name, run in session.runs.items()}
        if len(self.run_options) < len(self.runs):
            self.run_options = list(zip(run_titles(list(self.runs.values())), self.runs, strict=True))
        _set_options(self.run, [*self.run_options, (UNTRAINED, UNTRAINED)], chosen.get("student", UNTRAINED))
        teacher = chosen["teacher"] if config.compare_with else ""
        _set_options(self.compare_with, [(OWN_TEACHER, ""), *self.run_options], teacher)
        epochs = [(str(epoch or UNTRAINED), epoch) for epoch in session.epochs] or [(CURRENT_WEIGHTS, NO_EPOCH)]
        _set_options(self.epoch, epochs, epochs[-1][1] if config.epoch is None else config.epoch)
        self.epoch.disabled = len(epochs) < 2

    def _refresh_display_options(self) -> None:
        """Show the object, the assignment and what to draw."""
        config, view = self.explorer.config, self.explorer.view
        _set_options(self.gt, [(name, row) for row, name in enumerate(gt_names(view))], view.gt)
        titles = [(title, name) for name, title in assignments_for(self.explorer.session).items()]
        _set_options(self.assignment, titles, config.assignment)
        for button, level in zip(self.levels, LEVELS, strict=True):
            button.value = level in config.levels
        self.anchor_boxes.value, self.predicted_boxes.value = config.anchor_boxes, config.predicted_boxes
        table_of = config.table_of if config.table_of in view.analyses else "student"
        _set_options(self.table_of, list(view.analyses), table_of)

    def _refresh_user_box(self) -> None:
        """Show the user's box and its class while a photo is shown."""
        box = self.explorer.box
        x0, y0, x1, y1 = box.corners
        self.box_x.value, self.box_y.value = (x0, x1), (y0, y1)
        class_names = self.explorer.session.class_names
        _set_options(self.box_class, [(name, label) for label, name in enumerate(class_names)], box.label)
        self.user_box.layout.display = "none" if self.explorer.photo is None else "flex"
        self.upload.value = ()  # so that the same file can be uploaded again

    def _draw(self) -> None:
        """Draw the figures and the table."""
        figures = self.explorer.figures()
        for name, panel in self.panels.items():
            panel.value = named_svg(to_svg(figures[name]), self._panel_name(name)) if name in figures else ""
            panel.layout.display = None if name in figures else "none"
        self.table.value = table_html(self.explorer.table())

    def _panel_name(self, panel: str) -> str:
        view = self.explorer.view
        positives = f", {int((view.positives.gt == view.gt).sum())} positives" if panel == "picture" else ""
        return f"{PANELS[panel]}: {gt_names(view)[view.gt]}{positives}"

    def _connect(self) -> None:
        """Connect each control to what it changes in the explorer."""
        reset = {"epoch": None, "gt": None, "assignment": "each"}
        self._on_value(self.run, lambda run: {**reset, "run": run, "compare_with": None})
        self._on_value(self.compare_with, lambda run: {"compare_with": run or None, "assignment": "each"})
        self._on_value(self.epoch, lambda epoch: {"epoch": None if epoch == NO_EPOCH else epoch})
        for name in ("gt", "assignment", "anchor_boxes", "predicted_boxes", "table_of"):
            self._on_value(getattr(self, name), functools.partial(_single, name))
        for button in self.levels:
            self._on_value(button, lambda _: {"levels": self._selected_levels()})
        for widget in (self.box_x, self.box_y, self.box_class):
            self._on_value(widget, lambda _: {"box": self._selected_box()})
        self._on_value(self.upload, lambda files: {"photo": self._read_upload(files[0]), "gt": 0} if files else {})
        for place, button in enumerate(self.thumbnails):
            button.on_click(
                lambda _, place=place: self._change(lambda: {"image": self.first_thumbnail + place, "gt": None})
            )
        self.previous.on_click(lambda _: self._turn_page(-THUMBNAILS))
        self.next.on_click(lambda _: self._turn_page(THUMBNAILS))

    def _on_value(self, widget: widgets.Widget, changes: Callable[[Any], dict[str, Any]]) -> None:
        """Change the explorer when the user sets a widget's value, but not while `refresh` sets it."""

        def on_value(change: dict[str, Any]) -> None:
            if not self.is_refreshing:
                self._change(lambda: changes(change["new"]))

        widget.observe(on_value, names="value")

    def _change(self, changes: Callable[[], dict[str, Any]]) -> None:
        """Change the explorer and show the result; on an error, show its message and the state as it was."""
        try:
            self.explorer.change(**changes())
            self.message.value = ""
        except ValueError as error:
            self.message.value = html.escape(str(error))
        self.refresh()

    def _turn_page(self, step: int) -> None:
        """Show other thumbnails."""
        last_page = (len(self.explorer.session.dataset) - 1) // THUMBNAILS * THUMBNAILS
        self.first_thumbnail = min(max(self.first_thumbnail + step, 0), last_page)
        self._show_thumbnails()

    def _show_thumbnails(self) -> None:
        """Draw the thumbnails unless they are drawn already, and mark the image on show."""
        dataset, config = self.explorer.session.dataset, self.explorer.config
        if self.drawn_thumbnails and self.drawn_thumbnails[0] is not dataset:
            self.first_thumbnail = config.image // THUMBNAILS * THUMBNAILS
        if self.drawn_thumbnails != (dataset, self.first_thumbnail):
            self.drawn_thumbnails = (dataset, self.first_thumbnail)
            self._draw_thumbnails(dataset)
        for place, button in enumerate(self.thumbnails):
            is_shown = self.first_thumbnail + place == config.image and self.explorer.photo is None
            (button.add_class if is_shown else button.remove_class)("lad-chosen")

    def _draw_thumbnails(self, dataset: CocoDataset) -> None:
        last = min(self.first_thumbnail + THUMBNAILS, len(dataset))
        self.image_range.value = f"{self.first_thumbnail + 1}–{last} of {len(dataset)}"
        rules = []
        for place, button in enumerate(self.thumbnails):
            index = self.first_thumbnail + place
            button.layout.display = None if index < len(dataset) else "none"
            if index < len(dataset):
                button.tooltip = f"image {index + 1} of {len(dataset)}"
                url = f"data:image/jpeg;base64,{thumbnail(dataset.pixels(index))}"
                rules.append(f".lad-explorer button.lad-thumbnail-{place} {{ background-image: url({url}); }}")
        self.thumbnail_style.value = f"<style>{' '.join(rules)}</style>"

    def _run_value(self, run: Run) -> str:
        """Return the value of a run's option: its name, or its folder if it lies elsewhere, which adds an option."""
        is_in_out = run.folder.resolve().parent == self.explorer.config.out
        value = run.folder.name if is_in_out else str(run.folder)
        self.runs.setdefault(value, run)
        return value

    def _selected_levels(self) -> tuple[int, ...]:
        return tuple(level for level, button in zip(LEVELS, self.levels, strict=True) if button.value)

    def _selected_box(self) -> UserBox:
        """Return the box that the sliders describe, at least `MIN_BOX_SIDE` wide and high."""
        (x0, x1), (y0, y1) = self.box_x.value, self.box_y.value
        x0, y0 = min(x0, 1 - MIN_BOX_SIDE), min(y0, 1 - MIN_BOX_SIDE)
        return UserBox((x0, y0, max(x1, x0 + MIN_BOX_SIDE), max(y1, y0 + MIN_BOX_SIDE)), self.box_class.value)

    def _read_upload(self, file: Any) -> Photo:
        content = io.BytesIO(file.content)
        content.name = file.name  # for error messages
        return open_photo(self.explorer.session, content)


def _script(code: str) -> dict[str, Any]:
    """Return a notebook output that runs JavaScript."""
    return {"output_type": "display_data", "data": {"application/javascript": code}, "metadata": {}}


def _single(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _set_options(widget: widgets.Widget, options: Sequence[Any], value: Any) -> None:
    """Set a widget's options and its value."""
    if tuple(widget.options) != tuple(options):
        widget.options = options
    widget.value = value


def _checkbox(description: str) -> widgets.Checkbox:
    return widgets.Checkbox(
        description=description, indent=False, layout=widgets.Layout(width="auto", margin="2px 14px")
    )


def _row(*children: widgets.Widget, align: str = "center", width: str = "100%") -> widgets.Box:
    """Return widgets side by side; on a narrow page they wrap into more rows."""
    return widgets.Box(children, layout=widgets.Layout(flex_flow="row wrap", align_items=align, width=width))


def _wide(width: str) -> widgets.Layout:
    """Return the layout of a dropdown with long titles; it shrinks on a narrow page."""
    return widgets.Layout(width=width, max_width="calc(100% - 4px)")


def _column(*children: widgets.Widget) -> widgets.VBox:
    column = widgets.VBox(children)
    column.add_class("lad-column")
    return column
