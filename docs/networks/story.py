"""Write docs/networks.md: the networks of the catalogue in the order of their history, each with its one idea.

.venv/bin/python docs/networks/story.py

The words stand here, the figures come from the catalogue. A test holds that the page is what this writes.
"""

from dataclasses import dataclass
from pathlib import Path

from striate.networks.catalogue import CATALOGUE
from striate.networks.entry import Entry

PAGE = Path(__file__).resolve().parents[1] / "networks.md"


@dataclass(frozen=True)
class Chapter:
    """Some families, what they brought, and a command to train one of them."""

    title: str
    families: tuple[str, ...]
    idea: str
    command: str


STORY = (
    Chapter(
        "The visual cortex as a machine",
        ("neocognitron",),
        "Alternate layers of cells that look for a pattern (S) with layers that no longer care exactly where it "
        "was (C). Hubel and Wiesel had found both kinds in the striate cortex of cats; Fukushima built them. "
        "Everything below is this alternation, trained.",
        "striate train digits --network neocognitron",
    ),
    Chapter(
        "Learning by gradient",
        ("mlp",),
        "Layers of weighted sums with a nonlinearity between them, all trained at once by passing errors "
        "backwards. It sees an image as a list of numbers: move the digit by one pixel and every input changes. "
        "What convolution saves is best measured against it.",
        "striate train digits --network mlp",
    ),
    Chapter(
        "The same weights at every moment",
        ("tdnn",),
        "Slide one small network along time. The weights are shared, so a phoneme is found wherever it starts: "
        "convolution, for sound.",
        "striate train spectrograms --network tdnn",
    ),
    Chapter(
        "Close to what is known",
        ("rbf",),
        "Each unit says how close the image is to a centre, an image of its own. Far from every centre the network "
        "says nothing, so all classes are equally probable: less accurate than what follows, and harder to fool with "
        "certainty.",
        "striate train digits --network rbf",
    ),
    Chapter(
        "Convolution for images",
        ("lenet",),
        "Local filters, shared over the image, then subsampling, then again; all weights learned from pixels to "
        "class. LeNet-5 read cheques for years. LeNet-300-100 is the perceptron it was compared with, and the "
        "favourite of those who compress networks.",
        "striate train digits --network lenet5",
    ),
    Chapter(
        "Scale, ReLU, dropout, two graphics cards",
        ("alexnet",),
        "Sixty million parameters, a million photos, a nonlinearity that does not saturate, and noise against "
        "overfitting. It halved the error of ImageNet and ended the age of hand-made features. The two "
        "towers are two cards that could not hold it together.",
        "striate train photos --network alexnet",
    ),
    Chapter(
        "Learn the activation",
        ("maxout",),
        "Let each unit be the largest of several linear pieces: any convex function, learned, and at its best "
        "together with dropout.",
        "striate train cifar10 --network maxout_cifar",
    ),
    Chapter(
        "A network inside the network",
        ("nin",),
        "Slide a small perceptron instead of a linear filter: 1x1 convolutions. And end in one map a class, "
        "averaged, instead of dense layers. Both are in nearly everything since.",
        "striate train cifar10 --network nin_cifar",
    ),
    Chapter(
        "Look inside and mend",
        ("zfnet",),
        "Project activations back to pixels and one sees AlexNet's first filters miss the middle frequencies and "
        "its stride alias; a smaller filter with a smaller stride is better.",
        "striate train photos --network zfnet",
    ),
    Chapter(
        "Dense layers are convolutions",
        ("overfeat",),
        "Apply the whole network at every place at the cost of little more than one: one network classifies, "
        "locates and detects.",
        "striate train photos --network overfeat_fast",
    ),
    Chapter(
        "Deeper, with the smallest filters",
        ("vgg",),
        "Two 3x3 filters see 5x5 with fewer weights and one more nonlinearity. Sixteen such layers, nothing else: "
        "the plainest network that is still used, and by far the heaviest.",
        "striate train cifar10 --network vgg16_bn_cifar",
    ),
    Chapter(
        "Nothing but convolutions",
        ("allconv",),
        "Replace pooling by stride and dense layers by 1x1 filters: as good, and simple enough to look through "
        "(guided backpropagation comes from this paper).",
        "striate train cifar10 --network allcnn_c_cifar",
    ),
    Chapter(
        "Several sizes at once, cheaply",
        ("inception",),
        "Look at 1x1, 3x3 and 5x5 side by side, with 1x1 bottlenecks before the expensive ones: twelve times "
        "fewer parameters than AlexNet. The later versions normalise each layer (v2), factor filters into 3x3 and "
        "1xn (v3), tidy up (v4) and add shortcuts (Inception-ResNet).",
        "striate train photos --network googlenet",
    ),
    Chapter(
        "Gates that carry",
        ("highway",),
        "Let each layer decide how much to change and how much to hand on unchanged: the first networks that "
        "could be trained fifty layers deep.",
        "striate train cifar10 --network highway19_cifar",
    ),
    Chapter(
        "Normalise, and learn in one pass",
        ("digitnet",),
        "Batch norms let a rate eight times LeNet's do no harm, so that a network of half LeNet-5's parameters reads "
        "MNIST after seeing every digit once. It is striate's own.",
        "striate train mnist --epochs 1 --network digitnet",
    ),
    Chapter(
        "Learn the difference",
        ("resnet",),
        "Hand everything on unchanged and add what a few layers make of it. An extra layer can then do no harm, "
        "gradients reach the bottom, and 152 layers are better than 20. The default of the field to this day.",
        "striate train photos --network resnet18",
    ),
    Chapter(
        "A clear path from top to bottom",
        ("preact_resnet",),
        "Put norm and ReLU before the convolutions, so that nothing stands on the shortcut at all: a thousand "
        "layers train.",
        "striate train cifar10 --network preact_resnet18_cifar",
    ),
    Chapter(
        "Leave layers out while training",
        ("stochastic_depth",),
        "Drop whole residual branches at random: a short network to train, a deep one to use, and an ensemble of both.",
        "striate train cifar10 --network resnet110_stochastic_depth_cifar",
    ),
    Chapter(
        "Wide instead of deep",
        ("wide_resnet",),
        "Sixteen wide layers match a thousand thin ones and run many times faster: depth was not the point, the "
        "shortcut was.",
        "striate train cifar10 --network wrn_16_4_cifar",
    ),
    Chapter(
        "Depth without shortcuts",
        ("fractalnet",),
        "Grow a network by a rule that repeats itself, join short and long paths by their mean, and drop paths "
        "while training: deep, without residuals.",
        "striate train cifar10 --network fractalnet20_cifar",
    ),
    Chapter(
        "AlexNet in half a megabyte",
        ("squeezenet",),
        "Squeeze to few maps before every 3x3 filter, and pool late: fifty times fewer parameters than AlexNet at "
        "its accuracy.",
        "striate train photos --network squeezenet1_1",
    ),
    Chapter(
        "Keep every map",
        ("densenet",),
        "Give each layer the maps of all layers before it, and let it add only a few: features are used again "
        "instead of learned again.",
        "striate train cifar10 --network densenet_bc_100_12_cifar",
    ),
    Chapter(
        "Many thin paths",
        ("resnext",),
        "Split a bottleneck into 32 groups of its own: more paths are better than more width or more depth at "
        "equal cost.",
        "striate train photos --network resnext50_32x4d",
    ),
    Chapter(
        "Space and channels apart",
        ("xception",),
        "An Inception module taken to its end: filter every map on its own, then mix maps with 1x1: depthwise "
        "separable convolution.",
        "striate train photos --network xception",
    ),
    Chapter(
        "Networks for a phone",
        ("mobilenet", "mnasnet"),
        "Depthwise separable convolutions throughout (v1); thin shortcuts around wide insides, no ReLU on the "
        "thin ends (v2); parts found by search, gates and cheap activations (v3).",
        "striate train photos --network mobilenet_v2",
    ),
    Chapter(
        "Shuffle between groups",
        ("shufflenet",),
        "Even 1x1 filters can be grouped, if the groups are shuffled in between (v1); then count memory traffic, "
        "not only arithmetic, and split the channels instead (v2).",
        "striate train photos --network shufflenet_v2_x1_0",
    ),
    Chapter(
        "Weigh the channels",
        ("senet",),
        "Average each map, let two small layers decide how much each one matters here, multiply. Hardly any "
        "arithmetic; the last winner of ImageNet.",
        "striate train photos --network se_resnet50",
    ),
    Chapter(
        "Let a search draw the cell",
        ("nasnet",),
        "Search for one small cell on CIFAR-10, then stack it: the first drawing by machine that beat those by hand.",
        "striate train photos --network nasnet_a_mobile",
    ),
    Chapter(
        "Grow everything together",
        ("efficientnet",),
        "Depth, width and resolution belong together: search a small network once, then scale all three by one number.",
        "striate train photos --network efficientnet_b0",
    ),
    Chapter(
        "Fast to train",
        ("airbench",),
        "Small filters that whiten the input, blocks that start as identities, a rate of their own for the norms: "
        "CIFAR-10 in seconds on a graphics card, in minutes on a laptop.",
        "striate train cifar10 --network airbench94_cifar",
    ),
)


