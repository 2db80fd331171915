"""The explorer's widgets: what can be chosen, and what is drawn when it is."""

import functools
import html
import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from PIL import Image

from lad.data.coco import CocoDataset
from lad.experiments.run_store import Run, finished_runs
from lad.explorer.config import LEVELS, UNTRAINED
from lad.explorer.session import Box, Photo, assignments_for, gt_names, open_photo
from lad.explorer.state import Explorer
from lad.figures.style import to_svg
from lad.report.compare_runs import run_titles

THUMBNAILS = 8  # on show at once
THUMBNAIL_SIDE = 60  # pixels
WIDE, WIDEST = "320px", "345px"  # lists that names of runs and titles of assignments fit into
MIN_SIDE = 0.02  # of a box that is drawn, as a fraction of the picture
AS_IT_IS = -1  # the place on the slider of a network without saved epochs, as it cannot be None
OWN_TEACHER = "its own teacher, if any"
STYLE = f"""<style>
.lad-explorer .lad-column {{ flex: 1 1 380px; max-width: 450px; min-width: 0; margin: 0 14px 0 0; }}
.lad-explorer .lad-column .widget-html, .lad-explorer .lad-column .widget-html-content {{
  width: 100%; height: auto; margin: 0; }}
.lad-explorer .lad-column .widget-html-content {{ line-height: normal; }}
.lad-explorer .lad-table {{
  width: 100%; margin: 0; height: auto; max-height: 22em; overflow: auto; container-type: inline-size; }}
.lad-explorer table {{ border-collapse: collapse; font-size: 12px; line-height: 1.5; }}
.lad-explorer th, .lad-explorer td {{
  padding: 1px 9px; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.lad-explorer th {{ border-bottom: 1px solid currentColor; font-weight: 600; }}
.lad-explorer tr.lad-positive td {{ font-weight: 600; }}
@container (max-width: 720px) {{
  .lad-explorer table {{ font-size: 11px; line-height: 1.45; }}
  .lad-explorer th, .lad-explorer td {{ padding: 1px 4px; }}
  .lad-explorer th {{ white-space: normal; vertical-align: bottom; line-height: 1.2; }} }}
.lad-explorer .lad-message {{ color: #D55E00; font-weight: 600; }}
.lad-explorer button.lad-thumbnail {{
  width: {THUMBNAIL_SIDE}px; height: {THUMBNAIL_SIDE}px; padding: 0; background-size: contain;
  background-position: center; background-repeat: no-repeat; border: 2px solid transparent; }}
.lad-explorer button.lad-chosen {{ border-color: #0072B2; }}
</style>"""


