"""Pictures of every awkward kind, made here byte by byte where no library writes them; and the two decoders give one result."""

from __future__ import annotations

import itertools
import random
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from kinemacolor.media.pictures import BrokenPicture, decode_picture, decode_sound, quietly, size_of
from kinemacolor.media.plain_pictures import decode_plain, size_if_surely_whole

from .collecting import encoded, scene

TURNS = {  # orientation as a camera writes it: how the stored pixels are to be shown
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.transpose(1, 0, 2),
    6: lambda shown: np.rot90(shown, -1),
    7: lambda shown: shown[::-1, ::-1].transpose(1, 0, 2),
    8: lambda shown: np.rot90(shown),
}


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values: np.ndarray, kind: int, *more: bytes) -> bytes:
    """A PNG of 16-bit values (H,W,channels) with chunks of its own before the pixels."""
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(values: np.ndarray, orientation: int) -> bytes:
    """A TIFF of 16-bit values (H,W,3)."""
    height, width, channels = values.shape
    data, places = values.astype("<u2").tobytes(), 8 + 2 + 12 * 11 + 4
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, places), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, places + 2 * channels), (274, 3, 1, orientation), (277, 3, 1, channels)]
    entries += [(278, 3, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1)]
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, 11) + listed + struct.pack("<I3H", 0, 16, 16, 16) + data


def deep(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 65536, shape).astype(np.uint16)


def narrow(values: np.ndarray) -> np.ndarray:
    return np.round(values / 257)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.broadcast_to(colours * alpha + 255 * (1 - alpha), (*colours.shape[:2], 3))


def differs(data: bytes, shown: np.ndarray) -> float:
    """The largest difference in any channel; both decoders are asked."""
    found = decode_picture(data)
    assert found.dtype == np.uint8 and found.flags["C_CONTIGUOUS"] and found.shape == shown.shape
    assert np.array_equal(found, decode_sound(data)) and np.array_equal(found, decode_sound(memoryview(data)))
    return float(np.abs(found.astype(float) - shown).max())


# --------------------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize("orientation", TURNS)
def test_what_a_camera_turned_is_upright(orientation: int) -> None:
    plain, wide = scene(20, 31), deep(6, 9, 3)
    exif = turned(orientation)
    for form, more in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.items():
        data = encoded(Image.fromarray(plain), form, exif=exif, **more)
        assert differs(data, TURNS[orientation](plain)) <= (6 if form == "JPEG" else 0), form
    exif_chunk = chunk(b"eXIf", exif.tobytes()[6:])
    assert differs(png(wide, 2, exif_chunk), TURNS[orientation](narrow(wide))) == 0
    assert differs(tiff(wide, orientation), TURNS[orientation](narrow(wide))) == 0


def test_sixteen_bits_are_rounded_and_never_cut_off() -> None:
    grey, grey_clear, colours, clear = deep(5, 8, 1), deep(5, 8, 2), deep(5, 8, 3), deep(5, 8, 4)
    assert differs(png(grey, 0), np.repeat(narrow(grey), 3, axis=2)) == 0
    assert differs(png(colours, 2), narrow(colours)) == 0
    assert differs(png(grey_clear, 4), on_white(grey_clear[..., :1] / 257, grey_clear[..., 1:] / 65535)) < 1.5
    assert differs(png(clear, 6), on_white(clear[..., :3] / 257, clear[..., 3:] / 65535)) < 1.5


def test_what_is_transparent_lies_on_white() -> None:
    shown, alpha = scene(20, 24, 2), np.tile(np.linspace(0, 255, 24).astype(np.uint8), (20, 1))[..., None]
    clear = Image.fromarray(np.dstack([shown, alpha]))
    for form in ("PNG", "TIFF"):
        assert differs(encoded(clear, form), on_white(shown, alpha / 255)) < 1, form
    assert differs(encoded(clear, "WEBP", lossless=True, exact=True), on_white(shown, alpha / 255)) < 1
    grey = Image.fromarray(np.dstack([shown[..., 0], alpha[..., 0]]))
    assert differs(encoded(grey, "PNG"), on_white(shown[..., :1], alpha / 255)) < 1
    palette = Image.fromarray(np.arange(20 * 24, dtype=np.uint8).reshape(20, 24) % 5, "P")
    palette.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 90, 1, 2, 3])
    colours = np.array([[200, 10, 10], [10, 200, 10], [10, 10, 200], [90, 90, 90], [1, 2, 3]])
    where = np.asarray(palette)
    assert differs(encoded(palette, "PNG"), colours[where]) == 0
    assert differs(encoded(palette, "GIF"), colours[where]) == 0
    seen = np.where((where == 3)[..., None], 255, colours[where])
    assert differs(encoded(palette, "PNG", transparency=3), seen) == 0
    assert differs(encoded(palette, "GIF", transparency=3), seen) == 0
    shares = bytes([255, 128, 0, 255, 255])
    share = np.frombuffer(shares, np.uint8)[where][..., None] / 255
    assert differs(encoded(palette, "PNG", transparency=shares), on_white(colours[where], share)) < 1
    one = encoded(Image.fromarray(shown), "PNG", transparency=tuple(shown[3, 3].tolist()))
    assert differs(one, np.where((shown == shown[3, 3]).all(axis=2, keepdims=True), 255, shown)) == 0


