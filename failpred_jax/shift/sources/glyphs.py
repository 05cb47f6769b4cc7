"""Printed letters and digits, from the typefaces that Pillow carries; nothing has to be had for them."""

import functools

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.registry import SHIFTS
from failpred_jax.shift.corruption import generator
from failpred_jax.shift.images import Form, ShiftImages, in_form

COUNT = 2000
LETTERS, DIGITS = 'ABCDEFGHIJ', '0123456789'
_SIDE = 56


@SHIFTS.register('glyphs')
def letters(argument: str, form: Form) -> ShiftImages:
    """Return the letters A to J, white on black: near to written digits, and of no class of theirs."""
    _check_nothing(argument, 'glyphs')
    if set(LETTERS) & set(form.info.class_names):
        raise UserError(f'the classes of {form.info.name} are letters themselves, so that letters are no strangers')
    images, _ = render(LETTERS, form.seed)
    return ShiftImages(in_form(images, form.info), None, 'printed letters A to J in two typefaces, strangers')


@SHIFTS.register('glyph_digits')
def digits(argument: str, form: Form) -> ShiftImages:
    """Return printed digits: for classes 0 to 9, a labeled shift."""
    _check_nothing(argument, 'glyph_digits')
    if tuple(form.info.class_names) != tuple(DIGITS):
        raise UserError(f"the classes of {form.info.name} are not the digits 0 to 9; printed letters are 'glyphs'")
    images, labels = render(DIGITS, form.seed)
    return ShiftImages(in_form(images, form.info), labels, 'printed digits 0 to 9 in two typefaces')


def render(characters: str, seed: int, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Return (images [N, 56, 56, 1] uint8, which character each shows [N] int32), drawn by seed.

    Each is turned by up to 15 degrees, slanted, made thicker, and moved at random.
    """
    images = np.empty((count, _SIDE, _SIDE, 1), np.uint8)
    labels = (np.arange(count) % len(characters)).astype(np.int32)
    for i in range(count):
        images[i, ..., 0] = _rendered(characters[labels[i]], generator(seed, 'glyphs', i))
    return images, labels


def _rendered(character: str, drawn: np.random.Generator) -> np.ndarray:
    from PIL import Image

    picture = _glyph(character, int(drawn.integers(2)), int(drawn.integers(3)))
    turn, slant = np.deg2rad(drawn.uniform(-15, 15)), drawn.uniform(-0.2, 0.2)
    zoom, move = drawn.uniform(0.9, 1.25), drawn.uniform(-4, 4, 2)
    cosine, sine = np.cos(turn) * zoom, np.sin(turn) * zoom
    middle = _SIDE / 2
    # From where each pixel of the result comes: (x, y) of the unchanged glyph.
    matrix = np.array([[cosine, sine + slant], [-sine, cosine]])
    offset = middle - matrix @ (middle + move)
    changed = picture.transform(
        (_SIDE, _SIDE),
        Image.Transform.AFFINE,
        (*matrix[0], offset[0], *matrix[1], offset[1]),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(changed)


@functools.cache
def _glyph(character: str, typeface: int, weight: int):
    """Return one character in the middle of a black square: outlined (Aileron), or a bitmap that was enlarged."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new('L', (_SIDE, _SIDE))
    if typeface == 0:
        try:
            font = ImageFont.load_default(38)
        except (ImportError, OSError) as error:
            raise UserError(
                f'this Pillow cannot draw outlined letters ({error}); install one with FreeType, as PyPI has it, or '
                'leave printed characters out'
            ) from error
        ImageDraw.Draw(picture).text((_SIDE / 2, _SIDE / 2), character, 255, font, anchor='mm', stroke_width=weight)
        return picture
    small = Image.new('L', (12, 14))
    ImageDraw.Draw(small).text((3, 1), character, 255, ImageFont.load_default_imagefont())
    left, top, right, bottom = small.getbbox() or (0, 0, 12, 14)
    height = 32 + 2 * weight
    size = (max(1, round((right - left) * height / (bottom - top))), height)
    large = small.crop((left, top, right, bottom)).resize(size, Image.Resampling.BICUBIC)
    picture.paste(large, ((_SIDE - large.width) // 2, (_SIDE - large.height) // 2))
    return picture


def _check_nothing(argument: str, name: str) -> None:
    if argument:
        raise UserError(f"'{name}' takes nothing after a colon, but '{argument}' is there")
