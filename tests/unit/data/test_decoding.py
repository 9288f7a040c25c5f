import io
import struct
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from striate.data.decoding import ImageFacts, decode_image, image_facts, image_pixels, image_suffixes
from striate.errors import InputError

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [100, 150, 200]]], dtype=np.uint8)
GREY = np.array([[76, 150, 29], [0, 255, 141]], dtype=np.uint8)  # .299 R + .587 G + .114 B, rounded


def encoded(image: Image.Image | np.ndarray, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, file_format, **options)
    return buffer.getvalue()


def photo(height: int = 64, width: int = 96) -> np.ndarray:
    """A smooth picture that JPEG keeps well."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1).astype(np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG of one grey bit a pixel that ends after its header and a few bytes of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


# What each mode becomes


def test_colour_and_grey():
    np.testing.assert_array_equal(decode_image(encoded(RGB), 3), RGB)
    np.testing.assert_array_equal(decode_image(encoded(RGB), 1)[..., 0], GREY)
    np.testing.assert_array_equal(decode_image(encoded(GREY), 1)[..., 0], GREY)
    np.testing.assert_array_equal(decode_image(encoded(GREY), 3), np.repeat(GREY[..., None], 3, axis=2))


def test_the_result_can_be_written_to_and_is_packed():
    pixels = decode_image(encoded(RGB), 3)
    pixels[:] = 0
    assert pixels.flags.c_contiguous
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_is_laid_over_white(mode, channels):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 200, 200, 0), (200, 200, 200, 255), (0, 0, 0, 128)])
    if mode == "PA":  # no file format has it
        pixels = image_pixels(_palette_with_alpha(image), channels)
    else:
        pixels = decode_image(encoded(_palette_with_transparency() if mode == "P" else image.convert(mode)), channels)
    expected = np.array([[255, 200, 127]], dtype=np.uint8)
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], channels, axis=2))


def _palette_with_alpha(image: Image.Image) -> Image.Image:
    """Mode PA: indices 0, 1, 2 with the alpha of `image`."""
    palette = Image.new("P", image.size)
    palette.putpalette([200, 200, 200, 200, 200, 200, 0, 0, 0])
    palette.putdata([0, 1, 2])
    both = palette.convert("PA")
    both.putalpha(image.getchannel("A"))
    return both


def _palette_with_transparency() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 200, 200, 200, 200, 200, 0, 0, 0])
    image.putdata([0, 1, 2])
    image.info["transparency"] = bytes([0, 255, 128])
    return image


def test_one_transparent_colour():
    data = encoded(RGB, transparency=(255, 0, 0))
    expected = RGB.copy()
    expected[0, 0] = 255
    np.testing.assert_array_equal(decode_image(data, 3), expected)
    grey = GREY.copy()
    grey[0, 0] = 255
    np.testing.assert_array_equal(decode_image(encoded(GREY, transparency=76), 1)[..., 0], grey)


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha(mode):
    image = Image.new(
        {"RGBa": "RGBA", "La": "LA"}[mode], (1, 1), (100, 100, 100, 128) if mode == "RGBa" else (100, 128)
    )
    pixels = image_pixels(image.convert(mode), 3)
    assert abs(int(pixels[0, 0, 0]) - (100 * 128 + 255 * 127) // 255) <= 1


def test_a_palette_is_looked_up():
    image = Image.fromarray(RGB).quantize(6)
    np.testing.assert_array_equal(decode_image(encoded(image), 3), np.asarray(image.convert("RGB")))


def test_16_bit_colour_with_a_transparent_value():
    """Pillow reads 16-bit colour as 8-bit and keeps the 16-bit value, which then matches nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data += chunk(b"tRNS", struct.pack(">HHH", 500, 600, 700))
    data += chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">HHH", 0x1234, 0x8000, 0xFFFF))) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_image(data, 3), [[[0x12, 0x80, 0xFF]]])


def test_one_bit():
    image = Image.fromarray(np.array([[True, False]]))
    np.testing.assert_array_equal(decode_image(encoded(image), 1)[..., 0], [[255, 0]])


