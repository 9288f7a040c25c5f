"""Images a second of striate's explanations beside Captum and pytorch-grad-cam, in one run; JSON out.

SqueezeNet 1.1 at 224 pixels, batches of 16, two threads, weights drawn (speed does not depend on them). Methods are
timed in turns, the best of `--repeats` is kept. Needs `pip install captum grad-cam`. `python benchmarks/explanation.py
> explanation.json`
"""

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable

import captum
import pytorch_grad_cam
import torch
import torchvision
from captum import attr
from torch import nn

from striate import explanation
from striate.version import __version__

BATCH, SIDE, WINDOW = 16, 224, 32


def contenders(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, num_steps: int
) -> dict[str, dict[str, Callable[[], object]]]:
    """By method, what computes it: striate's function and the peers'."""
    last = images.contiguous(memory_format=torch.channels_last)
    layer = explanation.default_layer(network, images)
    module = network.get_submodule(layer)
    own = {"classes": labels, "layer": layer}
    windows = {"sliding_window_shapes": (3, WINDOW, WINDOW), "strides": (3, WINDOW, WINDOW)}

    def with_grad_cam(kind: type) -> Callable[[], object]:
        targets = [lambda logits, label=label: logits[label] for label in labels.tolist()]
        return lambda: kind(model=network, target_layers=[module])(input_tensor=images.clone(), targets=targets)

    return {
        "saliency": {
            "striate": lambda: explanation.saliency(network, last, classes=labels),
            "captum": lambda: attr.Saliency(network).attribute(images.clone(), labels),
        },
        "guided_backprop": {
            "striate": lambda: explanation.guided_backprop(network, last, classes=labels),
            "captum": lambda: attr.GuidedBackprop(network).attribute(images.clone(), labels),
        },
        "deconvnet": {
            "striate": lambda: explanation.deconvnet(network, last, classes=labels),
            "captum": lambda: attr.Deconvolution(network).attribute(images.clone(), labels),
        },
        "grad_cam": {
            "striate": lambda: explanation.grad_cam(network, last, **own),
            "captum": lambda: attr.LayerGradCam(network, module).attribute(images.clone(), labels),
            "grad-cam": with_grad_cam(pytorch_grad_cam.GradCAM),
        },
        "grad_cam_plus_plus": {
            "striate": lambda: explanation.grad_cam_plus_plus(network, last, **own),
            "grad-cam": with_grad_cam(pytorch_grad_cam.GradCAMPlusPlus),
        },
        "layer_cam": {
            "striate": lambda: explanation.layer_cam(network, last, **own),
            "grad-cam": with_grad_cam(pytorch_grad_cam.LayerCAM),
        },
        f"integrated_gradients ({num_steps} steps)": {
            "striate": lambda: explanation.integrated_gradients(network, last, classes=labels, num_steps=num_steps),
            "captum": lambda: attr.IntegratedGradients(network).attribute(
                images.clone(), target=labels, n_steps=num_steps, internal_batch_size=BATCH
            ),
        },
        f"occlusion ({(SIDE // WINDOW) ** 2} windows)": {
            "striate": lambda: explanation.occlusion(network, last, classes=labels, window=WINDOW, stride=WINDOW),
            "captum": lambda: attr.Occlusion(network).attribute(images.clone(), target=labels, **windows),
        },
    }


def main() -> None:
    """Time everything in turns and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=50, help="of integrated gradients")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor seconds: for a machine that others use too"
    )
    chosen = parser.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # Captum's hooks need it
    images, labels = torch.randn(BATCH, 3, SIDE, SIDE), torch.arange(BATCH)
    results = {}
    for method, runs in contenders(network, images, labels, chosen.steps).items():
        is_slow = "(" in method
        best = dict.fromkeys(runs, float("inf"))
        for repeat in range(1 if is_slow else chosen.repeats + 1):
            for name, run in runs.items():
                started_at = clock()
                run()
                elapsed_s = clock() - started_at
                if repeat or is_slow:  # the first one warms up
                    best[name] = min(best[name], elapsed_s)
        results[method] = {name: BATCH / elapsed_s for name, elapsed_s in best.items()}
        print(method, {name: f"{rate:.2f}" for name, rate in results[method].items()}, file=sys.stderr)
    document = {
        "command": " ".join(sys.argv),
        "images_per_s": results,
        "clock": "processor seconds" if chosen.cpu_time else "wall",
        "threads": chosen.threads,
        "processor": platform.processor() or platform.machine(),
        "versions": {
            "striate": __version__,
            "torch": torch.__version__,
            "captum": captum.__version__,
            "python": platform.python_version(),
        },
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
