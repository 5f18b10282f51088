#!/usr/bin/env python3
"""Draws scan.png: a page as a cheap scanner sees it, for the text recognition examples and tests.

Why: a page whose text, angle and noise are known; nobody's document. Same bytes for the same Pillow and font.
Needs Pillow and the DejaVu Serif font (Debian: python3-pil fonts-dejavu-core).  Use: make_scan.py [OUT.png]
"""

import os
import random
import sys

from PIL import Image, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT, FONT_SIZE, LINE_STEP = 900, 400, 30, 52
ANGLE_DEGREES = 1.6  # counter-clockwise
NOISE = 9  # grey levels either way
FONT = "DejaVuSerif.ttf"
LINES = [
    "The harbour office opens at 8:30 every morning.",
    "Invoice 2047 was paid in full on 12 March.",
    "Please return the brass key to the keeper.",
    "Total weight: 315 kg, packed in six boxes.",
    "Signed by the captain and two witnesses.",
]


def draw(path):
    paper, ink = 243, 38
    page = Image.new("L", (WIDTH * 2, HEIGHT * 2), paper)  # drawn at twice the size: smoother edges after rotation
    pen = ImageDraw.Draw(page)
    font = ImageFont.truetype(FONT, FONT_SIZE * 2)
    top = (HEIGHT - LINE_STEP * (len(LINES) - 1) - FONT_SIZE) // 2
    for i, text in enumerate(LINES):
        pen.text((2 * 60, 2 * (top + i * LINE_STEP)), text, font=font, fill=ink)
    page = page.rotate(ANGLE_DEGREES, resample=Image.BICUBIC, fillcolor=paper)
    page = page.resize((WIDTH, HEIGHT), Image.LANCZOS).filter(ImageFilter.GaussianBlur(0.5))
    dice = random.Random(2047)
    pixels = page.tobytes()
    noisy = bytes(max(0, min(255, p // 4 * 4 + 4 * (dice.randint(-NOISE, NOISE) // 4))) for p in pixels)
    Image.frombytes("L", page.size, noisy).save(path, optimize=True)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    draw(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "scan.png"))
