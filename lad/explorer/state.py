"""The explorer of one picture's assignment: as widgets in JupyterLab and, without them, as one static picture."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from lad.analysis.history import epoch_title
from lad.analysis.positives import OWN_PAA, Positives, candidate_table, cost_map, find_positives, predicted_boxes
from lad.explorer.config import LEVELS, ExplorerConfig, make_explorer_config
from lad.explorer.session import (
    Box,
    ExplorerSession,
    ExplorerView,
    Photo,
    assignments_for,
    gt_names,
    open_photo,
    open_session,
    render_view,
)
from lad.figures.assignment import draw_mixtures
from lad.figures.explorer import draw_cost_maps, draw_positives
from lad.figures.history import save_animation
from lad.utils.progress import log

WHAT_IF = "what PAA would do with these costs"


class Explorer:
    """Where one looks, and what is seen there; see `ExplorerConfig`, `ExplorerSession` and `ExplorerView`."""

    def __init__(self, config: ExplorerConfig) -> None:
        self.config = config
        self.session: ExplorerSession = open_session(config)
        self.photo: Photo | None = open_photo(self.session, config.photo) if config.photo else None
        self.box = Box()
        self.view: ExplorerView = render_view(self.session, config, self.photo)

    def change(self, photo: Photo | None = None, box: Box | None = None, **changes: Any) -> None:
        """ExplorerConfig elsewhere: other values of `ExplorerConfig`'s fields, one's own picture, or another box on it. One's own picture
        and its box stay until an image, another run or other data are chosen; the image of a data set stays while the
        data are the same.

        Raises ValueError, and stays where it is, if that cannot be seen.
        """
        photo = photo or (None if {"run", "data", "image"} & set(changes) else self.photo)
        stays = photo is self.photo
        config = make_explorer_config({**self.config.model_dump(), **({} if stays else {"photo": None}), **changes})
        is_elsewhere = bool({"run", "compare_with", "data", "out"} & set(changes))
        session = open_session(config) if is_elsewhere else self.session
        if session.dataset.images != self.session.dataset.images and "image" not in changes:
            config = config.model_copy(update={"image": 0, "gt": changes.get("gt")})
        box = box or (self.box if stays else Box())
        self.view = render_view(session, config, photo, box)
        self.config, self.session, self.photo, self.box = config, session, photo, box

    def figures(self) -> dict[str, Figure]:
        """What is seen now: "picture", "costs" and each network's "… mixture"."""
        return draw_view(self.view, self.config)

    def table(self) -> pd.DataFrame:
        """The candidates of the chosen object; see `lad.analysis.positives.candidate_table`."""
        view = self.view
        one = view.analyses.get(self.config.table_of, view.analyses["student"])
        return candidate_table(one, view.batch.targets, view.gt, view.positives)

    def by_assignment(self) -> dict[str, Positives]:
        """The positives of the picture under every assignment that can be made of it, by title."""
        analyses, targets = self.view.analyses, self.view.batch.targets
        return {title: find_positives(name, analyses, targets) for name, title in assignments_for(self.session).items()}

    def by_epoch(self) -> dict[str, Positives]:
        """The positives of the picture after each epoch that was kept, by title; those of now where none was."""
        return {title: view.positives for title, view in self._views().items()}

    def save_film(self, path: Path | str | None) -> None:
        """Write what `by_epoch` shows as a film, .gif or .mp4; None writes nothing and says how to."""
        if path is None:
            log("no film was asked for; give film=assignment.gif or film=assignment.mp4")
            return
        frames = [draw_view(view, self.config, title=title)["picture"] for title, view in self._views().items()]
        log(f"written to {save_animation(frames, path)}")

    def _views(self) -> dict[str, ExplorerView]:
        epochs = self.session.epochs
        if not epochs:
            return {"as it is": self.view}
        looks = [self.config.model_copy(update={"epoch": epoch, "gt": self.view.gt}) for epoch in epochs]
        return {epoch_title(one.epoch or 0): render_view(self.session, one, self.photo, self.box) for one in looks}


def draw_view(view: ExplorerView, config: ExplorerConfig, title: str = "") -> dict[str, Figure]:
    """The figures of a view: "picture", "costs", "student mixture" and, if there is one, "teacher mixture". title: of
    the picture, before what it counts."""
    targets, gt = view.batch.targets, view.gt
    anchors = view.analyses["student"].anchors
    levels = [level - LEVELS[0] for level in config.levels]
    predicted = None
    if config.predicted_boxes:
        mine = view.positives.anchor[view.positives.gt == gt]
        mine = mine[torch.isin(anchors.level[mine], torch.tensor(levels))]
        predicted = {
            name: predicted_boxes(one.outputs, anchors, targets, gt, mine) for name, one in view.analyses.items()
        }
    costs = {name: cost_map(one.outputs, anchors, targets, gt) for name, one in view.analyses.items()}
    figures = {
        "picture": draw_positives(
            view.picture,
            targets,
            anchors,
            view.positives,
            gt,
            gt_names(view),
            levels,
            config.anchor_boxes,
            predicted,
            title,
        ),
        "costs": draw_cost_maps(costs, anchors, targets, gt, view.positives, levels),
    }
    for name, one in view.analyses.items():
        what_if = "" if name in OWN_PAA.get(config.assignment, ()) else WHAT_IF
        figures[f"{name} mixture"] = draw_mixtures({name: one}, gt, gt_names(view)[gt], what_if)
    return figures
