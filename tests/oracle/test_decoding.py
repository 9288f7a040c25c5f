"""Pixels against torchvision's decoders, which use libjpeg-turbo and libpng directly and not Pillow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_gif, decode_jpeg, decode_png

from striate.data.decoding import decode_image

# torchvision 0.29 moves its decoders to another package; the release that drops them needs torchcodec here
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")

MODES = {1: ImageReadMode.GRAY, 3: ImageReadMode.RGB}


def tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def channels_last(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("folder", ["flowers/val", "hymenoptera/val", "imagenet-samples", "coco-mini/images/val"])
def test_jpegs_decode_as_by_libjpeg(shared_data, folder):
    """Equal up to the rounding of two builds of libjpeg; smooth or blocky chroma would differ by far more."""
    paths = sorted(path for path in (shared_data / folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for path in paths[:: max(1, len(paths) // 10)]:
        data = path.read_bytes()
        expected = channels_last(decode_jpeg(tensor(data), mode=ImageReadMode.RGB)).astype(int)
        difference = np.abs(decode_image(data, 3).astype(int) - expected)
        assert difference.max() <= 3, path
        assert difference.mean() < 0.05, path


@pytest.mark.parametrize("channels", [1, 3])
def test_pngs_decode_as_by_libpng(shared_data, channels):
    for path in sorted((shared_data / "nuclei-dsb2018" / "images").glob("*.png"))[::40]:
        data = path.read_bytes()
        expected = channels_last(decode_png(tensor(data), mode=MODES[channels])).astype(int)
        # libpng's grey has coefficients of its own, .212671 R + .715160 G + .072169 B, so colour is compared as colour
        if channels == 1 and Image.open(io.BytesIO(data)).mode != "L":
            continue
        np.testing.assert_array_equal(decode_image(data, channels), expected)


def test_16_bits_as_by_libpng(shared_data):
    """The masks of nuclei are 16-bit numbers; torchvision hands them out as they are."""
    for path in sorted((shared_data / "nuclei-dsb2018" / "masks").glob("*.png"))[::100]:
        values = channels_last(decode_png(tensor(path.read_bytes()), mode=ImageReadMode.UNCHANGED)).astype(np.int64)
        np.testing.assert_array_equal(decode_image(path.read_bytes(), 1), (values * 255 + 32767) // 65535)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_by_torchvision(shared_data, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.open(shared_data / "style" / "photos" / "tubingen.jpg").save(buffer, "JPEG", exif=exif, quality=95)
    data = buffer.getvalue()
    expected = channels_last(decode_jpeg(tensor(data), mode=ImageReadMode.RGB, apply_exif_orientation=True)).astype(int)
    ours = decode_image(data, 3).astype(int)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 3


def test_the_first_frame_of_a_gif_as_by_giflib():
    frames = [Image.radial_gradient("L").resize((40, 30)), Image.linear_gradient("L").resize((40, 30))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    expected = decode_gif(tensor(buffer.getvalue()))[0]
    np.testing.assert_array_equal(decode_image(buffer.getvalue(), 3), channels_last(expected))


def test_grey_is_the_luma_of_bt601():
    """Written out in floating point from the recommendation."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode_image(pixels, 1)[..., 0] - luma).max() <= 0.51


def test_transparency_over_white_in_floating_point():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(decode_image(buffer.getvalue(), 3) - expected).max() <= 1
