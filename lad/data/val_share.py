"""A validation part of a data set that has none: a share of its images, chosen by a hash of their file names.

It is the same on every machine and in any order of the images, and each class with two images or more is in both parts.
"""

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence

from lad.data.file_names import slashed

DEFAULT_VAL_SHARE = 0.2
MAX_MOVES = 1000  # to have each class in both parts; few sets need more than one per class

Images = Mapping[str, frozenset[Hashable]]  # the classes of each image, by a key of its file name


def validation_rows(names: Sequence[str], classes: Sequence[Collection[Hashable]], share: float) -> list[bool]:
    """Return whether each image is for validation.

    Entries with the same file name stay together.

    Args:
        names: File name of each image. Only their spelling matters, without the folder that all have in common.
        classes: The classes of the objects in each image.
        share: Share of the images of each class, in (0, 1).
    """
    keys = _keys(names)
    merged: dict[str, set[Hashable]] = defaultdict(set)
    for key, of_image in zip(keys, classes, strict=True):
        merged[key].update(of_image)
    digest = {key: hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest() for key in merged}
    images = {key: frozenset(merged[key]) for key in sorted(merged, key=lambda key: (digest[key], key))}
    chosen = _stratified(images, share)
    return [key in chosen for key in keys]


def _keys(names: Sequence[str]) -> list[str]:
    """Return the names in one spelling, relative to the deepest folder that holds all of them."""
    keys = ["/".join(part for part in slashed(name).split("/") if part not in ("", ".")) for name in names]
    common = posixpath.commonpath([posixpath.dirname(key) for key in keys])
    return [key[len(common) :].lstrip("/") for key in keys]


def _stratified(images: Images, share: float) -> set[str]:
    """Return the keys of the validation images: of each class, the rarest first, the first ones in the given order."""
    members: dict[Hashable, list[str]] = defaultdict(list)
    for key, of_image in images.items():
        for label in of_image or {None}:  # images without objects are a class, too
            members[label].append(key)
    order = list(images)
    rank = {key: number for number, key in enumerate(order)}
    classes = [keys for keys in members.values() if len(keys) > 1]
    classes.sort(key=lambda keys: (len(keys), [rank[key] for key in keys]))  # whatever their names are
    chosen: set[str] = set()
    for of_class in classes:
        number = min(max(round(share * len(of_class)), 1), len(of_class) - 1)
        missing = number - len(chosen.intersection(of_class))
        chosen.update([key for key in of_class if key not in chosen][: max(missing, 0)])
    missing = max(round(share * len(order)), 1) - len(chosen)  # images of many classes count for each of them
    chosen.update([key for key in order if key not in chosen][: max(missing, 0)])
    if len(chosen) == len(order):
        chosen.discard(order[-1])
    return _balanced([keys for keys in classes if keys is not members.get(None)], chosen)


def _balanced(classes: Sequence[Sequence[str]], chosen: set[str]) -> set[str]:
    """Move images between the parts until each class is in both; the best found if that is impossible."""
    of_image: dict[str, list[int]] = defaultdict(list)
    for number, keys in enumerate(classes):
        for key in keys:
            of_image[key].append(number)
    count = [len(chosen.intersection(keys)) for keys in classes]
    moved: dict[str, int] = defaultdict(int)
    best, fewest = set(chosen), len(classes) + 1
    for _ in range(MAX_MOVES):
        one_sided = [number for number, keys in enumerate(classes) if count[number] in (0, len(keys))]
        if len(one_sided) < fewest:
            best, fewest = set(chosen), len(one_sided)
        if not one_sided:
            break

        harm = {}  # of each image's move: how many classes would have lost one part, and how often it was moved
        for key in classes[one_sided[0]]:
            change = -1 if key in chosen else 1
            lost = sum(count[number] + change in (0, len(classes[number])) for number in of_image[key])
            harm[key] = (lost + moved[key], moved[key])  # so that moves do not go round in circles
        key = min(harm, key=lambda key: harm[key])
        moved[key] += 1
        for number in of_image[key]:
            count[number] += -1 if key in chosen else 1
        chosen ^= {key}
    return best
