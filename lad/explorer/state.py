"""Explorer state: the current configuration and view, and the figures and tables drawn from them; knows no widgets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lad.analysis.history import epoch_title
from lad.analysis.positives import OWN_PAA, Positives, candidate_table, cost_map, find_positives, predicted_boxes
from lad.explorer.config import LEVELS, ExplorerConfig, make_explorer_config
from lad.explorer.photo import Photo, UserBox, open_photo
from lad.explorer.session import ExplorerSession, open_session
from lad.explorer.view import ExplorerView, assignments_for, gt_names, render_view
from lad.figures.assignment import draw_mixtures
from lad.figures.explorer import draw_cost_maps, draw_positives
from lad.figures.history import save_animation
from lad.utils.class_labels import class_labels
from lad.utils.progress import log

CURRENT_WEIGHTS = "current"  # title of a network without saved epochs
MIXTURE_NOT_USED = "not used by this assignment"  # second line of a mixture's title


class Explorer:
    """The explorer of one image's assignment.

    Attributes:
        config: The current configuration.
        session: Loaded networks and images.
        photo: The user's own image, if it is shown.
        box: The user's box on the photo.
        view: Analyses and positives of the image on show.
    """

    def __init__(self, config: ExplorerConfig) -> None:
        self.config = config
        self.session: ExplorerSession = open_session(config)
        self.photo: Photo | None = open_photo(self.session, config.photo) if config.photo else None
        self.box = UserBox()
        self.view: ExplorerView = render_view(self.session, config, self.photo)

    def change(self, photo: Photo | None = None, box: UserBox | None = None, **changes: Any) -> None:
        """Show something else.

        The photo and its box stay until an image, another run or other data are chosen; the validation image stays
        while the data are the same.

        Args:
            photo: The user's own image, in place of a validation image.
            box: The user's box on the photo.
            **changes: New values of `ExplorerConfig`'s fields.

        Raises:
            ValueError: This cannot be shown; the explorer stays as it was.
        """
        photo = photo or (None if {"run", "data", "image"} & set(changes) else self.photo)
        keeps_photo = photo is self.photo
        reset = {} if keeps_photo else {"photo": None}
        config = make_explorer_config({**self.config.model_dump(), **reset, **changes})
        needs_session = bool({"run", "compare_with", "data", "out"} & set(changes))
        session = open_session(config) if needs_session else self.session
        if session.dataset.images != self.session.dataset.images and "image" not in changes:
            config = config.model_copy(update={"image": 0, "gt": changes.get("gt")})
        box = box or (self.box if keeps_photo else UserBox())
        self.view = render_view(session, config, photo, box)
        self.config, self.session, self.photo, self.box = config, session, photo, box

    def figures(self) -> dict[str, Figure]:
        """Draw the view: "picture", "costs", "student mixture" and, if there is one, "teacher mixture"."""
        return draw_view(self.view, self.config)

    def table(self) -> pd.DataFrame:
        """Return the candidates of the chosen object; see `lad.analysis.positives.candidate_table`."""
        view = self.view
        analysis = view.analyses.get(self.config.table_of, view.analyses["student"])
        return candidate_table(analysis, view.batch.targets, view.gt, view.positives)

    def positives_by_assignment(self) -> dict[str, Positives]:
        """Return the image's positives under every assignment that the networks allow, by its title."""
        analyses, targets = self.view.analyses, self.view.batch.targets
        return {title: find_positives(name, analyses, targets) for name, title in assignments_for(self.session).items()}

    def positives_by_epoch(self) -> dict[str, Positives]:
        """Return the image's positives after each saved epoch, by title; without saved epochs, the current ones."""
        return {title: view.positives for title, view in self._views_by_epoch().items()}

    def save_film(self, path: Path | str | None) -> None:
        """Save the figure of each saved epoch as an animation.

        Args:
            path: .gif or .mp4 file; None writes nothing and prints which parameter to set.
        """
        if path is None:
            log("no film written; to write one, set film=assignment.gif or film=assignment.mp4")
            return
        views = self._views_by_epoch()
        frames = [draw_view(view, self.config, title=title)["picture"] for title, view in views.items()]
        log(f"film written to {save_animation(frames, path)}")

    def _views_by_epoch(self) -> dict[str, ExplorerView]:
        epochs = self.session.epochs
        if not epochs:
            return {CURRENT_WEIGHTS: self.view}
        configs = {epoch: self.config.model_copy(update={"epoch": epoch, "gt": self.view.gt}) for epoch in epochs}
        return {
            epoch_title(epoch): render_view(self.session, config, self.photo, self.box)
            for epoch, config in configs.items()
        }


def draw_view(view: ExplorerView, config: ExplorerConfig, title: str = "") -> dict[str, Figure]:
    """Draw the figures of a view.

    Args:
        view: What to draw.
        config: Levels, boxes and assignment to draw.
        title: Start of the title above the image.

    Returns:
        Figures "picture", "costs", "student mixture" and, if there is one, "teacher mixture".
    """
    targets, gt = view.batch.targets, view.gt
    anchors = view.analyses["student"].anchors
    levels = [level - LEVELS[0] for level in config.levels]
    names = gt_names(replace(view, class_names=class_labels(view.class_names)))
    costs = {name: cost_map(analysis, targets, gt) for name, analysis in view.analyses.items()}
    figures = {
        "picture": draw_positives(
            view.pixels,
            targets,
            anchors,
            view.positives,
            gt,
            names,
            levels,
            config.anchor_boxes,
            _boxes_at_positives(view, levels) if config.predicted_boxes else None,
            title,
        ),
        "costs": draw_cost_maps(costs, anchors, targets, gt, view.positives, levels),
    }
    for name, analysis in view.analyses.items():
        note = "" if name in OWN_PAA.get(config.assignment, ()) else MIXTURE_NOT_USED
        figures[f"{name} mixture"] = draw_mixtures({name: analysis}, gt, names[gt], note)
    return figures


def _boxes_at_positives(view: ExplorerView, levels: list[int]) -> dict[str, Tensor]:
    """Return the boxes that each network predicts at the chosen gt's positives on these levels."""
    anchors = view.analyses["student"].anchors
    anchor = view.positives.anchor[view.positives.gt == view.gt]
    anchor = anchor[torch.isin(anchors.level[anchor], torch.tensor(levels))]
    return {
        name: predicted_boxes(analysis.outputs, anchors, view.batch.targets, view.gt, anchor)
        for name, analysis in view.analyses.items()
    }
