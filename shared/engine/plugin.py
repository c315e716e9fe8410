"""What vLLM's processes are taught, each of them: dots.ocr's configuration class, which vLLM has
and does not list, so that the model needs no `trust_remote_code`; and to end with the process that
started them. Imports nothing until it is called.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Final

FOLLOWER: Final = "ocr-fleet-follower"


def register() -> None:
    """Called by vLLM through its plug-in group; calling it twice is harmless."""
    _follow_parent()

    from transformers import AutoConfig  # noqa: PLC0415 - only where vLLM runs
    from vllm.transformers_utils.configs.dotsocr import DotsOCRConfig  # noqa: PLC0415

    AutoConfig.register("dots_ocr", DotsOCRConfig, exist_ok=True)


def _follow_parent() -> None:
    """In a core or worker: end when its parent has. A service that was killed, for want of memory
    say, would leave a core behind that holds its card for ever."""
    parent = multiprocessing.parent_process()
    if parent is None or any(thread.name == FOLLOWER for thread in threading.enumerate()):
        return

    def follow() -> None:
        parent.join()
        os._exit(1)  # nobody is left to clean up for

    threading.Thread(target=follow, name=FOLLOWER, daemon=True).start()
