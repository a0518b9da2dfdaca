"""Places for the quickstart photos: functions that paint a :class:`~painting.View`.

Each returns the radiance of a sharp picture, float64 ``(h, w, 3)``, linear RGB. Textures come
from the scikit-image wheel: ``brick``, ``gravel`` and ``grass`` (CC0), ``rocket`` (SpaceX, public
domain), ``hubble_deep_field`` (NASA, public domain). The rest is painted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from painting import Array, Colour, View, linear
from skimage import data


def living_room(view: View) -> Array:
    """A room: window with curtains on the left, a shelf and a lamp on the right."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.56, 0.5, 0.42), (0.4, 0.34, 0.27)))
    outside = view.mix(view.noise(0.12), (0.35, 0.6, 0.25), (1.7, 1.9, 2.0))
    view.paint(view.box(0.06 * a, 0.02, 0.33 * a, 0.62), outside)
    for x in (0.05 * a, 0.19 * a, 0.33 * a):
        view.paint(view.box(x, 0.0, x + 0.018, 0.64), (0.75, 0.74, 0.7))
    for y in (0.3, 0.62):
        view.paint(view.box(0.05 * a, y, 0.345 * a, y + 0.02), (0.75, 0.74, 0.7))
    folds = view.mix(0.5 + 0.5 * np.sin(view.x * 150), (0.36, 0.3, 0.24), (0.8, 0.72, 0.6))
    view.paint(view.box(-1, 0, 0.08 * a, 0.95) | view.box(0.33 * a, 0, 0.4 * a, 0.95), folds)
    for y in (0.2, 0.42, 0.64):
        view.books(0.66 * a, 0.9 * a, y, 0.17)
        view.paint(view.box(0.64 * a, y, 0.92 * a, y + 0.02), (0.2, 0.11, 0.06))
    view.paint(view.disc(0.96 * a, 0.3, 0.1) & (view.y < 0.33), (3.2, 2.2, 1.1))
    view.paint(view.box(0.955 * a, 0.33, 0.965 * a, 0.8), (0.1, 0.08, 0.06))
    view.paint(view.box(-1, 0.8, 9, 2), (0.16, 0.18, 0.22))
    return view.image * (1 + 0.7 * view.glow(0.96 * a, 0.3, 0.3) * np.array((1.2, 0.9, 0.5)))


def garden(view: View) -> Array:
    """Sunlit leaves, sky glinting through them, a lawn below."""
    leaves = view.noise(0.3, 5) * 0.7 + view.noise(0.04, 3) * 0.3
    view.paint(view.y < 2, view.mix(leaves**2, (0.01, 0.035, 0.008), (0.3, 0.44, 0.09)))
    gaps = np.clip(view.noise(0.25, 5) * 2.6 - 1.75 - view.y, 0, 1)
    view.paint(gaps, (1.3, 1.45, 1.4))
    view.lights(150, 0.0, 0.6, [(0.8, 1.0, 0.45), (1.0, 1.0, 0.8), (0.5, 0.8, 0.2)], 13)
    depth = 1 / np.clip(view.y - 0.6, 0.02, None)
    blades = view.texture(data.grass() / 255, (view.x - view.aspect / 2) * depth * 90, depth * 110)
    lawn = blades * np.array((0.4, 0.62, 0.14))
    view.paint(np.clip((view.y - 0.7) * 25, 0, 1), lawn)
    return view.image


def autumn(view: View) -> Array:
    """An avenue of trunks under yellow and orange leaves."""
    leaves = view.noise(0.22, 5)
    hue = view.noise(0.4, 2)[..., None]
    warm = view.mix(leaves, (0.12, 0.03, 0.005), (0.9, 0.42, 0.06))
    view.paint(view.y < 2, warm * (1 - hue) + warm[..., [0, 0, 2]] * (0.85, 0.75, 1) * hue)
    view.paint(np.clip(view.noise(0.2) * 3 - 2.1 - view.y, 0, 1), (1.3, 1.35, 1.4))
    view.lights(90, 0.0, 0.5, [(1.0, 0.75, 0.3), (1.0, 0.5, 0.15)], 13)
    for place in np.linspace(0.02, 0.98, 6) + view.rng.uniform(-0.05, 0.05, 6):
        x, half = place * view.aspect, view.rng.uniform(0.012, 0.035)
        bark = view.mix(view.noise(0.03), (0.02, 0.014, 0.01), (0.1, 0.07, 0.05))
        view.paint((np.abs(view.x - x - 0.012 * np.sin(view.y * 5 + x)) < half), bark)
    litter = view.mix(view.noise(0.03, 3, 3), (0.22, 0.08, 0.02), (0.75, 0.4, 0.08))
    view.paint(np.clip((view.y - 0.72) * 14, 0, 1), litter)
    return view.image


