"""Any bytes as an instances JSON are read, or refused in one line that names the file."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import FUZZ

from lad.data.annotations import read_annotations

VALID: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
        {"id": 9, "file_name": "folder/b.jpg", "width": 1, "height": 1, "license": 1},
    ],
    "categories": [{"id": 90, "name": "zebra", "supercategory": "animal"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 6, 10, 12], "area": 120, "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 90, "bbox": [0.25, 0, 0.5, 1], "segmentation": [[0, 0, 1, 1, 0, 1]]},
    ],
    "info": {"year": 2017},
}
NUMBERS = st.one_of(
    st.integers(-3, 100),
    st.integers(),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 1e308, -1e308, 5e-324, 1e-9, 29.999999999]),
    st.floats(),
)
TEXT = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "../a.png", "/a.png", "a\0b", "a\nb", "\ud800", "7", "x" * 100_000])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Draw a valid document with up to four changes, sometimes truncated, corrupted or in another encoding."""
    document = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(0, 4))):
        change(draw, document)
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig"])), "surrogatepass")
    if draw(st.integers(0, 9)) == 7:
        start = draw(st.integers(0, len(content)))
        content = content[:start] + draw(st.binary(max_size=4)) + content[start + draw(st.integers(0, 40)) :]
    return content


def change(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Replace, remove, duplicate or add a value at a random place of the document."""
    at: Any = document
    while True:
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not places:
            return
        place = draw(st.sampled_from(places))
        if not isinstance(at[place], dict | list) or not draw(st.integers(0, 3)):
            break
        at = at[place]
    match draw(st.sampled_from(["replace", "replace", "remove", "duplicate", "add"])):
        case "replace":
            at[place] = draw(VALUES)
        case "remove":
            del at[place]
        case "duplicate" if isinstance(at, list):
            at.insert(place, at[place])
        case "add" if isinstance(at, dict):
            at[draw(st.sampled_from(["id", "bbox", "iscrowd", "width", "annotations", "x"]))] = draw(VALUES)


@FUZZ
@given(documents())
def test_any_document_is_read_or_refused_in_one_line_that_names_the_file(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp() / "instances_train.json", content)


@FUZZ
@given(st.one_of(VALUES.map(lambda value: json.dumps(value).encode()), st.binary(max_size=50)))
def test_any_bytes_are_read_or_refused_in_one_line_that_names_the_file(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp() / "instances_train.json", content)


@pytest.mark.parametrize("place", ["info", "images", "id", "bbox", "segmentation"])
@FUZZ
@given(st.one_of(st.integers(900, 1000), st.sampled_from([10, 5000, 100_000])), st.sampled_from("[{"))
def test_a_deeply_nested_document_is_read_or_refused_in_one_line_that_names_the_file(
    tmp_path_factory, place, depth, bracket
):
    opening, closing = ("[", "]") if bracket == "[" else ('{"a":', "}")
    nested = opening * depth + "1" + closing * depth
    document = copy.deepcopy(VALID)
    (document if place in document else document["annotations"][0])[place] = "HERE"
    check(
        tmp_path_factory.getbasetemp() / "instances_train.json", json.dumps(document).replace('"HERE"', nested).encode()
    )


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        annotations = read_annotations(path)
    except ValueError as error:
        line = str(error)
        assert line.startswith(f"{path}: ") and len(line.splitlines()) == 1 and len(line) < 1000 + len(str(path))
        return
    assert annotations.category_ids == tuple(sorted(set(annotations.category_ids)))
    assert all(isinstance(name, str) for name in annotations.class_names)
    for record in annotations.records:
        height, width = record.hw
        boxes, labels = torch.from_numpy(record.boxes), torch.from_numpy(record.labels)
        assert len(boxes) == len(labels) and ((labels >= 0) & (labels < len(annotations.class_names))).all()
        assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2) * (1 + 1e-6)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert not Path(record.file_name).is_absolute() and ".." not in Path(record.file_name).parts
