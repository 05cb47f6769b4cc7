"""Pictures of every mode come out right, or are refused in words."""

import io

import numpy as np
import pytest
from PIL import Image

from failpred_jax.data.pictures import read_label_map, read_picture
from failpred_jax.errors import UserError


def file_of(image, form='png', **how):
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


GRAY = (np.arange(12, dtype=np.uint8).reshape(3, 4) * 20).copy()
RGB = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)
PICTURES = {
    'gray': (Image.fromarray(GRAY), np.repeat(GRAY[..., None], 3, axis=-1)),
    'rgb': (Image.fromarray(RGB), RGB),
    'rgba': (Image.fromarray(np.concatenate([RGB, GRAY[..., None]], axis=-1)), RGB),
    'palette': (Image.fromarray(RGB).quantize(16), RGB),
    '16 bits': (Image.fromarray(GRAY.astype(np.uint16) * 257), np.repeat(GRAY[..., None], 3, axis=-1)),
    'one bit': (Image.fromarray(GRAY > 100), np.repeat(((GRAY > 100) * np.uint8(255))[..., None], 3, axis=-1)),
}


@pytest.mark.parametrize('mode', PICTURES)
def test_every_mode_gives_the_colors_that_a_viewer_shows(mode):
    image, expected = PICTURES[mode]
    assert np.array_equal(read_picture(file_of(image)), expected)
    assert read_picture(file_of(image), channels=1).shape == (3, 4, 1)


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    found = read_picture(file_of(Image.fromarray(RGB), exif=exif))
    assert np.array_equal(found, np.rot90(RGB, -1))


@pytest.mark.filterwarnings('ignore:Corrupt EXIF data')
def test_broken_exif_data_are_no_reason_to_refuse_a_picture():
    gray = Image.fromarray(np.tile(GRAY, (4, 4)))
    found = read_picture(file_of(gray, 'jpeg', exif=b'Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\xffgarbage'), channels=1)
    assert found.shape == (12, 16, 1)


def test_several_pages_are_not_taken_for_one_picture():
    pages = file_of(Image.fromarray(GRAY), 'tiff', save_all=True, append_images=[Image.fromarray(GRAY)] * 2)
    with pytest.raises(UserError, match=r'holds 3 pictures \(pages of a TIFF\)'):
        read_picture(pages, name='stack.tif')


def test_cmyk_becomes_rgb():
    white = Image.new('CMYK', (8, 8), (0, 0, 0, 0))
    assert (read_picture(file_of(white, 'jpeg')) > 250).all()


def test_what_is_no_picture_is_told():
    with pytest.raises(UserError, match='cannot be read as an image'):
        read_picture(b'nothing', name='x.png')
    with pytest.raises(UserError, match='cannot be read as an image'):
        read_picture(file_of(Image.fromarray(RGB))[:40], name='x.png')
    with pytest.raises(UserError, match='floating-point'):
        read_picture(file_of(Image.fromarray(GRAY.astype(np.float32)), 'tiff'), name='x.tif')


def test_a_label_map_keeps_the_numbers_of_its_palette(tmp_path):
    labels = Image.fromarray(GRAY // 20)
    palette = labels.copy()
    palette.putpalette([255 - i % 256 for i in range(768)])
    palette.save(tmp_path / 'b.png')
    assert np.array_equal(read_label_map(tmp_path / 'b.png'), GRAY // 20)
    Image.fromarray(RGB).save(tmp_path / 'c.png')
    with pytest.raises(UserError, match='turn colors into class numbers'):
        read_label_map(tmp_path / 'c.png')