def street(view: View) -> Array:
    """A street in the blue hour: lit windows, lamps, cars, a wet road."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.03, 0.07, 0.22), (0.5, 0.3, 0.26), 0.0, 0.6))
    x = -0.05
    while x < a:
        middle = abs(x / a - 0.5)
        width, top = view.rng.uniform(0.14, 0.26), 0.5 - 0.9 * middle + view.rng.uniform(-0.1, 0.1)
        view.paint(view.box(x, top, x + width, 0.72), (0.03, 0.035, 0.06))
        for row in np.arange(top + 0.03, 0.62, 0.055):
            for column in np.arange(x + 0.015, x + width - 0.02, 0.04):
                if view.rng.random() < 0.4:
                    warm = np.array((1.6, 0.95, 0.4)) * view.rng.uniform(0.2, 1.1)
                    view.paint(view.box(column, row, column + 0.02, row + 0.03), warm)
        x += width
    view.lights(14, 0.25, 0.5, [(1.0, 0.6, 0.22), (1.0, 0.72, 0.4)], 24)
    view.lights(16, 0.6, 0.68, [(1.0, 0.05, 0.03), (1.0, 0.9, 0.75), (0.1, 0.9, 0.5)], 20)
    mirrored = view.image[::-1] * 0.35 + 0.02
    rows = np.clip((np.arange(view.h)[:, None] / view.h - 0.7) * 30, 0, 1) * np.ones((1, view.w))
    view.paint(rows, np.roll(mirrored, int(view.h * 0.4), axis=0))
    return view.image


def beach(view: View) -> Array:
    """Sand, a glittering sea and fair weather clouds."""
    view.paint(view.y < 2, view.ramp((0.12, 0.32, 0.7), (0.66, 0.8, 0.92), 0.0, 0.48))
    clouds = np.clip(view.noise(0.35, 5, 2.5) * 2 - 1.05, 0, 1) * np.clip(1.4 - 2.4 * view.y, 0, 1)
    view.paint(clouds, (1.0, 0.99, 0.97))
    swell = view.noise(0.03, 3, 9)
    view.paint(view.y > 0.48, view.mix(swell, (0.03, 0.16, 0.24), (0.16, 0.42, 0.5)))
    view.lights(120, 0.49, 0.6, [(1.0, 0.98, 0.9)], 7)
    shore = 0.7 + 0.03 * np.sin(view.x * 3) + 0.015 * np.sin(view.x * 11)
    view.paint(np.clip((view.y - shore + 0.03) * 60, 0, 1), (0.85, 0.9, 0.92))
    sand = view.mix(view.noise(0.06, 4, 2), (0.42, 0.31, 0.19), (0.66, 0.53, 0.36))
    view.paint(np.clip((view.y - shore) * 40, 0, 1), sand)
    return view.image


def launch_pad(view: View) -> Array:
    """A rocket on its pad at nightfall (SpaceX)."""
    picture = linear(data.rocket() / 255.0)
    scale = 427 / 1.12
    u = (view.x - view.aspect / 2) * scale + 235 + 60 * view.rng.random()
    image = view.texture(picture, np.abs(u), (view.y + 0.06) * scale)
    return image * (1.3 + 9 * np.clip(image.max(axis=2, keepdims=True) - 0.55, 0, 1))


def brick_wall(view: View) -> Array:
    """A brick wall in full sun."""
    near = 1 + 0.25 * (view.x / view.aspect - 0.5)
    rows, columns = 20 + view.y * 410 * near, 20 + view.x * 310 * near
    wall = view.texture(data.brick() / 255, rows, columns)[..., 0]
    joint = np.clip((wall - 0.48) * 6, 0, 1)
    bricks = view.mix(view.noise(0.09, 3, 2.5), (0.3, 0.11, 0.07), (0.55, 0.25, 0.17))
    bricks *= (0.45 + 1.4 * wall)[..., None]
    view.paint(view.y < 2, bricks)
    view.paint(joint, (0.55, 0.5, 0.44))
    return view.image


def library(view: View) -> Array:
    """Bookcases up to the ceiling, a reading lamp."""
    a = view.aspect
    view.paint(view.y < 2, (0.05, 0.028, 0.016))
    for y in (0.15, 0.36, 0.57, 0.78, 0.99):
        view.books(0.0, a, y, 0.19)
        view.paint(view.box(-1, y, 9, y + 0.02), (0.16, 0.085, 0.04))
    for place in (0.24, 0.76):
        view.paint(view.box(place * a, -1, place * a + 0.035, 2), (0.2, 0.11, 0.055))
    light = 0.45 + 1.7 * view.glow(0.93 * a, 0.1, 0.38) * np.array((1.15, 0.9, 0.6))
    view.image = view.image * light
    view.paint(view.disc(0.93 * a, 0.1, 0.035), (5.0, 3.4, 1.6))
    return view.image


def mountains(view: View) -> Array:
    """Ridges going pale with distance, a meadow in front."""
    view.paint(view.y < 2, view.ramp((0.2, 0.4, 0.75), (0.8, 0.86, 0.92), 0.0, 0.45))
    clouds = np.clip(view.noise(0.3, 5, 2.5) * 2 - 1.15, 0, 1)
    view.paint(clouds * np.clip(1 - 2.5 * view.y, 0, 1), (1.0, 1.0, 1.0))
    hazes: list[Colour] = [
        (0.5, 0.6, 0.76),
        (0.3, 0.41, 0.56),
        (0.14, 0.23, 0.26),
        (0.07, 0.14, 0.08),
    ]
    for k, haze in enumerate(hazes):
        phase = view.rng.uniform(0, 6, 24)
        ridge = (
            0.26
            + 0.11 * k
            + sum(
                0.07 / (n + 1) * np.sin((n + 1) * (1.7 + k) * view.x + phase[n]) for n in range(24)
            )
        )
        rock = view.mix(view.noise(0.08, 4), haze, (haze[0] * 1.5, haze[1] * 1.4, haze[2] * 1.3))
        view.paint(view.y > ridge, rock)
        if k == 0:
            snow = (view.y > ridge) & (view.y < ridge + 0.05 * view.noise(0.04, 3))
            view.paint(snow, (0.9, 0.93, 1.0))
    meadow = view.mix(view.noise(0.05, 4, 3), (0.12, 0.22, 0.04), (0.36, 0.48, 0.12))
    view.paint(np.clip((view.y - 0.74) * 16, 0, 1), meadow)
    return view.image


def studio(view: View) -> Array:
    """A painted canvas backdrop with a light on it."""
    canvas = view.mix(view.noise(0.35, 4), (0.1, 0.13, 0.17), (0.24, 0.27, 0.31))
    return canvas * (0.45 + 1.5 * view.glow(0.4 * view.aspect, 0.42, 0.45))


def party(view: View) -> Array:
    """A living room in the evening: strings of lights, candles, warm walls."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.2, 0.11, 0.055), (0.11, 0.055, 0.028)))
    view.paint(view.box(0.08 * a, 0.15, 0.3 * a, 0.5), (0.09, 0.05, 0.03))
    tree = np.abs(view.x - 0.85 * a) < 0.32 * np.clip(view.y - 0.02, 0, 0.85)
    view.paint(tree, view.mix(view.noise(0.05, 4), (0.008, 0.02, 0.01), (0.06, 0.12, 0.045)))
    for _ in range(42):
        y = view.rng.uniform(0.1, 0.9)
        x = 0.85 * a + view.rng.uniform(-0.28, 0.28) * y
        view.paint(view.disc(x, y, 0.005), np.array((22.0, 11.5, 3.6)) * view.rng.uniform(0.2, 1))
    for x in np.arange(0.02, 0.72 * a, 0.075):
        sag = 0.08 + 0.09 * np.sin(np.pi * ((x / 0.36) % 1))
        view.paint(view.disc(x, sag, 0.005), np.array((26.0, 15.0, 5.0)) * view.rng.uniform(0.4, 1))
    view.books(0.1 * a, 0.28 * a, 0.48, 0.2)
    return view.image * (1 + 1.6 * view.glow(0.3 * a, 0.3, 0.4))


