"""Every reader against damaged and hostile files: a data set, or one line of a DataError; never another error, never a
wait.
"""

import gzip
import io
import json
import os
import random
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.readers.sources import open_source
from striate.data.shards import write_shards
from striate.errors import StriateError

NUM_TRIES = 60
VALUES = [None, True, -1, 0, 2**62, 10**30, 0.5, "", "x", "../x.tar", "\0", "\ud800", [], {}, [{}], {"a": 1}]


def survives(source: Path) -> None:
    """Open a source and read its images: only errors of the kinds that are meant for the user may come."""
    line = ""
    try:
        dataset = open_source(source)
    except StriateError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 2000
    if line:
        return
    for index in range(min(3, len(dataset))):
        dataset.images.name(index).encode()
        try:
            dataset.images.read(index)
        except OSError:
            continue


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The bytes with some changed, cut off, put in or doubled."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(changed) or 1)
        kind = draw.randrange(5)
        if kind == 0 and changed:
            changed[place] = draw.randrange(256)
        elif kind == 1:
            del changed[place : place + draw.randint(1, 40)]
        elif kind == 2:
            changed[place:place] = draw.choice(
                [b"\0", b"\xff" * 8, b"9" * 5000, b"\r\n", b'"', b",,,", struct.pack(">Q", 2**63)]
            )
        elif kind == 3:
            changed[place : place + 4] = struct.pack("<I", draw.choice([0, 1, 2**31, 2**32 - 1]))
        else:
            changed[place:place] = changed[:place][-50:]
    return bytes(changed)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    pixels = np.zeros((4, 5, 5), np.uint8)
    np.savez_compressed(buffer, x_train=pixels, y_train=np.array([0, 1, 0, 1]), classes=np.array(["cat", "dog"]))
    return buffer.getvalue()


def test_npz(tmp_path, seed):
    draw, path = random.Random(seed), tmp_path / "a.npz"
    for _ in range(NUM_TRIES):
        path.write_bytes(damaged(npz(), draw))
        survives(path)


HEADERS = [
    "{'descr': '|u1', 'fortran_order': False, 'shape': (300000000000000,), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4, 4), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<U1000000', 'fortran_order': False, 'shape': (10000000,), }",
    "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4294967295, 4294967295), }",
    "{'descr': '|u1', 'shape': (1,)}",
    "(" * 5000,
    "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1," * 100 + "), }",
    "__import__('os').system('true')",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
@pytest.mark.parametrize("name", ["x_train.npy", "x_train", "\u00e9.npy"])
def test_arrays_that_lie(tmp_path, header, name):
    text = header.encode() + b"\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, member)
        archive.writestr("y_train.npy", member)
    with pytest.raises(StriateError):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("is_packed", [False, True])
def test_idx(tmp_path, seed, is_packed):
    draw = random.Random(seed)
    images = b"\0\0\x08\x03" + struct.pack(">III", 3, 4, 4) + bytes(48)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 3) + b"\0\1\2"
    ending = ".gz" if is_packed else ""
    for number in range(NUM_TRIES):
        one, other = damaged(images, draw), damaged(labels, draw) if number % 2 else labels
        if is_packed:
            one, other = (
                gzip.compress(one),
                damaged(gzip.compress(other), draw) if number % 3 == 0 else gzip.compress(other),
            )
        (tmp_path / f"train-images-idx3-ubyte{ending}").write_bytes(one)
        (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(other)
        survives(tmp_path)


@pytest.mark.parametrize(
    "shape", [(0, 2**32 - 1, 2**32 - 1), (2**32 - 1, 0, 2**32 - 1), (2**32 - 1,) * 3, (1, 2**32 - 1, 1)]
)
def test_huge_dimensions(tmp_path, shape):
    for packed in (False, True):
        data = b"\0\0\x08\x03" + struct.pack(">III", *shape)
        (tmp_path / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(data) if packed else data)
        (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 0))
        with pytest.raises(StriateError):
            open_source(tmp_path)


def test_csv(tmp_path, seed):
    draw = random.Random(seed)
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(png())
    text = b"index,path,label,split\n0,1.png,cat,train\n1,2.png,dog,test\n"
    for _ in range(NUM_TRIES):
        (tmp_path / "a.csv").write_bytes(damaged(text, draw))
        survives(tmp_path / "a.csv")


