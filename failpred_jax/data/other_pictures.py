"""Files that are pictures, and are still not taken for any: of a kind that is not read here, or of another name."""

from collections.abc import Iterable
from pathlib import Path

from failpred_jax.data.listing import KINDS, SUFFIXES

# What phones, cameras, scanners and programs write besides.
_UNREAD = frozenset({
    '.heic', '.heif', '.heics', '.hif', '.avif', '.jxl', '.jp2', '.j2k', '.j2c', '.jpc', '.jpf', '.jpx', '.jpm',
    '.jpeg2000', '.jxr', '.wdp', '.dng', '.cr2', '.cr3', '.crw', '.nef', '.nrw', '.arw', '.sr2', '.raf', '.orf', '.rw2',
    '.pef', '.srw', '.x3f', '.psd', '.psb', '.xcf', '.exr', '.hdr', '.tga', '.pcx', '.qoi', '.pam', '.pfm', '.apng',
    '.svg', '.dcm', '.dicom', '.fits', '.svs', '.ndpi', '.mrxs', '.czi', '.djvu',
})  # fmt: skip
# How a file of a kind that is read begins -> the suffix that it should have.
_READ = {b'\x89PNG\r\n\x1a\n': '.png', b'\xff\xd8\xff': '.jpg', b'GIF87a': '.gif', b'GIF89a': '.gif'}
_TIFF = (b'II*\0', b'MM\0*')
_JPEG_2000, _JPEG_XL = b'\0\0\0\x0cjP  \r\n\x87\n', b'\0\0\0\x0cJXL \r\n\x87\n'
# The kinds of files that begin with 'ftyp', as films do too.
_BRANDS = {
    b'heic': 'HEIC', b'heix': 'HEIC', b'heim': 'HEIC', b'heis': 'HEIC', b'mif1': 'HEIF', b'msf1': 'HEIF',
    b'avif': 'AVIF', b'avis': 'AVIF', b'crx ': 'CR3',
}  # fmt: skip


def unread_kind(head: bytes) -> str:
    """Return which kind of picture that is not read here begins so, such as 'HEIC'; '' where it is none."""
    if head.startswith(_JPEG_2000):
        return 'JPEG 2000'
    if head.startswith(_JPEG_XL):
        return 'JPEG XL'
    return _BRANDS.get(head[8:12], '') if head[4:8] == b'ftyp' else ''


def other_picture(file: Path) -> str:
    """Return what to do about a picture that is not taken for one; '' of a file that is none.

    Its content counts before its name: many a PNG has no suffix, or that of another kind.
    """
    suffix = file.suffix.lower()
    if suffix in SUFFIXES or not file.is_file():
        return ''
    try:
        with file.open('rb') as opened:
            head = opened.read(16)
    except OSError:
        # Nobody knows what it is, but by its name.
        head = b''
    own = next((own for start, own in _READ.items() if head.startswith(start)), '')
    if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
        own = '.webp'
    elif head.startswith(b'BM') and head[6:10] == bytes(4):
        own = '.bmp'
    elif head.startswith(_TIFF) and suffix not in _UNREAD:
        # Cameras' raw pictures begin as TIFF does.
        own = '.tif'
    if own:
        return (
            f"'{file}' is a picture, but its name does not end as one of a kind that is read ({KINDS}); rename it to "
            f"'{file.with_suffix(own).name}'"
        )
    kind = unread_kind(head) or (suffix if suffix in _UNREAD else '')
    return f"'{file}' is a picture of a kind that is not read here ({kind}); save it as PNG or JPEG" if kind else ''


def other_pictures(files: Iterable[Path]) -> dict[Path, str]:
    """Return those of these files that are pictures and not taken for any, with what to do about each."""
    found = ((file, other_picture(file)) for file in files)
    return {file: why for file, why in found if why}
