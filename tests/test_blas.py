"""On how many threads matrix products run."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import numpy
from threadpoolctl import threadpool_info, threadpool_limits
from audioseg_xai.blas import use_one_thread
threadpool_limits(limits=3, user_api="blas")
use_one_thread()
numpy.ones((200, 200)) @ numpy.ones((200, 200))
print({info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"})
"""


def test_a_product_uses_one_thread_from_now_on() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"
