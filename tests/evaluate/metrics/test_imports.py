"""What loading a metric costs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from locum.evaluate.metrics.registry import load_metric
load_metric("exact_match")
print(sorted({"torch", "transformers"} & set(sys.modules)))
import transformers
print(transformers.__name__)
"""


def test_a_metric_loads_neither_torch_nor_transformers_and_leaves_them_importable() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "transformers"]
