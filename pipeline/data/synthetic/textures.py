"""Colours and patterns of the images of dataset=shapes: pure functions of a random generator."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float64]  # (height, width) or (height, width, 3), mostly within 0..1


def value_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Smooth noise, (height, width) within 0..1, with bumps about `cell` pixels wide."""
    rows, columns = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    knots = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    smooth = np.asarray(knots.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    return np.clip(smooth, 0.0, 1.0)


def fractal_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Three octaves of value noise, (height, width) within 0..1: clouds, marble, felt."""
    octaves = [value_noise(rng, height, width, max(2.0, cell / 2**octave)) for octave in range(3)]
    return (4 * octaves[0] + 2 * octaves[1] + octaves[2]) / 7


def pattern(rng: np.random.Generator, height: int, width: int, scale: float) -> Field:
    """A random pattern, (height, width) within 0..1: the share of the second of two colours at each pixel.

    It is nearly plain, a gradient, stripes, a checkerboard, dots, clouds or patches. Backgrounds and objects draw from
    the same patterns, so that no texture identifies a class.

    Args:
        scale: the longest period in pixels.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    angle = rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    period = rng.uniform(0.45, 1.0) * scale
    offset = rng.uniform(0, period)
    kind = rng.choice(["plain", "gradient", "stripes", "checker", "dots", "clouds", "patches"])
    if kind == "plain":
        return 0.25 * value_noise(rng, height, width, 2 * scale)
    if kind == "gradient":
        return np.asarray((along - along.min()) / max(np.ptp(along), 1.0))
    if kind == "stripes":
        bend = rng.uniform(0, 0.6) * period * value_noise(rng, height, width, 2 * scale)
        return _edge(_wave(along + offset + bend, period), period)
    if kind == "checker":
        return _edge(_wave(along + offset, 2 * period) * _wave(across, 2 * period), period)
    if kind == "dots":
        return _edge(_wave(along + offset, period) + _wave(across, period) - 0.8, period)
    if kind == "clouds":
        return fractal_noise(rng, height, width, 1.5 * scale)
    return _edge(2 * fractal_noise(rng, height, width, 2 * scale) - 1, scale / 2)


def _wave(position: Field, period: float) -> Field:
    return np.asarray(np.cos(2 * np.pi / period * position))


def _edge(wave: Field, period: float) -> Field:
    """Turn a wave around zero into two levels with an edge about one pixel wide, so that patterns are anti-aliased."""
    return np.clip(0.5 + wave * period / (2 * np.pi), 0.0, 1.0)


def background_colours(rng: np.random.Generator, hue: float) -> Field:
    """Two colours of low saturation near `hue` (0..1), (2, 3) RGB within 0..1: light, medium or dark."""
    low, high = [(0.62, 0.98), (0.4, 0.75), (0.14, 0.45)][rng.choice(3, p=[0.45, 0.25, 0.3])]
    saturation = rng.uniform(0.04, 0.24)
    first = colorsys.hsv_to_rgb(hue % 1, saturation, rng.uniform(low, high))
    hue += rng.uniform(-0.15, 0.15)
    second = colorsys.hsv_to_rgb(hue % 1, saturation * rng.uniform(0.4, 1.4), rng.uniform(low, high))
    return np.array([first, second])


def object_colours(rng: np.random.Generator, hue: float, background: Field) -> Field:
    """Two colours near `hue` (0..1) for one object, (2, 3) RGB within 0..1.

    One object in fifty has the colours of the background, slightly lighter or darker, so that contrast is usual but not
    guaranteed.
    """
    if rng.random() < 0.02:
        shade = rng.choice([0.72, 0.8, 1.25, 1.35])
        return np.asarray(np.clip(background * shade + rng.uniform(-0.04, 0.04, 3), 0.0, 1.0))
    saturation, value = rng.uniform(0.45, 0.9), rng.uniform(0.55, 1.0)
    first = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    if rng.random() < 0.4:  # towards white, the rest towards a darker neighbour
        return np.array([first, colorsys.hsv_to_rgb(hue % 1, 0.25 * saturation, 0.5 + value / 2)])
    darker = colorsys.hsv_to_rgb((hue + rng.uniform(-0.03, 0.03)) % 1, min(1.0, 1.1 * saturation), 0.62 * value)
    return np.array([first, darker])