class Controls:
    """The widgets of an explorer. page: all of them, to be displayed."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.runs = {run.folder.name: run for run in reversed(finished_runs(explorer.config.out))}  # by what is chosen
        self.known: list[tuple[str, str]] = []  # their titles, and what is chosen
        self.first_thumbnail = explorer.config.image // THUMBNAILS * THUMBNAILS
        self.shown_thumbnails: tuple[CocoDataset, int] | None = None
        self.is_refreshing = False

        self.run = widgets.Dropdown(description="run", layout=_wide(WIDE))
        self.compare_with = widgets.Dropdown(description="teacher", layout=_wide(WIDE))
        self.epoch = widgets.SelectionSlider(description="epoch", options=[("as it is", AS_IT_IS)])
        self.back, self.forward = (
            widgets.Button(description=sign, tooltip=f"{which} pictures", layout=widgets.Layout(width="2.6em"))
            for sign, which in (("◀", "earlier"), ("▶", "further"))
        )
        self.thumbnails = [widgets.Button() for _ in range(THUMBNAILS)]
        for place, button in enumerate(self.thumbnails):
            button.add_class("lad-thumbnail")
            button.add_class(f"lad-thumbnail-{place}")
        self.thumbnail_style = widgets.HTML()
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="own picture")
        self.where_pictures_are = widgets.Label(layout=widgets.Layout(margin="2px 8px"))
        self.gt = widgets.Dropdown(description="object")
        self.assignment = widgets.Dropdown(description="assignment", layout=_wide(WIDEST))
        self.levels = [
            widgets.ToggleButton(description=f"P{level}", layout=widgets.Layout(width="3.2em")) for level in LEVELS
        ]
        self.anchor_boxes = _checkbox("anchor boxes")
        self.predicted_boxes = _checkbox("predicted boxes")
        self.table_of = widgets.Dropdown(description="table of")
        self.box_x, self.box_y = (
            widgets.FloatRangeSlider(description=f"box {axis}", min=0, max=1, step=0.01, readout_format=".0%")
            for axis in "xy"
        )
        self.box_class = widgets.Dropdown(description="class")
        self.own_box = _row(self.box_x, self.box_y, self.box_class)
        self.message = widgets.HTML()
        self.message.add_class("lad-message")
        self.panels = {name: widgets.HTML() for name in ("picture", "costs", "student mixture", "teacher mixture")}
        self.table = widgets.HTML()
        self.table.add_class("lad-table")
        for name, panel in self.panels.items():
            panel.add_class(f"lad-{name.replace(' ', '-')}")

        panels = list(self.panels.values())
        self.page = widgets.VBox(
            [
                widgets.HTML(STYLE),
                _row(self.run, self.compare_with, self.epoch),
                _row(
                    widgets.HBox([self.back, self.where_pictures_are, self.forward, self.upload]),
                    _row(*self.thumbnails, width="auto"),
                ),
                self.thumbnail_style,
                _row(
                    self.gt,
                    self.assignment,
                    widgets.HBox([widgets.Label("show levels"), *self.levels]),
                    widgets.HBox([self.anchor_boxes, self.predicted_boxes]),
                ),
                self.own_box,
                self.message,
                _row(_column(*panels[:2]), _column(*panels[2:]), align="flex-start"),
                self.table_of,
                self.table,
            ]
        )
        self.page.add_class("lad-explorer")
        self._listen()
        self.refresh()

    def refresh(self) -> None:
        """Show where the explorer looks now: every choice, and what is seen."""
        config, session, view = self.explorer.config, self.explorer.session, self.explorer.view
        self.is_refreshing = True
        try:
            chosen = {name: self._value_of(run) for name, run in session.runs.items()}
            if len(self.known) < len(self.runs):
                self.known = list(zip(run_titles(list(self.runs.values())), self.runs, strict=True))
            _choose(self.run, [*self.known, (UNTRAINED, UNTRAINED)], chosen.get("student", UNTRAINED))
            _choose(
                self.compare_with, [(OWN_TEACHER, ""), *self.known], chosen["teacher"] if config.compare_with else ""
            )
            epochs = [(str(epoch or UNTRAINED), epoch) for epoch in session.epochs] or [("as it is", AS_IT_IS)]
            _choose(self.epoch, epochs, epochs[-1][1] if config.epoch is None else config.epoch)
            self.epoch.disabled = len(epochs) < 2
            _choose(self.gt, [(name, row) for row, name in enumerate(gt_names(view))], view.gt)
            titles = [(title, name) for name, title in assignments_for(session).items()]
            _choose(self.assignment, titles, config.assignment)
            for button, level in zip(self.levels, LEVELS, strict=True):
                button.value = level in config.levels
            self.anchor_boxes.value, self.predicted_boxes.value = config.anchor_boxes, config.predicted_boxes
            _choose(
                self.table_of, list(view.analyses), config.table_of if config.table_of in view.analyses else "student"
            )
            x0, y0, x1, y1 = self.explorer.box.place
            self.box_x.value, self.box_y.value = (x0, x1), (y0, y1)
            _choose(self.box_class, [(name, i) for i, name in enumerate(session.class_names)], self.explorer.box.label)
            self.own_box.layout.display = "none" if self.explorer.photo is None else "flex"
            self.upload.value = ()  # so that the same file can come again
            self._show_thumbnails()
        finally:
            self.is_refreshing = False
        self._draw()

    def _draw(self) -> None:
        figures = self.explorer.figures()
        for name, panel in self.panels.items():
            panel.value = to_svg(figures[name]) if name in figures else ""
            panel.layout.display = None if name in figures else "none"
        self.table.value = _written(self.explorer.table())

    def _listen(self) -> None:
        """What each choice changes."""
        stay = {"epoch": None, "gt": None, "assignment": "each"}
        self._on(self.run, lambda run: {**stay, "run": run, "compare_with": None})
        self._on(self.compare_with, lambda run: {"compare_with": run or None, "assignment": "each"})
        self._on(self.epoch, lambda epoch: {"epoch": None if epoch == AS_IT_IS else epoch})
        for name in ("gt", "assignment", "anchor_boxes", "predicted_boxes", "table_of"):
            self._on(getattr(self, name), functools.partial(_single, name))
        for button in self.levels:
            self._on(button, lambda _: {"levels": self._chosen_levels()})
        for widget in (self.box_x, self.box_y, self.box_class):
            self._on(widget, lambda _: {"box": self._drawn_box()})
        self._on(self.upload, lambda files: {"photo": self._uploaded(files[0]), "gt": 0} if files else {})
        for place, thumbnail in enumerate(self.thumbnails):
            thumbnail.on_click(
                lambda _, place=place: self._go(lambda: {"image": self.first_thumbnail + place, "gt": None})
            )
        self.back.on_click(lambda _: self._turn(-THUMBNAILS))
        self.forward.on_click(lambda _: self._turn(THUMBNAILS))

    def _on(self, widget: widgets.Widget, changes: Callable[[Any], dict[str, Any]]) -> None:
        def changed(change: dict[str, Any]) -> None:
            if not self.is_refreshing:
                self._go(lambda: changes(change["new"]))

        widget.observe(changed, names="value")

    def _go(self, changes: Callable[[], dict[str, Any]]) -> None:
        """ExplorerConfig elsewhere, or say in one line why that cannot be seen."""
        try:
            self.explorer.change(**changes())
            self.message.value = ""
        except ValueError as error:
            self.message.value = html.escape(str(error))
        self.refresh()

    def _turn(self, step: int) -> None:
        """To the thumbnails before or after."""
        last = (len(self.explorer.session.dataset) - 1) // THUMBNAILS * THUMBNAILS
        self.first_thumbnail = min(max(self.first_thumbnail + step, 0), last)
        self._show_thumbnails()

    def _show_thumbnails(self) -> None:
        dataset, config = self.explorer.session.dataset, self.explorer.config
        if self.shown_thumbnails and self.shown_thumbnails[0] is not dataset:
            self.first_thumbnail = config.image // THUMBNAILS * THUMBNAILS
        if self.shown_thumbnails != (dataset, self.first_thumbnail):
            self.shown_thumbnails = (dataset, self.first_thumbnail)
            self._draw_thumbnails(dataset)
        for place, button in enumerate(self.thumbnails):
            is_shown = self.first_thumbnail + place == config.image and self.explorer.photo is None
            (button.add_class if is_shown else button.remove_class)("lad-chosen")

    def _value_of(self, run: Run) -> str:
        """What stands for a run among the choices; one from elsewhere becomes a choice, too."""
        is_known = run.folder.resolve().parent == self.explorer.config.out
        value = run.folder.name if is_known else str(run.folder)
        self.runs.setdefault(value, run)
        return value

    def _draw_thumbnails(self, dataset: CocoDataset) -> None:
        last = min(self.first_thumbnail + THUMBNAILS, len(dataset))
        self.where_pictures_are.value = f"{self.first_thumbnail + 1}–{last} of {len(dataset)}"
        rules = []
        for place, button in enumerate(self.thumbnails):
            index = self.first_thumbnail + place
            button.layout.display = None if index < len(dataset) else "none"
            if index < len(dataset):
                button.tooltip = f"picture {index}"
                picture = f"data:image/jpeg;base64,{_thumbnail(dataset.pixels(index))}"
                rules.append(f".lad-explorer button.lad-thumbnail-{place} {{ background-image: url({picture}); }}")
        self.thumbnail_style.value = f"<style>{' '.join(rules)}</style>"

    def _chosen_levels(self) -> tuple[int, ...]:
        return tuple(level for level, button in zip(LEVELS, self.levels, strict=True) if button.value)

    def _drawn_box(self) -> Box:
        (x0, x1), (y0, y1) = self.box_x.value, self.box_y.value
        x0, y0 = min(x0, 1 - MIN_SIDE), min(y0, 1 - MIN_SIDE)
        return Box((x0, y0, max(x1, x0 + MIN_SIDE), max(y1, y0 + MIN_SIDE)), self.box_class.value)

    def _uploaded(self, file: Any) -> Photo:
        content = io.BytesIO(file.content)
        content.name = file.name  # for messages
        return open_photo(self.explorer.session, content)


def _single(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _choose(widget: widgets.Widget, options: Sequence[Any], value: Any) -> None:
    """Offer these options and choose one."""
    if tuple(widget.options) != tuple(options):
        widget.options = options
    widget.value = value


def _checkbox(description: str) -> widgets.Checkbox:
    return widgets.Checkbox(
        description=description, indent=False, layout=widgets.Layout(width="auto", margin="2px 14px")
    )


def _row(*children: widgets.Widget, align: str = "center", width: str = "100%") -> widgets.Box:
    """Side by side, in further rows where the page is narrow."""
    return widgets.Box(children, layout=widgets.Layout(flex_flow="row wrap", align_items=align, width=width))


def _wide(width: str) -> widgets.Layout:
    """For a list of long names, as far as there is room."""
    return widgets.Layout(width=width, max_width="calc(100% - 4px)")


def _column(*children: widgets.Widget) -> widgets.VBox:
    column = widgets.VBox(children)
    column.add_class("lad-column")
    return column


def _thumbnail(pixels: np.ndarray) -> str:
    image, jpeg = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
    image.save(jpeg, format="jpeg")
    return b64encode(jpeg.getvalue()).decode()


def _written(table: pd.DataFrame) -> str:
    """A table of candidates as HTML, the positives in bold."""
    head = "".join(f"<th>{name}</th>" for name in table.columns)
    rows = []
    for row in table.itertuples(index=False):
        cells = (f"{cell:.3f}" if isinstance(cell, float) else html.escape(str(cell)) for cell in row)
        emphasis = ' class="lad-positive"' if row[table.columns.get_loc("positive")] else ""
        rows.append(f"<tr{emphasis}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
