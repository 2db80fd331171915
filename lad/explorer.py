"""The explorer of one picture's assignment: as widgets in JupyterLab and, without them, as one static picture."""

import io
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from lad.controls import Controls
from lad.exploration import OWN_PAA, Claims, candidate_table, cost_map, find_claims, predicted_boxes
from lad.figures import draw_claims, draw_cost_maps, draw_mixtures, save_animation
from lad.figures.style import DPI, to_image
from lad.history import epoch_title
from lad.look import LEVELS, Look, make_look
from lad.progress import is_watched, say
from lad.scene import Box, Photo, Scene, Stage, assignments_for, gt_names, open_photo, open_stage, see

SHARPNESS = 2  # pixels of a sheet to one of the page
GAP = 24  # pixels between the pictures of a sheet
WHAT_IF = "what PAA would do with these costs"


def explore(look: Look) -> "Explorer":
    """The explorer at this look. As a notebook's output it is widgets where somebody watches, and a static picture
    where nobody does (papermill, nbconvert, a page on the web).

    Raises ValueError for a run, picture, object, epoch or assignment that is not there.
    """
    return Explorer(look)


class Explorer:
    """Where one looks, and what is seen there; see `Look`, `Stage` and `Scene`."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.stage: Stage = open_stage(look)
        self.photo: Photo | None = open_photo(self.stage, look.photo) if look.photo else None
        self.box = Box()
        self.scene: Scene = see(self.stage, look, self.photo)

    def change(self, photo: Photo | None = None, box: Box | None = None, **changes: Any) -> None:
        """Look elsewhere: other values of `Look`'s fields, one's own picture, or another box on it. One's own picture
        and its box stay until an image, another run or other data are chosen; the image of a data set stays while the
        data are the same.

        Raises ValueError, and stays where it is, if that cannot be seen.
        """
        photo = photo or (None if {"run", "data", "image"} & set(changes) else self.photo)
        stays = photo is self.photo
        look = make_look({**self.look.model_dump(), **({} if stays else {"photo": None}), **changes})
        is_elsewhere = bool({"run", "compare_with", "data", "out"} & set(changes))
        stage = open_stage(look) if is_elsewhere else self.stage
        if stage.dataset.images != self.stage.dataset.images and "image" not in changes:
            look = look.model_copy(update={"image": 0, "gt": changes.get("gt")})
        box = box or (self.box if stays else Box())
        self.scene = see(stage, look, photo, box)
        self.look, self.stage, self.photo, self.box = look, stage, photo, box

    def figures(self) -> dict[str, Figure]:
        """What is seen now: "picture", "costs" and each network's "… mixture"."""
        return draw_scene(self.scene, self.look)

    def table(self) -> pd.DataFrame:
        """The candidates of the chosen object; see `lad.exploration.candidate_table`."""
        scene = self.scene
        one = scene.opinions.get(self.look.table_of, scene.opinions["student"])
        return candidate_table(one, scene.batch.targets, scene.gt, scene.claims)

    def by_assignment(self) -> dict[str, Claims]:
        """The positives of the picture under every assignment that can be made of it, by title."""
        opinions, targets = self.scene.opinions, self.scene.batch.targets
        return {title: find_claims(name, opinions, targets) for name, title in assignments_for(self.stage).items()}

    def by_epoch(self) -> dict[str, Claims]:
        """The positives of the picture after each epoch that was kept, by title; those of now where none was."""
        return {title: scene.claims for title, scene in self._scenes().items()}

    def save_film(self, path: Path | str | None) -> None:
        """Write what `by_epoch` shows as a film, .gif or .mp4; None writes nothing and says how to."""
        if path is None:
            say("no film was asked for; give film=assignment.gif or film=assignment.mp4")
            return
        frames = [draw_scene(scene, self.look, title=title)["picture"] for title, scene in self._scenes().items()]
        say(f"written to {save_animation(frames, path)}")

    def _scenes(self) -> dict[str, Scene]:
        epochs = self.stage.epochs
        if not epochs:
            return {"as it is": self.scene}
        looks = [self.look.model_copy(update={"epoch": epoch, "gt": self.scene.gt}) for epoch in epochs]
        return {epoch_title(one.epoch or 0): see(self.stage, one, self.photo, self.box) for one in looks}

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = Controls(self).page._repr_mimebundle_() if is_watched() else {}
        bundle["text/plain"] = f"Explorer({self.stage.name})"
        page, png = sheet(self.figures()), io.BytesIO()
        page.save(png, format="png")
        size = {"width": page.width // SHARPNESS, "height": page.height // SHARPNESS}
        return bundle | {"image/png": b64encode(png.getvalue()).decode()}, {"image/png": size}


def draw_scene(scene: Scene, look: Look, title: str = "") -> dict[str, Figure]:
    """The figures of a scene: "picture", "costs", "student mixture" and, if there is one, "teacher mixture". title: of
    the picture, before what it counts."""
    targets, gt = scene.batch.targets, scene.gt
    anchors = scene.opinions["student"].anchors
    levels = [level - LEVELS[0] for level in look.levels]
    predicted = None
    if look.predicted_boxes:
        mine = scene.claims.anchor[scene.claims.gt == gt]
        mine = mine[torch.isin(anchors.level[mine], torch.tensor(levels))]
        predicted = {
            name: predicted_boxes(one.outputs, anchors, targets, gt, mine) for name, one in scene.opinions.items()
        }
    costs = {name: cost_map(one.outputs, anchors, targets, gt) for name, one in scene.opinions.items()}
    figures = {
        "picture": draw_claims(
            scene.picture,
            targets,
            anchors,
            scene.claims,
            gt,
            gt_names(scene),
            levels,
            look.anchor_boxes,
            predicted,
            title,
        ),
        "costs": draw_cost_maps(costs, anchors, targets, gt, scene.claims, levels),
    }
    for name, one in scene.opinions.items():
        what_if = "" if name in OWN_PAA.get(look.assignment, ()) else WHAT_IF
        figures[f"{name} mixture"] = draw_mixtures({name: one}, gt, gt_names(scene)[gt], what_if)
    return figures


def sheet(figures: Mapping[str, Figure]) -> Image.Image:
    """The figures on one page, in two columns: the first two on the left, the others on the right."""
    pictures = [to_image(figure, SHARPNESS * DPI) for figure in figures.values()]
    columns = [column for column in (pictures[:2], pictures[2:]) if column]
    widths = [max(one.width for one in column) for column in columns]
    height = max(sum(one.height + GAP for one in column) for column in columns)
    page = Image.new("RGB", (sum(widths) + GAP * (len(columns) - 1), height), "white")
    for place, column in enumerate(columns):
        top = 0
        for one in column:
            page.paste(one, (sum(widths[:place]) + GAP * place, top))
            top += one.height + GAP
    return page
