"""Image sets: every format, odd images, and files that are not what they say."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from fastdiff import FastdiffError
from fastdiff.data.dataset import load_images, one_hot, read_idx
from fastdiff.data.pictures import from_pixels, grid, to_pixels

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


def idx_bytes(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + (
        array.tobytes()
    )  # fmt: skip


def test_a_folder_with_classes_and_unreadable_images(tmp_path):
    for k, name in enumerate(["cat", "cat", "dog"]):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(RGB[k]).save(tmp_path / name / f"{k}.png")
    Image.fromarray(RGB[3]).save(tmp_path / "stray.png")
    (tmp_path / "cat" / "broken.png").write_bytes(b"no image")
    whole = (tmp_path / "dog" / "2.png").read_bytes()
    (tmp_path / "dog" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("ignored")
    found = load_images(tmp_path)
    assert found.labels == ("cat", "dog")
    assert len(found) == 4
    np.testing.assert_array_equal(found.x, RGB)
    np.testing.assert_array_equal(found.context, [[1, 0], [1, 0], [0, 1], [0, 0]])
    assert sorted(s.rsplit("/", 1)[1] for s in found.skipped) == ["broken.png", "half.png"]


def test_transparent_and_large_images_are_put_on_white_and_reduced(tmp_path):
    rgba = np.zeros((16, 16, 4), dtype=np.uint8)
    rgba[:8, :, 0] = 255  # red above, and fully transparent black below
    rgba[:8, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    x = load_images(tmp_path, size=8).x[0]
    assert (x[:4] == [255, 0, 0]).all()
    assert (x[4:] == 255).all()
    rgba[8:, :, 1] = 255  # a colour that nobody sees must not bleed
    Image.fromarray(rgba).save(tmp_path / "a.png")
    odd = load_images(tmp_path, size=3).x[0]
    assert (odd[1, :, 1] == odd[1, :, 2]).all()
    Image.fromarray(np.full((8, 8), 7, dtype=np.uint8)).save(tmp_path / "a.png")
    assert (load_images(tmp_path).x == 7).all()


def test_npz_and_npy(tmp_path):
    np.savez(
        tmp_path / "a.npz", x=RGB, label=np.array([0, 2, 1, 0]), labels=np.array(["p", "q", "r"])
    )
    found = load_images(tmp_path / "a.npz")
    assert found.labels == ("p", "q", "r")
    np.testing.assert_array_equal(found.context.argmax(1), [0, 2, 1, 0])
    np.savez(tmp_path / "b.npz", x=RGB, context=np.ones((4, 7)))
    assert load_images(tmp_path / "b.npz").context.shape == (4, 7)
    np.save(tmp_path / "c.npy", RGB[..., 0])
    found = load_images(tmp_path / "c.npy", size=4)
    assert found.x.shape == (4, 4, 4, 1)
    assert found.context.shape == (4, 0)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_with_labels(tmp_path, packed):
    pack = gzip.compress if packed else bytes
    end = ".gz" if packed else ""
    path = tmp_path / f"train-images-idx3-ubyte{end}"
    path.write_bytes(pack(idx_bytes(RGB[..., 0])))
    assert load_images(path).context.shape == (4, 0)
    labels = np.array([3, 0, 1, 3], dtype=np.uint8)
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx_bytes(labels)))
    found = load_images(path)
    np.testing.assert_array_equal(found.x[..., 0], RGB[..., 0])
    np.testing.assert_array_equal(found.context.argmax(1), labels)
    assert found.labels == ("0", "1", "2", "3")


def test_the_whole_of_mnist(shared):
    found = load_images(shared / "mnist" / "t10k-images-idx3-ubyte.gz")
    assert found.x.shape == (10000, 28, 28, 1)
    assert found.context.sum() == 10000
    assert int(found.context.argmax(1)[0]) == 7  # the first test digit is a seven


def test_damaged_idx_files_are_refused(tmp_path):
    path = tmp_path / "x-images-idx3-ubyte"
    whole = idx_bytes(RGB[..., 0])
    huge = b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2**31)
    for content in (b"", whole[:3], whole[:9], whole[:-1], whole + b"x", b"\0\0\x0d\x03", huge):
        path.write_bytes(content)
        with pytest.raises(FastdiffError, match="IDX"):
            read_idx(path)
    path = tmp_path / "x-images-idx3-ubyte.gz"
    packed = gzip.compress(whole)
    for content in (b"", whole, packed[:20], packed[:-9], packed[:15] + b"\xff" * 8 + packed[23:]):
        path.write_bytes(content)
        with pytest.raises(FastdiffError, match="IDX"):
            read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": RGB}, "expected an array 'x'"),
        ({"x": RGB.astype(np.float32)}, "expected 'x' as uint8"),
        ({"x": RGB[..., :2]}, "expected 'x' as uint8"),
        ({"x": RGB[:0]}, "expected 'x' as uint8"),
        ({"x": RGB, "label": np.array([0, 1])}, "context or labels for 4 images"),
        ({"x": RGB, "label": np.array([0, 1, 2, 9]), "labels": np.array(["a"] * 3)}, "from 0 to 2"),
        ({"x": RGB, "context": np.full((4, 2), np.nan)}, "expected finite context"),
        ({"x": np.array([object()] * 4)}, "not a readable NumPy file"),
    ],
)
def test_wrong_npz_files_are_refused(tmp_path, content, message):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(FastdiffError, match=message):
        load_images(tmp_path / "a.npz")


def test_other_wrong_data_is_refused(tmp_path):
    with pytest.raises(FastdiffError, match="found none at"):
        load_images(tmp_path / "nothing")
    with pytest.raises(FastdiffError, match="expected images in the folder"):
        load_images(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(FastdiffError, match="none of the 1 images"):
        load_images(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(FastdiffError, match="not a readable NumPy file"):
        load_images(tmp_path / "a.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(FastdiffError, match="expected a folder"):
        load_images(tmp_path / "a.csv")
    with pytest.raises(FastdiffError, match="label"):
        one_hot(np.array([-1]), 3)


def test_pixels_and_images_are_inverse():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = from_pixels(every)
    assert images.min() == -1.0
    assert images.max() == 1.0
    np.testing.assert_array_equal(to_pixels(images), every)
    assert to_pixels(np.array([[[[-9.0, 9.0]]]])).ravel().tolist() == [0, 255]


def test_a_grid_starts_a_row_for_each_group():
    sheet = np.asarray(grid(RGB, columns=3, scale=2, groups=["a", "a", "b", "b"]))
    plain = np.asarray(grid(RGB, columns=3, scale=2))
    assert plain.shape == (2 * 17 + 1, 3 * 17 + 1, 3)
    left = sheet.shape[1] - plain.shape[1]
    assert left > 0
    np.testing.assert_array_equal(plain[1:17:2, 1:17:2], RGB[0])
    np.testing.assert_array_equal(sheet[18:34:2, left + 1 : left + 17 : 2], RGB[2])
    assert (sheet[:, :left] < 200).any(), "the names are drawn"
    wide = np.asarray(grid(RGB, scale=1))
    assert wide.shape[1] == 8 * 9 + 1