def test_inks_are_colours_whoever_wrote_them() -> None:
    """Adobe stores inks as their opposites in a JPEG, and in a TIFF as they are."""
    inks = np.zeros((16, 24, 4), np.uint8)
    inks[:8, :8, 0], inks[:8, 8:16, 1], inks[:8, 16:, 2], inks[8:, 8:16, 3], inks[8:, 16:] = 255, 255, 255, 128, (0, 255, 255, 0)
    shown = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:]) / 255
    jpeg = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in jpeg[:200]
    assert differs(jpeg, shown) <= 8
    assert differs(encoded(Image.fromarray(inks, "CMYK"), "TIFF"), shown) <= 1


def test_of_moving_pictures_the_first_is_taken() -> None:
    first, second = (Image.fromarray(scene(16, 20, seed)) for seed in (1, 2))
    for form, more in {"WEBP": {"lossless": True}, "PNG": {}, "TIFF": {}}.items():
        data = encoded(first, form, save_all=True, append_images=[second], **more)
        assert differs(data, np.asarray(first)) == 0, form
    reduced = first.quantize(8), second.quantize(8)
    moving = encoded(reduced[0], "GIF", save_all=True, append_images=[reduced[1]])
    assert differs(moving, np.asarray(reduced[0].convert("RGB"))) == 0


def test_few_bits_and_many_are_brought_to_eight() -> None:
    black = np.random.default_rng(0).integers(0, 2, (9, 17)).astype(bool)
    shown = np.repeat(255.0 * black[..., None], 3, axis=2)
    for form in ("PNG", "TIFF", "BMP", "PPM", "GIF"):
        assert differs(encoded(Image.fromarray(black), form), shown) == 0, form
    large = np.array([[0, 257, 65535, 70000, -5]], np.int32)
    assert differs(encoded(Image.fromarray(large, "I"), "TIFF"), np.repeat([[[0], [1], [255], [255], [0]]], 3, axis=2)) == 0


def test_a_name_says_nothing_of_what_a_file_holds() -> None:
    shown = scene(12, 15)
    for form in ("BMP", "TGA", "PPM", "TIFF", "PNG"):
        assert differs(encoded(Image.fromarray(shown), form), shown) == 0  # no name is given at all


# -------------------------------------------------------------------------------------------------------- broken


def whole() -> dict[str, bytes]:
    picture = Image.fromarray(scene(60, 70))
    return {form: encoded(picture, form) for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA")}


@pytest.mark.parametrize("form", whole())
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_what_breaks_off_is_broken(form: str, share: float) -> None:
    data = whole()[form]
    with pytest.raises(BrokenPicture):
        decode_picture(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 4000, b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", encoded(Image.new("F", (4, 4)), "TIFF")],
)
def test_what_shows_no_colours_is_broken(data: bytes) -> None:
    """A program in PostScript too: Pillow would hand it to another program to be run."""
    with pytest.raises(BrokenPicture):
        decode_picture(data)
    with pytest.raises(BrokenPicture):
        decode_sound(data)


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_does() -> None:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    line = zlib.compress(bytes(3 * 60_000 + 1))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", line) + chunk(b"IEND", b"")
    for decode in (decode_picture, decode_sound):
        with pytest.raises(BrokenPicture, match="pixels"):
            decode(bomb)
    within = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 11_000, 8, 0, 0, 0, 0)) + bomb[33:]
    with quietly(), pytest.raises(BrokenPicture):
        decode_picture(within)  # fewer pixels than are refused, but none of them there


# ---------------------------------------------------------------------------------------------- the two decoders


