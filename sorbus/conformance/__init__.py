"""The contract of every connector, as tests that a connector's package inherits; needs pytest (`pip install pytest`).

A package with a connector writes one class that describes its system, and inherits the tests:

    from sorbus.conformance import ConsumerConformance, Target

    class Folder(Target): ...           # where to write, how to read everything back, how to break it

    class TestFolder(ConsumerConformance):
        @pytest.fixture
        def target(self, tmp_path): return Folder(tmp_path)

`ProducerConformance` and `Source` are the same for producers. docs/write-a-connector.md has a whole example.
"""

import pytest

pytest.register_assert_rewrite(
    "sorbus.conformance.consumer", "sorbus.conformance.producer", "sorbus.conformance.in_memory_bus"
)

from sorbus.conformance.consumer import ConsumerConformance  # noqa: E402 - after the rewriting is switched on
from sorbus.conformance.producer import ProducerConformance  # noqa: E402
from sorbus.conformance.sample_type import FIELDS, Thing, sample  # noqa: E402
from sorbus.conformance.source import Source  # noqa: E402
from sorbus.conformance.target import Target  # noqa: E402

__all__ = ["FIELDS", "ConsumerConformance", "ProducerConformance", "Source", "Target", "Thing", "sample"]
