"""Which files are images, and how their pixels become RGB.

One rule for all: the first frame, upright as EXIF says, to 8 bits of RGB as Pillow converts it (palettes are looked
up, inks become light, transparency is dropped); more than 8 bits of grey are refused, since no range is known for them.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from ...common.reading import read_bytes

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".avif",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".jp2",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
# Whatever a file is called, only these decoders see it: others of Pillow's start programs, as that of PostScript does.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "ICO")
LARGEST_FILE = 1 << 30


def read_image(path: str) -> bytes:
    """Content of an image file.

    Raises:
        UnreadableFile: it is missing, no regular file, or larger than a GiB.
        ValueError: it is empty.
    """
    content = read_bytes(Path(path), LARGEST_FILE)
    if not content:
        raise ValueError("it is empty")
    return content


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """An image whose pixels have not been decoded yet, without Pillow's warnings about large or odd ones.

    Raises:
        OSError: it is no image of a known format.
        Image.DecompressionBombError: it has more than 179 million pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(content), formats=_formats()) as image:
            yield image


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits per channel that would be lost."""
    return image.mode.startswith(("I", "F"))


def to_rgb(content: bytes, side: int | None = None) -> Image.Image:
    """Decode a file fully to RGB, upright as its EXIF orientation says.

    Args:
        content: of an image file.
        side: when given, JPEGs far larger than this may be decoded at a fraction of their size, which is much faster.

    Raises:
        OSError: it is no image of a known format, or is truncated.
        ValueError: its pixels have more than 8 bits per channel.
    """
    with opened(content) as image:
        if is_deep(image):
            raise ValueError("more than 8 bits per channel; convert it to 8")
        if side is not None:
            image.draft(None, (2 * side, 2 * side))  # twice the size keeps the antialiased resize that follows exact
        image.load()
        with contextlib.suppress(Exception):  # EXIF that cannot be read says nothing; sound pixels stay sound
            ImageOps.exif_transpose(image, in_place=True)
        return image.convert("RGB")


@functools.cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]
