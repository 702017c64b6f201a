"""Sample pictures, painted on the spot: a sky, a sun or moon, and ridges that fade into the distance."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

WIDTH, HEIGHT = 1500, 1000


@dataclass(slots=True, frozen=True)
class Scene:
    """One picture: who took it, and its colours from the top of the sky to the nearest ridge."""

    title: str
    by: str
    sky: Colour
    horizon: Colour
    near: Colour
    light: Colour


SCENES = (
    Scene("Before the others wake", "Ada", (58, 76, 122), (247, 178, 122), (34, 30, 52), (255, 236, 200)),
    Scene("Fog in the valley", "Jonas", (138, 158, 172), (226, 226, 216), (38, 62, 66), (250, 248, 236)),
    Scene("Blue hour", "Mira", (18, 26, 62), (96, 132, 186), (8, 14, 32), (232, 238, 250)),
    Scene("Last train home", "Emil", (72, 28, 78), (244, 118, 92), (30, 14, 38), (255, 208, 140)),
    Scene("Above the tree line", "Ada", (72, 138, 190), (214, 232, 236), (28, 70, 62), (255, 255, 244)),
    Scene("Desert, nine o'clock", "Sami", (210, 142, 84), (250, 222, 168), (116, 54, 30), (255, 246, 220)),
    Scene("The night it was clear", "Mira", (6, 10, 26), (46, 66, 98), (2, 6, 14), (244, 242, 226)),
    Scene("Rose morning", "Jonas", (184, 122, 158), (252, 214, 202), (84, 50, 84), (255, 244, 236)),
    Scene("North wind", "Emil", (52, 92, 104), (178, 206, 196), (14, 38, 44), (246, 250, 240)),
)


def paint(scene: Scene) -> bytes:
    """The scene as a JPEG file; the same one each time."""
    dice = random.Random(scene.title)
    picture = _sky(scene)
    _paint_light(picture, scene, dice)
    ridges = 6
    for ridge in range(ridges):
        colour = _blend(scene.horizon, scene.near, ((ridge + 1) / ridges) ** 1.3)
        base = HEIGHT * (0.52 + 0.44 * ridge / ridges)
        ImageDraw.Draw(picture).polygon(_ridge(dice, base, 120 - 9 * ridge), fill=colour)
    file = BytesIO()
    picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _sky(scene: Scene) -> Image.Image:
    column = Image.new("RGB", (1, HEIGHT))
    for y in range(HEIGHT):
        column.putpixel((0, y), _blend(scene.sky, scene.horizon, min(1.0, y / (HEIGHT * 0.62)) ** 1.4))
    return column.resize((WIDTH, HEIGHT))


def _paint_light(picture: Image.Image, scene: Scene, dice: random.Random) -> None:
    """The sun or moon with its glow."""
    x, y, radius = dice.uniform(0.2, 0.8) * WIDTH, dice.uniform(0.18, 0.42) * HEIGHT, dice.uniform(34, 62)
    mask = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(mask)
    draw.circle((x, y), radius * 3.2, fill=70)
    mask = mask.filter(ImageFilter.GaussianBlur(radius))
    ImageDraw.Draw(mask).circle((x, y), radius, fill=245)
    picture.paste(scene.light, mask=mask.filter(ImageFilter.GaussianBlur(1.5)))


def _ridge(dice: random.Random, base: float, height: float) -> list[tuple[float, float]]:
    """A ridge's outline: waves of falling size, one over the other."""
    waves = [(dice.uniform(0, math.tau), 1.6**n, 0.62**n) for n in range(9)]
    line = [
        (float(x), base - height * sum(size * math.sin(start + x / 210 * pace) for start, pace, size in waves))
        for x in range(0, WIDTH + 5, 5)
    ]
    return [*line, (WIDTH, HEIGHT), (0, HEIGHT)]
