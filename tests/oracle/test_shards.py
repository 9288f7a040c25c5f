"""The webdataset library reads our shards."""

import json

import pytest

from striate.data.readers.sources import open_source
from striate.data.shards import read_index, write_shards

webdataset = pytest.importorskip("webdataset")


@pytest.mark.filterwarnings("ignore")
def test_webdataset_reads_the_same_bytes_and_labels(shared_data, tmp_path):
    source = open_source(shared_data / "hymenoptera")
    write_shards(source, tmp_path / "shards", shard_mb=4)
    places = {source.images.name(index): index for index in range(len(source))}
    paths = [str(tmp_path / "shards" / shard.name) for shard in read_index(tmp_path / "shards")[1]]
    assert len(paths) > 1
    found = 0
    for sample in webdataset.WebDataset(paths, shardshuffle=False, empty_check=False):
        about = json.loads(sample["json"])
        index = places[about["name"]]
        assert sample["jpg"] == source.images.read(index)
        assert int(sample["cls"]) == source.labels[index]
        assert about["class"] == source.class_names[source.labels[index]]
        found += 1
    assert found == len(source)