def snow(view: View) -> Array:
    """Firs in falling snow under a white sky."""
    view.paint(view.y < 2, view.ramp((0.6, 0.66, 0.74), (0.82, 0.86, 0.92)))
    for k in range(26):
        x, foot = view.rng.uniform(-0.05, view.aspect + 0.05), 0.6 + 0.005 * k
        tall, pale = view.rng.uniform(0.3, 0.62), 0.34 - 0.011 * k
        steps = 0.75 + 0.25 * (((view.y - foot) * 14) % 1)
        half = 0.22 * np.clip(view.y - foot + tall, 0, tall) * steps
        fir = (np.abs(view.x - x) < half) & (view.y < foot)
        snowy = view.mix(view.noise(0.05, 3) ** 2, (pale * 0.6, pale * 0.8, pale), (0.8, 0.84, 0.9))
        view.paint(fir, snowy)
    ground = view.mix(view.noise(0.2, 4, 3), (0.72, 0.77, 0.86), (0.95, 0.96, 0.98))
    view.paint(np.clip((view.y - 0.66) * 10, 0, 1), ground)
    view.lights(160, 0.0, 0.8, [(1.0, 1.0, 1.0)], 4)
    return view.image


def museum(view: View) -> Array:
    """A grey hall with a lit picture of the deep field (NASA) on its wall."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.34, 0.34, 0.35), (0.2, 0.2, 0.21)))
    sky = linear(data.hubble_deep_field() / 255.0)
    for x0, width in ((0.04 * a, 0.4 * a), (0.56 * a, 0.5 * a)):
        frame = view.box(x0 - 0.02, 0.08, x0 + width + 0.02, 0.62)
        view.paint(frame, (0.02, 0.02, 0.02))
        shown = view.texture(sky, 100 + (view.x - x0) * 1000, (view.y - 0.1) * 1000 + 120)
        view.paint(view.box(x0, 0.1, x0 + width, 0.6), shown * 1.4 + (0.006, 0.009, 0.02))
    view.paint(view.y > 0.8, view.ramp((0.1, 0.085, 0.07), (0.2, 0.17, 0.14), 0.8, 1.0))
    view.image = view.image * (0.6 + 0.9 * view.glow(0.25 * a, 0.1, 0.35))
    for x in (0.12, 0.37, 0.62, 0.87):
        view.paint(view.disc(x * a, 0.03, 0.012), (24.0, 22.0, 18.0))
    return view.image


def kitchen(view: View) -> Array:
    """White tiles, a window, hanging lamps and plants on a wooden board."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.62, 0.64, 0.63), (0.5, 0.51, 0.5)))
    joints = ((view.x % 0.11) < 0.006) | ((view.y % 0.065) < 0.006)
    view.paint(joints, (0.36, 0.37, 0.37))
    outside = view.mix(view.noise(0.2, 4), (0.3, 0.55, 0.24), (1.5, 1.65, 1.75))
    view.paint(view.box(0.55 * a, 0.0, 0.92 * a, 0.48), outside)
    view.paint(
        view.box(0.725 * a, 0, 0.745 * a, 0.48) | view.box(0.53 * a, 0.47, 0.94 * a, 0.5),
        (0.8, 0.8, 0.78),
    )
    view.paint(view.box(-1, 0.34, 0.45 * a, 0.37), (0.36, 0.2, 0.09))
    for x in np.arange(0.04, 0.42 * a, 0.1):
        pot = view.rng.uniform(0.05, 0.09)
        glaze = np.array([(0.5, 0.16, 0.08), (0.1, 0.22, 0.3), (0.7, 0.66, 0.58)])
        view.paint(view.box(x, 0.34 - pot, x + 0.065, 0.34), glaze[view.rng.integers(3)])
        leaf = view.disc(x + 0.03, 0.31 - pot, 0.05) & (view.noise(0.03, 2) > 0.4)
        view.paint(leaf, (0.07, 0.24, 0.05))
    for x in (0.18 * a, 0.45 * a):
        view.paint(view.disc(x, 0.12, 0.06) & (view.y < 0.12), (0.05, 0.07, 0.08))
        view.paint(view.disc(x, 0.125, 0.025), (14.0, 10.0, 5.5))
    view.paint(view.y > 0.72, view.mix(view.noise(0.03, 3, 6), (0.2, 0.1, 0.04), (0.36, 0.2, 0.09)))
    return view.image