def jpegs() -> Iterator[bytes]:
    draw = random.Random(0)
    ways = itertools.product((5, 75, 90, 100), (0, 1, 2), (False, True), (False, True))
    for number, (quality, subsampling, progressive, grey) in enumerate(ways):
        picture = Image.fromarray(scene(draw.randrange(1, 80), draw.randrange(1, 80), number)).convert("L" if grey else "RGB")
        more = {} if grey else {"subsampling": subsampling}
        restart = {"restart_marker_blocks": 3} if number % 3 == 0 else {}
        yield encoded(picture, "JPEG", quality=quality, progressive=progressive, optimize=number % 2 == 0, **more, **restart)
    for factor in (0x411111, 0x440000, 0x121111, 0x211111, 0x221111):
        values = scene(draw.randrange(9, 80), draw.randrange(9, 80), factor)
        done, data = cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])
        if done:
            yield data.tobytes()
    yield encoded(Image.fromarray(scene(30, 40)), "JPEG", keep_rgb=True)
    yield encoded(Image.fromarray(scene(30, 40)), "JPEG", exif=turned(1))
    yield encoded(Image.fromarray(scene(30, 40)), "JPEG", comment=b"said", icc_profile=b"x" * 70_000)


def test_a_plain_jpeg_is_decoded_to_the_same_bytes_by_either() -> None:
    for data in jpegs():
        plain = decode_plain(data, largest=1 << 20)
        assert plain is not None and np.array_equal(plain, decode_picture(data))


def test_a_damaged_jpeg_that_either_decodes_gives_the_same_bytes() -> None:
    draw, equal = random.Random(1), 0
    for number, data in zip(range(400), itertools.cycle(list(jpegs())[30:]), strict=False):
        damaged = bytearray(data)
        for _ in range(1 + number % 3):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            shown = decode_picture(bytes(damaged))
        except BrokenPicture:
            continue
        assert np.array_equal(decode_sound(bytes(damaged)), shown)
        equal += 1
    assert equal > 150


def damaged(data: bytes, draw: random.Random) -> bytes:
    """A file that was cut, or lost a part, or of which a part was overwritten with noughts or some bytes with others."""
    begin = draw.randrange(len(data))
    end = min(len(data), begin + draw.randrange(1, 250))
    match draw.randrange(4):
        case 0:
            return data[:begin]
        case 1:
            return data[:begin] + data[end:]
        case 2:
            return data[:begin] + bytes(end - begin) + data[end:]
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 4])):
        changed[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(changed)


def test_no_jpeg_is_called_whole_that_pillow_calls_broken() -> None:
    draw, files, sure = random.Random(2), list(jpegs()), 0
    for data in files:
        found = size_if_surely_whole(data, largest=1 << 20)
        # One scan from end to end: no progressive one, and none with marks in between.
        assert (found is not None) == (b"\xff\xc2" not in data and b"\xff\xdd" not in data)
        assert size_of(data) == decode_picture(data).shape[:2]
    for _ in range(1500):
        data = damaged(draw.choice(files), draw)
        found = size_if_surely_whole(data, largest=1 << 20)
        if found is not None:
            assert found == decode_picture(data).shape[:2]
            sure += 1
    assert sure > 150
    with pytest.raises(BrokenPicture):
        size_of(files[0][:-1])


def test_a_plain_png_is_decoded_to_the_same_bytes_by_either() -> None:
    for number, (grey, level, icc) in enumerate(itertools.product((False, True), (0, 9), (False, True))):
        picture = Image.fromarray(scene(11 + number, 40 - number, number)).convert("L" if grey else "RGB")
        more = {"icc_profile": b"x" * 300} if icc else {"dpi": (300, 300)}
        data = encoded(picture, "PNG", compress_level=level, **more)
        plain = decode_plain(data, largest=1 << 20)
        assert plain is not None and np.array_equal(plain, decode_picture(data)), number


def test_whatever_may_be_turned_clear_or_moving_is_left_to_pillow() -> None:
    picture = Image.fromarray(scene(20, 30))
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    not_plain = [
        *(encoded(picture, "JPEG", exif=turned(orientation)) for orientation in range(2, 9)),
        encoded(picture, "JPEG", xmp=xmp.split(b"\0")[1]),
        encoded(picture.convert("CMYK"), "JPEG"),
        encoded(picture, "PNG", exif=turned(6)),
        encoded(picture, "PNG", transparency=(1, 2, 3)),
        encoded(picture, "PNG", save_all=True, append_images=[picture.rotate(90)]),
        encoded(picture.convert("RGBA"), "PNG"),
        encoded(picture.quantize(9), "PNG"),
        encoded(picture, "GIF"),
        encoded(picture, "WEBP"),
        encoded(picture, "JPEG")[:30],
        encoded(picture, "PNG")[:-30],
        b"",
    ]
    for data in not_plain:
        assert decode_plain(data, largest=1 << 20) is None
    assert decode_plain(encoded(picture, "PNG"), largest=599) is None
    assert (
        differs(
            encoded(picture, "JPEG", xmp=xmp.split(b"\0")[1]),
            decode_picture(encoded(picture, "JPEG")).transpose(1, 0, 2)[:, ::-1],
        )
        == 0
    )