def test_rgbx_ignores_its_fourth_byte():
    image = Image.frombytes("RGBX", (1, 1), bytes([10, 20, 30, 0]))
    np.testing.assert_array_equal(image_pixels(image, 3), [[[10, 20, 30]]])


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(file_format):
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    data = encoded(Image.fromarray(values), file_format)
    assert image_facts(data).mode.startswith("I")
    np.testing.assert_array_equal(decode_image(data, 1)[..., 0], [[0, 1, 128, 255]])
    assert decode_image(data, 3).shape == (1, 4, 3)


def test_16_bits_with_the_high_byte_first():
    image = Image.frombytes("I;16B", (2, 1), bytes([0x80, 0x00, 0xFF, 0xFF]))
    np.testing.assert_array_equal(image_pixels(image, 1)[..., 0], [[128, 255]])


def test_16_bit_png_with_a_transparent_value():
    plain = encoded(Image.fromarray(np.array([[500, 65535, 0]], dtype=np.uint16)))
    transparent = struct.pack(">H", 500)
    chunk = struct.pack(">I", 2) + b"tRNS" + transparent + struct.pack(">I", zlib.crc32(b"tRNS" + transparent))
    place = plain.index(b"IDAT") - 4
    np.testing.assert_array_equal(decode_image(plain[:place] + chunk + plain[place:], 1)[..., 0], [[255, 255, 0]])


def test_a_portable_greymap_of_16_bits():
    data = b"P5 2 1 65535\n" + struct.pack(">HH", 257, 65535)
    np.testing.assert_array_equal(decode_image(data, 1)[..., 0], [[1, 255]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 257, 65535], [0, 1, 255]), ([-100, 0, 100], [0, 128, 255]), ([0, 100_000, 200_000], [0, 128, 255])],
)
def test_32_bit_integers(values, expected):
    data = encoded(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF")
    np.testing.assert_array_equal(decode_image(data, 1)[0, :, 0], expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 99.6, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
    ],
)
def test_floating_point(values, expected):
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    np.testing.assert_array_equal(decode_image(data, 1)[0, :, 0], expected)


def test_floating_point_that_is_no_number():
    data = encoded(Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32)), "TIFF")
    with pytest.raises(InputError, match=r"^has values that are not finite numbers$"):
        decode_image(data, 1)


def test_cmyk():
    ink = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    np.testing.assert_array_equal(decode_image(encoded(ink, "TIFF"), 3), [[[0, 255, 255]]])
    jpeg = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=100)  # Adobe's are stored inverted
    assert image_facts(jpeg).mode == "CMYK"
    assert decode_image(jpeg, 3).min() >= 250


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_colour_spaces(mode):
    image = Image.fromarray(RGB).convert(mode)
    assert np.abs(image_pixels(image, 3).astype(int) - RGB).max() <= 4
    assert np.abs(image_pixels(image, 1)[..., 0].astype(int) - GREY).max() <= 4


@pytest.mark.skipif(not features.check("littlecms2"), reason="Pillow is built without LittleCMS")
def test_lab():
    """sRGB's red is L 54.3, a 80.8, b 69.9 under D50; a and b are stored as signed bytes, L as a share of 255."""
    image = Image.frombytes("LAB", (3, 1), bytes([255, 0, 0, 0, 0, 0, 138, 81, 70]))
    data = encoded(image, "TIFF")
    assert image_facts(data).mode == "LAB"
    assert (
        np.abs(decode_image(data, 3).astype(int) - [[[255] * 3, [0] * 3, [255, 0, 0]]]).max() <= 6
    )  # a step of L, a or b


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(file_format):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decode_image(data, 3), np.broadcast_to([255, 0, 0], (4, 4, 3)))


# Orientation


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation, file_format):
    """The stored picture is the upright one moved the other way, written out for each of EXIF's eight cases."""
    upright = np.zeros((16, 32), dtype=np.uint8)
    upright[:8, :16] = 255  # white in the upper left corner
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(np.ascontiguousarray(stored), file_format, exif=exif, **options)
    facts = image_facts(data)
    assert (facts.height, facts.width) == (16, 32)
    np.testing.assert_array_equal(decode_image(data, 1)[..., 0] > 127, upright > 127)


def test_damaged_exif_data_cost_nothing():
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data, 3).shape == (64, 96, 3)
        assert image_facts(data) == ImageFacts(width=96, height=64, mode="RGB", format="JPEG")


# Refusals


