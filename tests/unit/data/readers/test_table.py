import os
from pathlib import Path

import pytest

from striate.data.readers.columns import Columns, columns_from_json
from striate.data.readers.sources import open_source
from striate.data.readers.table import is_table, read_class_names, read_table
from striate.errors import DataError, InputError


def write(folder: Path, text: str, *files: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(file.encode())
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_names_and_splits(tmp_path):
    text = "path,label,split\nb.jpg,dog,train\nsub/ä b.jpg,cat,VAL\nc.jpg,cat,\nd.jpg,10,test\n"
    dataset = read_table(write(tmp_path, text, "b.jpg", "sub/ä b.jpg", "c.jpg", "d.jpg"))
    assert dataset.kind == "csv"
    assert dataset.class_names == ("10", "cat", "dog")
    assert dataset.labels.tolist() == [2, 1, 1, 0]
    assert dataset.given_splits.tolist() == [0, 1, -1, 2]
    assert dataset.images.name(1) == "sub/ä b.jpg"
    assert dataset.images.read(1) == "sub/ä b.jpg".encode()
    assert not dataset.has_index_labels
    assert dataset.root == tmp_path


@pytest.mark.parametrize("path", ["path", "file", "FileName", " image ", "image_path"])
@pytest.mark.parametrize("label", ["label", "Class", "class_name", "category"])
def test_columns_by_any_of_their_names_in_any_order(tmp_path, path, label):
    dataset = read_table(write(tmp_path, f"{label},extra,{path}\ncat,?,1.png\ndog,?,2.png\n", "1.png", "2.png"))
    assert dataset.class_names == ("cat", "dog")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_spreadsheets_write(tmp_path, delimiter, encoding, newline):
    lines = ["path,label", '"1.png","café, crème"', "", "2.png,thé", ","]
    text = newline.join(line if line.startswith('"') else line.replace(",", delimiter) for line in lines[:-1])
    text = text.replace('",', '"' + delimiter) + newline
    dataset = read_table(write(tmp_path, text, "1.png", "2.png", encoding=encoding))
    assert dataset.class_names == ("café, crème", "thé")


def test_numbers_for_classes(tmp_path):
    dataset = read_table(write(tmp_path, "file,index\n1.png,3\n2.png,0\n", "1.png", "2.png"))
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.labels.tolist() == [3, 0]
    assert dataset.has_index_labels


@pytest.mark.parametrize("column", ["index", "label"])
def test_numbers_named_beside(tmp_path, column):
    """All the classes count, in their order, so that the numbers stay those of the outputs of a network."""
    write(tmp_path, "index,wnid,name\n2,n3,crane\n0,n1,crane\n1,n2,tench\n", name="classes.csv")
    dataset = read_table(write(tmp_path, f"file,{column}\n1.png,2\n2.png,1\n", "1.png", "2.png"))
    assert dataset.class_names == ("crane (n1)", "tench", "crane (n3)")
    assert dataset.labels.tolist() == [2, 1]
    assert dataset.has_index_labels


def test_accents_written_in_two_ways_are_one_class(tmp_path):
    dataset = read_table(write(tmp_path, "file,label\n1.png,caf\u00e9\n2.png,cafe\u0301\n", "1.png", "2.png"))
    assert dataset.class_names == ("café",)


def test_names_win_over_numbers_where_both_are_given(tmp_path):
    dataset = read_table(write(tmp_path, "file,index,label\n1.png,7,cat\n2.png,8,dog\n", "1.png", "2.png"))
    assert dataset.class_names == ("cat", "dog")
    assert not dataset.has_index_labels


def test_backslashes_from_windows(tmp_path):
    dataset = read_table(
        write(tmp_path, "file,label\ncats\\1.png,cat\n.\\cats\\2.png,dog\n", "cats/1.png", "cats/2.png")
    )
    assert [dataset.images.name(i) for i in range(2)] == ["cats/1.png", "cats/2.png"]


def test_a_file_listed_again_is_told(tmp_path):
    dataset = read_table(write(tmp_path, "file,label\n1.png,cat\n./1.png,cat\n2.png,dog\n", "1.png", "2.png"))
    assert len(dataset) == 2
    assert dataset.notices == ("1 lines of list.csv list a file again and were passed over",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty; its first line should name the columns, such as path,label$"),
        ("file,label\n", r"lists no images below its first line$"),
        ("file,kind\n1.png,cat\n", r"the columns are file, kind; which is the class\? say so with --label-column "
            r"NAME, or "),
        ("1.png,cat\n2.png,dog\n", r"the columns are 1.png, cat; which is the image\? say so with --path-column NAME"),
        ("file,label\n1.png\n", r"line 2: 1 fields where the first line names 2 columns$"),
        ("file,label\n1.png,cat,train\n", r"line 2: 3 fields where"),
        ("file,label\n1.png,\n", r"line 2: no class$"),
        ("file,label\n,cat\n", r"line 2: no path$"),
        ("file,label,split\n1.png,cat,train\n\n2.png,cat,fold 2\n", r"line 4: split 'fold 2' should be train, "
            r"validation or test"),
        ("file,label\n1.png,cat\n3.png,cat\n4.png,cat\n", r"lists 3 files of which 2 are not there, the first in line "
            r"3: 3.png"),
        ("file,label\nfolder,cat\n", r"of which 1 are not there, the first in line 2: folder"),
        ("file,label\n1.png,cat\n1.png,dog\n", r"1.png is listed in line 2 and, differently, in line 3$"),
        ("file,index\n1.png,-1\n", r"line 2: class index '-1' should be a whole number from 0 up, below 1,000,000$"),
        ("file,index\n1.png,4000000000\n", r"line 2: class index '4000000000' should be"),
        ("file,index\n1.png,one\n", r"line 2: class index 'one' should be"),
        ('file,label\n"1.png,cat\n', r"line 2: unexpected end of data$"),
        ("file,label\n../secret.png,cat\n", r"line 2: ../secret.png leads out of .*set; paths that begin elsewhere "
            r"need --root$"),
        ("file,label\n1.png,cat\na/../../secret.png,cat\n", r"line 3: a/../../secret.png leads out of"),
        ("file,label\n..\\secret.png,cat\n", r"line 2: ..\\secret.png leads out of"),
        ("file,label\n/etc/hostname,cat\n", r"line 2: /etc/hostname leads out of"),
        ("file,label\nC:\\pictures\\1.png,cat\n", r"leads out of"),
        ("file,label\nlink.png,cat\n", r"line 2: link.png leads out of"),
        ("file,label\nlinked/secret.png,cat\n", r"line 2: linked/secret.png leads out of"),
        ("file,label\n1.png\0,cat\n", r"list.csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "set"
    (folder / "folder").mkdir(parents=True)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(folder, text, "1.png", "2.png"))
    assert "\n" not in str(caught.value)


def test_links_inside_the_folder_are_fine(tmp_path):
    path = write(tmp_path, "file,label\nlink.png,cat\nlinked/1.png,dog\n", "real/1.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "1.png")
    (tmp_path / "linked").symlink_to("real")
    assert len(read_table(path)) == 2


def test_other_encodings(tmp_path):
    path = write(tmp_path, "file,label\n1.png,café\n", "1.png", encoding="latin-1")
    with pytest.raises(DataError, match=r"is not UTF-8 text \(byte 20\); save it as CSV UTF-8$"):
        read_table(path)
    with pytest.raises(DataError, match=r"is not UTF-8 text"):
        read_table(write(tmp_path, "file,label\n1.png,cat\n", encoding="utf-16"))
    with pytest.raises(DataError, match=r"absent.csv cannot be read: No such file"):
        read_table(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,wnid\n0,n1\n", r"must have the columns index and name but its first line names index, wnid$"),
        ("index,name\n0,a\n2,b\n", r"must give each index from 0 to 1 once$"),
        ("index,name\n0,a\n0,b\n", r"must give each index from 0 to 1 once$"),
        ("index,name\n0,a\n1,\n", r"must give every class a name of its own$"),
        ("index,wnid,name\n0,n1,a\n1,n1,a\n", r"must give every class a name of its own$"),
    ],
)
def test_names_of_classes_that_do_not_serve(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_class_names(write(tmp_path, text))


def test_a_number_without_a_name(tmp_path):
    write(tmp_path, "index,name\n0,a\n1,b\n", name="classes.csv")
    with pytest.raises(DataError, match=r"line 3: class index 2 is not in classes.csv$"):
        read_table(write(tmp_path, "file,index\n1.png,0\n2.png,2\n", "1.png", "2.png"))


def test_names_without_an_identifier_take_their_number(tmp_path):
    assert read_class_names(write(tmp_path, "index,name\n0,a\n1,a\n")) == ("a (0)", "a (1)")


def test_a_table_is_known_by_its_first_line(tmp_path):
    assert is_table(write(tmp_path, "image;label\n"))
    assert is_table(write(tmp_path, '"File",label\r\n1.png,cat', encoding="utf-8-sig"))
    assert not is_table(write(tmp_path, "image\n"))
    assert not is_table(write(tmp_path, "é,path", encoding="latin-1"))
    assert not is_table(write(tmp_path, "name,kind\n"))
    assert not is_table(write(tmp_path, ""))


def test_the_real_photos(shared_data):
    dataset = read_table(shared_data / "imagenet-samples" / "labels.csv")
    assert len(dataset) == 500
    assert len(dataset.class_names) == 1000
    assert dataset.labels.tolist() == list(range(0, 1000, 2))
    assert [dataset.class_names[i] for i in (0, 134, 517)] == ["tench", "crane (n02012849)", "crane (n03126707)"]
    assert os.path.basename(dataset.images.name(0)) == "n01440764_tench.JPEG"


def test_a_row_number_beside_an_unknown_column_is_not_the_class(tmp_path):
    path = write(tmp_path, "index,path,species\n0,1.png,cat\n1,2.png,dog\n", "1.png", "2.png")
    with pytest.raises(
        DataError, match=r"the columns are index, path, species; which is the class\? say so with --label-column"
    ):
        read_table(path)
    dataset = read_table(path, Columns(label="Species"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.columns == "columns: image from path, class from species, no split; not used: index"
    assert not dataset.has_index_labels
    assert read_table(path, Columns(label="index")).has_index_labels


@pytest.mark.parametrize("name", ["class_index", "label_index"])
def test_a_number_that_says_that_it_is_the_class(tmp_path, name):
    dataset = read_table(write(tmp_path, f"{name},path,note\n1,1.png,x\n0,2.png,y\n", "1.png", "2.png"))
    assert dataset.labels.tolist() == [1, 0]


def test_numbers_that_count_the_rows_are_told(tmp_path):
    names = [f"{number}.png" for number in range(3)]
    text = "file,index\n" + "".join(f"{name},{number}\n" for number, name in enumerate(names))
    assert read_table(write(tmp_path, text, *names)).notices == (
        "the column index, taken for the class, counts the rows: 0, 1, 2, ...; if another column is the class, name it "
        "with --label-column",
    )


def test_columns_that_are_asked_for(tmp_path):
    text = "where,path,kind,label,part\n1.png,x,cat,7,train\n2.png,y,dog,8,holdout\n"
    path = write(tmp_path, text, "1.png", "2.png")
    dataset = read_table(path, Columns(path="where", label="kind", split="part"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.given_splits.tolist() == [0, 2]
    assert dataset.columns == "columns: image from where, class from kind, split from part; not used: path, label"
    for option, wanted in (
        ("path", Columns(path="no")),
        ("label", Columns(label="no")),
        ("split", Columns(split="no")),
    ):
        with pytest.raises(
            InputError, match=f"no column 'no', which --{option}-column names; there are: where, path, kind"
        ):
            read_table(path, wanted)


def test_a_fold_that_is_a_number_is_no_split(tmp_path):
    dataset = read_table(write(tmp_path, "file,label,fold\n1.png,cat,0\n2.png,dog,4\n", "1.png", "2.png"))
    assert dataset.given_splits.tolist() == [-1, -1]
    assert dataset.columns == "columns: image from file, class from label, no split; not used: fold"


def test_a_column_that_is_there_twice(tmp_path):
    with pytest.raises(DataError, match="has 2 columns called 'label'; give each a name of its own"):
        read_table(write(tmp_path, "file,label,label\n1.png,a,b\n", "1.png"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.png\0,cat\n", r"line 2: holds a NUL character, so it is no CSV"),
        (
            "file,class_index\n1.png," + "9" * 5000 + "\n",
            r"line 2: class index '9{20}' should be a whole number from 0 up",
        ),
        ("file,class_index\n1.png," + "0" * 5000 + "1\n", r"line 2: class index '0{20}' should be"),
        ("file,label\n1.png," + "x" * 200_000 + "\n", r"field larger than field limit"),
        ("file,label\n" + "a/" * 5000 + "1.png,cat\n", r"of which 1 are not there"),
    ],
)
def test_tables_from_strangers(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, text, "1.png"))


def test_names_of_five_thousand_digits(tmp_path):
    """Python reads no number of so many."""
    dataset = read_table(write(tmp_path, f"file,label\n1.png,{'9' * 5000}\n2.png,1\n", "1.png", "2.png"))
    assert [len(name) for name in dataset.class_names] == [1, 5000]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    for source in (tmp_path / "labels.csv", tmp_path):
        with pytest.raises(DataError):
            open_source(source)


def test_paths_that_begin_elsewhere(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "cats" / "1.png").write_bytes(b"1")
    (tmp_path / "photos" / "2.png").write_bytes(b"2")
    table = write(tmp_path / "lists", "path,label\ncats/1.png,cat\n2.png,dog\n")
    with pytest.raises(
        DataError, match=r"2 are not there, .* cats/1.png; .* the folder that the paths begin at with --root$"
    ):
        read_table(table)
    dataset = read_table(table, Columns(root=str(tmp_path / "photos")))
    assert [dataset.images.read(index) for index in range(2)] == [b"1", b"2"]
    assert dataset.root == tmp_path / "photos"
    assert columns_from_json(Columns(root="photos").to_json()).root == os.path.abspath("photos")
    with pytest.raises(
        DataError, match=r"--root .*/nowhere is not a folder; name the one that the paths in .* begin at"
    ):
        read_table(table, Columns(root=str(tmp_path / "nowhere")))
    table = write(tmp_path / "lists", "path,label\n../secret.png,cat\n")
    with pytest.raises(
        DataError, match=r"\.\./secret.png leads out of .*/cats; paths that begin elsewhere need --root$"
    ):
        read_table(table, Columns(root=str(tmp_path / "photos" / "cats")))