@pytest.fixture
def shards(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(png() + name.encode())
    write_shards(open_source(tmp_path / "photos"), tmp_path / "shards")
    return tmp_path / "shards"


def test_shards_of_any_bytes(shards, seed):
    draw = random.Random(seed)
    for path in (shards / "shards.json", shards / "images-000000.json"):
        whole = path.read_bytes()
        for _ in range(NUM_TRIES):
            path.write_bytes(damaged(whole, draw))
            survives(shards)
        path.write_bytes(whole)


def test_shards_of_any_json(shards, seed):
    draw = random.Random(seed)
    for path in (shards / "shards.json", shards / "images-000000.json"):
        whole = path.read_text()
        for _ in range(2 * NUM_TRIES):
            document = json.loads(whole)
            part = document
            while isinstance(part, dict | list) and part:
                key = draw.choice(list(part) if isinstance(part, dict) else range(len(part)))
                if draw.random() < 0.4 or not isinstance(part[key], dict | list) or not part[key]:
                    part[key] = draw.choice(VALUES)
                    break
                part = part[key]
            path.write_text(json.dumps(document))
            survives(shards)
        for text in ("[" * 100_000, "null", "[]", '{"format": ' + "9" * 5000 + "}"):
            path.write_text(text)
            survives(shards)
        path.write_text(whole)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_are_not_waited_for(shards, tmp_path):
    for name in ("images-000000.json", "images-000000.tar", "shards.json", "plan.json"):
        (shards / name).unlink()
        os.mkfifo(shards / name)
        survives(shards)
    os.mkfifo(tmp_path / "photos" / "cat" / "2.png")
    survives(tmp_path / "photos")
    for name in ("a.npz", "a.csv", "a"):
        os.mkfifo(tmp_path / name)
        survives(tmp_path / name)


VOC_XML = (
    "<annotation><filename>1.png</filename><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax>"
    "<ymax>3</ymax></bndbox></object></annotation>"
)
ODD_XML = [
    "", "<", "<annotation/>", "<annotation><object/></annotation>", "<a>" * 20_000, VOC_XML.replace("4", "nan"),
    VOC_XML.replace("4", "1e999"), VOC_XML.replace("4", "9" * 5000), VOC_XML.replace("cat", " "),
    VOC_XML.replace("cat", "&#27;[2J"),
    VOC_XML.replace("1.png", "../../x.png"), VOC_XML.replace("1.png", "&#10;"), VOC_XML.replace("1.png", "x" * 5000),
    '<!DOCTYPE a [<!ENTITY b "bb">]><annotation>&b;</annotation>', VOC_XML.replace("annotation", "annotations"),
    "\ufeff" + VOC_XML, VOC_XML.replace("<xmin>1</xmin>", ""),
    VOC_XML.replace("<name>cat</name>", "<name><b>cat</b></name>"),
]  # fmt: skip


@pytest.fixture
def voc(tmp_path):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    for name in ("1", "2"):
        (tmp_path / "voc" / "JPEGImages" / f"{name}.png").write_bytes(png() + name.encode())
        (tmp_path / "voc" / "Annotations" / f"{name}.xml").write_text(VOC_XML.replace("1.png", f"{name}.png"))
    (tmp_path / "voc" / "ImageSets" / "Main" / "train.txt").write_text("1\n2\n")
    return tmp_path / "voc"


def test_voc_of_any_bytes(voc, seed):
    draw = random.Random(seed)
    for path in (voc / "Annotations" / "2.xml", voc / "ImageSets" / "Main" / "train.txt"):
        whole = path.read_bytes()
        for _ in range(NUM_TRIES):
            path.write_bytes(damaged(whole, draw))
            survives(voc)
        path.write_bytes(whole)


@pytest.mark.parametrize("text", ODD_XML, ids=range(len(ODD_XML)))
def test_odd_annotations(voc, text):
    (voc / "Annotations" / "2.xml").write_text(text)
    survives(voc)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<annotation", "2.xml is no XML: "),
        ("<annotations/>", "2.xml should hold an <annotation> but holds a <annotations>"),
        (
            VOC_XML.replace("<xmax>4", "<xmax>four"),
            "2.xml, object 1: its box has '1', '1', 'four', '3' where four numbers",
        ),
        (VOC_XML.replace("<xmax>4", "<xmax>inf"), "2.xml, object 1: it has no finite box"),
        (VOC_XML.replace("cat", ""), "2.xml, object 1: it has no name"),
        ("<!DOCTYPE a><annotation/>", "2.xml defines entities of its own"),
    ],
)
def test_what_is_wrong_with_an_annotation(voc, text, line):
    (voc / "Annotations" / "2.xml").write_text(text)
    with pytest.raises(StriateError, match=re.escape(line)):
        open_source(voc)


BOX_CELLS = ["nan", "inf", "-5", "1e400", "9" * 5000, "", "x", "\u0661", "0", "1,2", "\0"]


def test_boxes_in_a_table(tmp_path, seed):
    draw = random.Random(seed)
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(png())
    head, rows = "path,label,xmin,ymin,xmax,ymax\n", ["1.png,cat,0,0,3,3", "2.png,dog,1,1,4,4"]
    for _ in range(NUM_TRIES):
        cells = rows[1].split(",")
        cells[draw.randrange(2, 6)] = draw.choice(BOX_CELLS)
        (tmp_path / "a.csv").write_text(head + "\n".join([rows[0], ",".join(cells)]), encoding="utf-8")
        survives(tmp_path / "a.csv")
        (tmp_path / "a.csv").write_bytes(damaged((head + "\n".join(rows)).encode(), draw))
        survives(tmp_path / "a.csv")


def test_cifar_of_any_bytes(tmp_path, seed):
    draw = random.Random(seed)
    whole = b"".join(bytes([number % 10]) + bytes(3072) for number in range(3))
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(whole)
    (tmp_path / "test_batch.bin").write_bytes(whole)
    survives(tmp_path)
    for name in ("data_batch_2.bin", "batches.meta.txt", "test_batch.bin"):
        before = (tmp_path / name).read_bytes()
        for _ in range(NUM_TRIES // 3):
            (tmp_path / name).write_bytes(damaged(before, draw))
            survives(tmp_path)
        (tmp_path / name).write_bytes(before)
