"""What a collection of a billion images takes, computed from a few stated figures; and how well shards are shuffled,
simulated.

    python benchmarks/large_scale.py [--num-images 1000000000] [--image-bytes 110000] [--decode-per-s 700] [--out FILE]

The defaults are ImageNet's mean file size, and decoding and resizing on one core of an ordinary server;
docs/large-scale.md says which of them were measured. Nothing here is measured.
"""

import argparse
import json
import math
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

BLOCK = 512
MEMBERS = 3
META_BYTES = 160
"""JSON and class number of an image within a tar, before padding."""


@dataclass(frozen=True)
class Cluster:
    """The machines: `cores` and `gpus` in each, `images_per_s` that one GPU trains, `network_gbit` of each machine."""

    num_nodes: int = 32
    cores: int = 64
    gpus: int = 8
    images_per_s: float = 2_500.0
    network_gbit: float = 100.0
    disk_bytes: float = 15e12


def tar_bytes(image_bytes: float) -> float:
    """What an image takes in a shard: three headers, and three contents filled up to whole blocks (half one on
    average).
    """
    return MEMBERS * BLOCK + (image_bytes + BLOCK / 2) + 2 * BLOCK


def plan(
    num_images: int, image_bytes: float, decode_per_s: float, shard_mb: int, side_px: int, cluster: Cluster
) -> dict[str, float]:
    """Every figure of the plan, by a name with its unit."""
    total = num_images * tar_bytes(image_bytes)
    trained_per_s = cluster.num_nodes * cluster.gpus * cluster.images_per_s
    decoded_per_s = cluster.num_nodes * cluster.cores * decode_per_s
    epoch_s = num_images / min(trained_per_s, decoded_per_s)
    return {
        "originals_tb": num_images * image_bytes / 1e12,
        "shards_tb": total / 1e12,
        "shards": math.ceil(total / (shard_mb * 1e6)),
        "images_in_a_shard": shard_mb * 1e6 / tar_bytes(image_bytes),
        "packed_tb": num_images * 3 * side_px * side_px * 4 / 3 / 1e12,
        "tables_gb": num_images * 120 / 1e9,
        "decode_hours_one_core": num_images / decode_per_s / 3600,
        "decode_hours_cluster": num_images / decoded_per_s / 3600,
        "trained_images_per_s": trained_per_s,
        "decoded_images_per_s": decoded_per_s,
        "cores_needed_a_gpu": cluster.images_per_s / decode_per_s,
        "epoch_hours": epoch_s / 3600,
        "read_gbit_a_node": min(trained_per_s, decoded_per_s) / cluster.num_nodes * tar_bytes(image_bytes) * 8 / 1e9,
        "own_shards_tb_a_node": total / cluster.num_nodes / 1e12,
        "nodes_for_all_on_disk": math.ceil(total / cluster.disk_bytes),
        "lost_images_of_a_restart": 60 * trained_per_s,
        "buffer_gb_of_10000": 10_000 * image_bytes / 1e9,
    }


def simulate_shuffle(
    num_shards: int, in_shard: int, buffer: int, num_readers: int, batch: int, seed: int = 0
) -> dict[str, float]:
    """How shuffled a streamed epoch is, 0 for not at all and 1 for wholly: shards in a drawn order, dealt to readers,
    each of which holds `buffer` images and gives a random one of them for each that it reads.

    `partners`: of the pairs of images in one batch, how many come from different shards, as against a whole shuffle.
    `met_again`: of the pairs in a batch of one epoch, the share that meets again in a batch of the next; a whole
    shuffle's beside it.
    """
    rng = np.random.default_rng(seed)
    epochs = [stream(num_shards, in_shard, buffer, num_readers, rng) for _ in range(2)]
    batches = [epoch[: len(epoch) // batch * batch].reshape(-1, batch) for epoch in epochs]
    shards = batches[0] // in_shard
    different = np.mean([(row[:, None] != row[None]).sum() / (batch * (batch - 1)) for row in shards])
    total = num_shards * in_shard
    place = np.full(total, -1)
    place[batches[1].reshape(-1)] = np.repeat(np.arange(len(batches[1])), batch)
    met = np.mean(
        [((place[row][:, None] == place[row][None]).sum() - batch) / (batch * (batch - 1)) for row in batches[0]]
    )
    whole = (total - in_shard) / (total - 1)
    return {"partners": float(different / whole), "met_again": float(met), "met_again_whole": (batch - 1) / (total - 1)}


def stream(num_shards: int, in_shard: int, buffer: int, num_readers: int, rng: np.random.Generator) -> np.ndarray:
    """The images of an epoch, in the order in which they come; the readers take turns."""
    order = rng.permutation(num_shards)
    streams = []
    for reader in range(num_readers):
        images = (order[reader::num_readers, None] * in_shard + np.arange(in_shard)).reshape(-1)
        held, given = list(images[:buffer]), []
        for image in images[buffer:].tolist():
            place = int(rng.integers(len(held)))
            given.append(held[place])
            held[place] = image
        streams.append(np.array([*given, *rng.permutation(held)]))
    shortest = min(map(len, streams))
    turns = np.stack([each[:shortest] for each in streams], axis=1).reshape(-1)
    return np.concatenate([turns, *(each[shortest:] for each in streams)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=1_000_000_000)
    parser.add_argument("--image-bytes", type=float, default=110_000)
    parser.add_argument("--decode-per-s", type=float, default=700)
    parser.add_argument("--shard-mb", type=int, default=256)
    parser.add_argument("--side-px", type=int, default=256)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cluster = Cluster()
    figures = plan(args.num_images, args.image_bytes, args.decode_per_s, args.shard_mb, args.side_px, cluster)
    shuffles = {
        f"buffer {buffer}, {readers} readers": simulate_shuffle(400, 200, buffer, readers, 256)
        for buffer, readers in ((1, 1), (1, 16), (1_000, 1), (1_000, 16), (4_000, 16))
    }
    document = {
        "command": sys.argv,
        "computed": figures,
        "simulated_shuffle_of_80000_images_in_400_shards": shuffles,
        "cluster": asdict(cluster),
        "python": platform.python_version(),
    }
    text = json.dumps(document, indent=1)
    print(text) if args.out is None else args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
