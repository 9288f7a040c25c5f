"""OpenVINO's Core, made so that Ctrl-C stays safe."""

import threading
from typing import Any


def openvino_core() -> Any:
    """An `openvino.Core` whose CPU plugin is loaded. ImportError without OpenVINO; RuntimeError where it has no CPU
    plugin.

    The plugin gives the thread that loads it a stack of its own for signal handlers, and frees that stack with the last
    of its models, in whichever thread that happens; in any other than the first, the first one's next signal (a
    Ctrl-C) ends the process with a segmentation fault (seen with OpenVINO 2026.4). So a thread loads it that ends here.
    """
    import openvino

    core = openvino.Core()
    failures: list[Exception] = []

    def load() -> None:
        try:
            core.get_property("CPU", "FULL_DEVICE_NAME")
        except Exception as error:  # raised again below, in the caller's thread
            failures.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    loading.join()
    if failures:
        raise failures[0]
    return core