def lake(view: View) -> Array:
    """A lake in the last sun, hills and glitter behind."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.3, 0.38, 0.6), (1.35, 0.72, 0.32), 0.0, 0.46))
    view.paint(np.clip(view.noise(0.25, 5, 4) * 2 - 1.1, 0, 1) * (view.y < 0.45), (1.1, 0.6, 0.42))
    view.image = view.image + 2.6 * view.glow(0.78 * a, 0.4, 0.07) * np.array((1.0, 0.7, 0.35))
    hill = 0.4 - 0.05 * np.sin(view.x * 4 + 1) - 0.02 * np.sin(view.x * 13)
    view.paint(view.y > hill, (0.1, 0.07, 0.09))
    water = view.ramp((0.95, 0.52, 0.27), (0.1, 0.13, 0.22), 0.48, 0.95)
    view.paint(view.y > 0.48, water * (0.55 + 0.7 * view.noise(0.02, 3, 10)[..., None]))
    path = np.exp(-(((view.x - 0.78 * a) / (0.03 + 0.35 * np.clip(view.y - 0.48, 0, 1))) ** 2))
    path = path * (view.y > 0.48) * np.clip(1.3 - view.y, 0, 1) * view.noise(0.012, 2, 6) ** 2
    return view.image + 2.2 * path[..., None] * np.array((1.0, 0.62, 0.28))


def terrace(view: View) -> Array:
    """A gravel yard, a hedge and a white house in the sun."""
    a = view.aspect
    view.paint(view.y < 2, view.ramp((0.22, 0.45, 0.85), (0.62, 0.76, 0.92), 0, 0.5))
    view.paint(view.box(0.5 * a, 0.08, 9, 0.7), view.ramp((0.95, 0.91, 0.82), (0.72, 0.68, 0.6)))
    view.paint((view.y < 0.1) & (view.y > 0.1 - 0.4 * (view.x - 0.46 * a)), (0.42, 0.14, 0.08))
    for x in (0.56, 0.72, 0.88):
        view.paint(view.box(x * a, 0.22, x * a + 0.11, 0.5), (0.1, 0.14, 0.18))
        for side in (-0.05, 0.115):
            view.paint(view.box(x * a + side, 0.21, x * a + side + 0.045, 0.51), (0.1, 0.26, 0.3))
    green = view.mix(view.noise(0.06, 4), (0.02, 0.06, 0.015), (0.22, 0.36, 0.09))
    crown = 0.3 + 0.12 * view.noise(0.25, 3) + np.clip(view.x - 0.42 * a, 0, 1) * 0.5
    view.paint((view.y > np.minimum(crown, 0.62)) & (view.y < 0.72), green)
    view.lights(60, 0.52, 0.7, [(1.0, 0.3, 0.4), (1.0, 0.95, 0.6), (0.9, 0.4, 0.8)], 6)
    depth = 1 / np.clip(view.y - 0.55, 0.02, None)
    stones = view.texture(data.gravel() / 255, (view.x - a / 2) * depth * 60, depth * 90)
    view.paint(view.y > 0.71, stones * np.array((0.85, 0.78, 0.66)))
    return view.image


SCENES: dict[str, Callable[[View], Array]] = {
    scene.__name__: scene
    for scene in (
        living_room, garden, autumn, street, beach, launch_pad, brick_wall, library, mountains,
        studio, party, snow, museum, kitchen, lake, terrace,
    )
}  # fmt: skip