def broken_files() -> dict[str, tuple[bytes, str]]:
    jpeg, png = encoded(photo(), "JPEG"), encoded(photo(), "PNG")
    return {
        "zero bytes": (b"", r"^is empty$"),
        "text called .jpg": (b"This is not a picture.\n" * 10, r"^is not an image but text$"),
        "zeros": (bytes(1000), r"^is not an image that can be read$"),
        "half a JPEG": (jpeg[: len(jpeg) // 2], r"^is cut off$"),
        "a JPEG's first bytes": (jpeg[:20], r"^is (cut off|damaged)"),
        "half a PNG": (png[: len(png) // 2], r"^is cut off$"),
        "a PNG's signature": (png[:10], r"^is (cut off|damaged)"),
        "a PNG with a wrong byte": (png[:60] + bytes([png[60] ^ 255]) + png[61:], r"^is damaged"),
        "half a BMP": (encoded(photo(), "BMP")[:9000], r"^is cut off$"),
        "half a TIFF": (encoded(photo(), "TIFF")[:9000], r"^is (cut off|damaged)"),
        "half a WEBP": (encoded(photo(), "WEBP")[:200], r"^is (cut off|damaged)"),
        "half a GIF": (encoded(Image.fromarray(photo()).quantize(), "GIF")[:900], r"^is cut off$"),
        "huge by its header": (png_header(20_000, 20_000), r"^has 20000x20000 pixels, over the limit of 100000000$"),
        "nothing by its header": (png_header(0, 5), r"^(is damaged|is not an image|has no pixels)"),
        "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"^is not an image that can be read$"),
        "a telephone's photo": (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1",
            r"^is a HEIC photo, which cannot be read; convert it to JPEG$",
        ),
    }


@pytest.mark.parametrize("what", broken_files())
def test_broken_files_are_refused_in_one_line(what):
    data, reason = broken_files()[what]
    with pytest.raises(InputError, match=reason) as caught:
        decode_image(data, 3)
    assert "\n" not in str(caught.value)


def test_no_cut_and_no_flipped_byte_raises_anything_else():
    """Whatever damage does, it ends in pixels or in an InputError, without a warning."""
    generator = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file_format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "ICO"):
            whole = encoded(photo(24, 24), file_format)
            for _ in range(40):
                data = bytearray(whole[: generator.integers(1, len(whole) + 1)])
                for place in generator.integers(0, len(data), size=generator.integers(0, 6)):
                    data[place] = generator.integers(0, 256)
                try:
                    pixels = decode_image(bytes(data), 3, max_pixels=100_000)
                except InputError as error:
                    assert "\n" not in str(error)  # noqa: PT017
                else:
                    assert pixels.ndim == 3


def test_files_give_one_or_three_channels():
    with pytest.raises(InputError, match=r"^gives 1 or 3 channels, not 4$"):
        decode_image(encoded(RGB), 4)


# The limit on pixels


def test_a_large_jpeg_is_decoded_smaller_and_a_large_png_refused():
    jpeg, png = encoded(photo(200, 300), "JPEG"), encoded(photo(200, 300))
    assert decode_image(jpeg, 3, max_pixels=60_000).shape == (200, 300, 3)
    assert decode_image(jpeg, 3, max_pixels=59_999).shape == (100, 150, 3)
    assert decode_image(jpeg, 1, max_pixels=1_000).shape == (25, 38, 1)
    with pytest.raises(InputError, match=r"^has 300x200 pixels, over the limit of 900$"):
        decode_image(jpeg, 3, max_pixels=900)
    with pytest.raises(InputError, match=r"^has 300x200 pixels, over the limit of 59999$"):
        decode_image(png, 3, max_pixels=59_999)


def test_a_progressive_jpeg_is_not_reduced():
    jpeg = encoded(photo(200, 300), "JPEG", progressive=True)
    with pytest.raises(InputError, match=r"over the limit of 59999$"):
        decode_image(jpeg, 3, max_pixels=59_999)


def test_the_limit_is_ours_and_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(encoded(photo()), 3).shape == (64, 96, 3)


# Pillow's settings and the user's threads


def test_pillows_leave_to_accept_cut_off_files_does_not_count(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    jpeg = encoded(photo(), "JPEG")
    with pytest.raises(InputError, match="is cut off"):
        decode_image(jpeg[: len(jpeg) // 2], 3)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_filters_of_warnings_are_put_back():
    before = list(warnings.filters)
    decode_image(encoded(RGB), 3)
    with pytest.raises(InputError):
        decode_image(b"", 3)
    assert list(warnings.filters) == before


def test_filters_are_put_back_when_scopes_of_threads_overlap():
    """A thread decodes while another enters and leaves `catch_warnings`, in every order that leaves something
    behind.
    """
    inside, leave = threading.Event(), threading.Event()

    class SlowImage(Image.Image):
        def load(self):
            inside.set()
            assert leave.wait(10)
            return super().load()

    slow = SlowImage()
    slow.__dict__.update(Image.new("L", (1, 1)).__dict__)
    before = list(warnings.filters)
    with ThreadPoolExecutor(1) as pool:
        with warnings.catch_warnings():
            running = pool.submit(image_pixels, slow, 1)
            assert inside.wait(10)
            decode_image(encoded(RGB), 3)
        decode_image(encoded(RGB), 3)
        leave.set()
        running.result()
    assert list(warnings.filters) == before


def test_a_filter_of_the_users_stays():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        before = list(warnings.filters)
        decode_image(encoded(RGB), 3)
        assert list(warnings.filters) == before


def test_many_threads_decode_the_same():
    files = [encoded(photo(40 + i, 50), "JPEG") for i in range(20)]
    expected = [decode_image(data, 3) for data in files]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda data: decode_image(data, 3), files * 5))
    finally:
        sys.setswitchinterval(interval)
    for number, pixels in enumerate(results):
        np.testing.assert_array_equal(pixels, expected[number % len(files)])


# Pixels that a source holds


def test_pixels_pass_through():
    assert decode_image(RGB, 3) is RGB
    np.testing.assert_array_equal(decode_image(RGB, 1)[..., 0], GREY)
    np.testing.assert_array_equal(decode_image(GREY, 3), np.repeat(GREY[..., None], 3, axis=2))
    five = np.zeros((2, 2, 5), np.uint8)
    assert decode_image(five, 5) is five
    assert image_facts(RGB) == ImageFacts(width=3, height=2, mode="RGB", format="pixels")
    assert image_facts(GREY).mode == "L"
    assert image_facts(five).mode == "5 channels"


def test_pixels_turned_on_their_side_in_memory():
    np.testing.assert_array_equal(decode_image(RGB.transpose(1, 0, 2), 1)[..., 0], GREY.T)


@pytest.mark.parametrize(
    ("pixels", "channels", "reason"),
    [
        (np.zeros((2, 2, 4), np.uint8), 3, "has 4 channels, not 3"),
        (np.zeros((2, 2, 3)), 3, r"is an array \(2, 2, 3\) of float64, not pixels \(H, W, C\) of uint8"),
        (np.zeros((2,), np.uint8), 1, r"is an array \(2,\) of uint8, not pixels"),
        (np.zeros((0, 2, 3), np.uint8), 3, r"has no pixels \(0, 2, 3\)"),
    ],
)
def test_pixels_that_do_not_fit(pixels, channels, reason):
    with pytest.raises(InputError, match=reason):
        decode_image(pixels, channels)


def test_suffixes_are_of_what_can_be_read():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif"} <= image_suffixes()
    assert not {".eps", ".pdf", ".txt", ".h5", ".mpg"} & image_suffixes()


def test_the_facts_of_a_bomb_are_refused_before_its_pixels_are_made(monkeypatch):
    """Pillow decodes a PNG to look for its orientation; the limit must come first."""
    side = (60_000).to_bytes(4, "big")
    header = b"IHDR" + side + side + b"\x08\x02\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    end = b"IDAT" + zlib.compress(bytes(1000))
    bomb += (len(end) - 4).to_bytes(4, "big") + end + zlib.crc32(end).to_bytes(4, "big")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(InputError, match="has 60000x60000 pixels, over the limit of 100000000"):
        image_facts(bomb)


@pytest.mark.parametrize(
    "text", ["hello", "<!DOCTYPE html>\n<p>404</p>", "BM and so on", "P3 of nothing", "\ufeff" + "naïve " * 300]
)
def test_text_under_an_images_name_is_called_text(text):
    with pytest.raises(InputError, match=r"^is not an image but text$"):
        decode_image(text.encode(), 3)