def page() -> str:
    """The whole page, as Markdown."""
    lines = [
        "# The networks, in the order of their story",
        "",
        "Each network's one idea, its figures and the command that trains it. The figures come from the catalogue "
        "(`striate",
        "networks`), where every one is held against the paper, torchvision or a count by hand; errors are those the "
        "papers",
        "print. `striate describe NAME` shows any of them layer by layer, `--html` draws it. This page is written by",
        "[networks/story.py](networks/story.py).",
        "",
        "How ten of them do in equal time on an ordinary machine: [results/decades.md](results/decades.md). What the "
        "smallest of",
        "every family promises, and how it overfits 32 images: [results/promises.md](results/promises.md).",
        "",
        "![Accuracy on CIFAR-10 against parameters and multiply-adds](results/decades.svg)",
    ]
    for chapter in STORY:
        entries = [entry for entry in CATALOGUE.values() if entry.family in chapter.families]
        years = sorted({entry.year for entry in entries})
        span = f"{years[0]}" if len(years) == 1 else f"{years[0]}–{years[-1]}"
        lines += ["", f"## {chapter.title} ({span})", "", chapter.idea, ""]
        lines += [
            "| network | input | parameters | multiply-adds | published top-1 / top-5 error |",
            "|---|---|---|---|---|",
        ]
        lines += [row(entry) for entry in entries]
        lines += ["", "```", chapter.command, "```", "", papers(entries)]
    return "\n".join(lines) + "\n"


def row(entry: Entry) -> str:
    """One network as a row of its chapter's table."""
    published = entry.published
    errors = "" if published is None else " / ".join(percent(e) for e in (published.top1_error, published.top5_error))
    cells = (
        f"`{entry.name}`",
        "x".join(map(str, entry.input_size)),
        f"{entry.num_params:,}",
        f"{entry.macs:,}",
        errors,
    )
    return f"| {' | '.join(cells)} |"


def percent(error: float | None) -> str:
    return "–" if error is None else f"{100 * error:.2f} %"


def papers(entries: list[Entry]) -> str:
    """Where to read about it."""
    titles = dict.fromkeys((entry.title, entry.paper) for entry in entries)
    return "Papers: " + "; ".join(f"*{title}* ({paper})" for title, paper in titles) + "."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
