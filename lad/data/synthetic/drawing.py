"""Reproducible drawing: outlines, their coverage of pixels, textures and colors.

Outlines are rounded to 1/64 px and everything after that is integer arithmetic, so that images are identical on every
platform, whatever the rounding of its sine.
"""

import numpy as np


def fill(outline: np.ndarray, side: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Rasterize a closed outline by the even-odd rule, with 4 x 4 samples per pixel.

    Every edge toggles, in the sample rows that it crosses, all samples to its right.

    Args:
        outline: [V] complex x + iy, pixels.
        side: Height and width of the image, pixels.

    Returns:
        Rows and columns of the image that the outline touches, and its coverage of them, [h, w] sixteenths of a pixel.
    """
    xa, ya = np.rint(np.stack([outline.real, outline.imag]) * 64).astype(np.int64)  # [V] in 1/64 px
    xb, yb = np.roll(xa, -1), np.roll(ya, -1)
    x0, y0 = max(0, int(xa.min()) // 64), max(0, int(ya.min()) // 64)
    width, height = min(side, int(xa.max()) // 64 + 1) - x0, min(side, int(ya.max()) // 64 + 1) - y0
    y = 64 * y0 + 8 + 16 * np.arange(4 * height)  # [R] sample rows
    edge, row = np.nonzero((ya[:, None] <= y) != (yb[:, None] <= y))
    rise = (yb - ya)[edge]
    run = (xa[edge] - 64 * x0 - 8) * rise + (y[row] - ya[edge]) * (xb - xa)[edge]
    column = np.clip(-(-run // (16 * rise)), 0, 4 * width)  # the first sample at or right of the crossing
    toggles = np.zeros((4 * height, 4 * width + 1), dtype=np.uint8)
    np.add.at(toggles, (row, column), 1)
    inside = np.cumsum(toggles, axis=1, dtype=np.uint8)[:, :-1] & 1
    coverage = inside.reshape(height, 4, width, 4).sum((1, 3), dtype=np.uint8)
    return (slice(y0, y0 + height), slice(x0, x0 + width)), coverage


def outlines() -> dict[str, np.ndarray]:
    """Return the outline of every class, [V] complex x + iy, y pointing down, about 2 in diameter around 0."""
    t = np.linspace(-1, 1, 25)
    loop = np.exp(1j * np.pi * np.linspace(-1, 1, 49))  # closed, so that a ring's two circles meet in a seam of width 0
    moon = np.exp(0.65j * np.pi * t)
    hollow = moon[-1].real + 0.85 * np.cos(0.5 * np.pi * t) - 1j * moon[-1].imag * np.sin(0.5 * np.pi * t)
    a = np.angle(loop)
    lobes = 13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a) - np.cos(4 * a)
    arm = np.array([1 - 0.32j, 1 + 0.32j, 0.32 + 0.32j])
    barb = np.array([-1 + 0.24j, 0.1 + 0.24j, 0.1 + 0.75j])
    return {
        "circle": loop,
        "square": 0.9 * np.array([-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j]),
        "triangle": -1.18j * _polygon(3),
        "star": -1.15j * _polygon(10) * np.tile([1, 0.45], 5),
        "cross": np.concatenate([arm * 1j**quarter for quarter in range(4)]),
        "ring": np.concatenate([loop, 0.58 * loop]),
        "crescent": np.concatenate([moon, hollow]) - 0.1,
        "heart": (16 * np.sin(a) ** 3 - 1j * (lobes + 2.5)) / 15.5,
        "arrow": np.concatenate([barb, [1], barb[::-1].conj()]),
        "ell": np.array([-0.75 - 1j, -0.15 - 1j, -0.15 + 0.4j, 0.75 + 0.4j, 0.75 + 1j, -0.75 + 1j]),
        "hourglass": np.array([-0.75 - 1j, 0.75 - 1j, 0.14, 0.75 + 1j, -0.75 + 1j, -0.14]),
        "leaf": np.concatenate([t + 0.48j * (t**2 - 1), -t - 0.48j * (t**2 - 1)]),
    }


def clutter_outline(rng: np.random.Generator) -> np.ndarray:
    """Return the outline of clutter, a thin bent stroke or a blob of three lobes, unlike any class."""
    rotation = np.exp(2j * np.pi * rng.random())
    if rng.random() >= 0.5:
        arc = np.exp(1j * (0.5 + rng.random()) * np.linspace(-1, 1, 12))
        return np.concatenate([arc, 0.88 * arc[::-1]]) * rotation
    angle = 2 * np.pi * np.arange(48) / 48
    return _polygon(48) * (0.62 + 0.08 * np.cos(2 * angle + 6 * rng.random()) + 0.3 * np.cos(3 * angle)) * rotation


def texture(rng: np.random.Generator, kind: str, shape: tuple[int, ...], pitch: int) -> np.ndarray:
    """Return the tone of every pixel of a pattern, [h, w] integers 0 … 255.

    Args:
        rng: Generator of its direction and knots.
        kind: "flat", "gradient", "stripes", "checker", "dots" or "noise".
        shape: (height, width) in pixels.
        pitch: Approximate width of its elements in pixels.
    """
    y, x = np.ogrid[: shape[0], : shape[1]]
    angle = 2 * np.pi * rng.random()
    cos, sin = round(64 * np.cos(angle)), round(64 * np.sin(angle))
    u, v, pitch64 = cos * x + sin * y, cos * y - sin * x, 64 * pitch  # rotated coordinates in 1/64 px

    def wave(w: np.ndarray) -> np.ndarray:  # bands from -127 to 127 with edges 1 px wide
        return np.clip(4 * (np.abs(w % (2 * pitch64) - pitch64) - pitch64 // 2), -127, 127)

    match kind:
        case "flat":
            return np.zeros(shape, dtype=int)
        case "gradient":
            return (u - u.min()) * 255 // max(1, int(u.max() - u.min()))
        case "stripes":
            return 128 + wave(u)
        case "checker":
            return 128 + wave(u) * wave(v) // 128
        case "dots":
            radius = pitch64 * 5 // 8
            distance2 = (u % (2 * pitch64) - pitch64) ** 2 + (v % (2 * pitch64) - pitch64) ** 2
            return np.clip(128 + 2 * (radius**2 - distance2) // radius, 0, 255)
        case "noise":  # bilinear interpolation of random knots
            knots = (256 * rng.random((shape[0] // pitch + 2, shape[1] // pitch + 2))).astype(int)
            rows, down = knots[y[:, 0] // pitch], knots[y[:, 0] // pitch + 1]
            columns = rows * (pitch - y % pitch) + down * (y % pitch)  # [h, knots]
            left, right = columns[:, x[0] // pitch], columns[:, x[0] // pitch + 1]
            return (left * (pitch - x % pitch) + right * (x % pitch)) // pitch**2
        case _:
            raise ValueError(f"texture kind={kind!r} is unknown")


def blend(first: np.ndarray, second: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Return colors between `first` at tone 0 and `second` at tone 255, [h, w, 3] uint8."""
    ramp = first + (second - first) * np.arange(256)[:, None] // 255  # [256, 3]
    return ramp.astype(np.uint8)[tone]


def _polygon(corners: int) -> np.ndarray:
    return np.exp(2j * np.pi * np.arange(corners) / corners)
