"""What a second photo of each enrolled person does, and a fourth: measured by `benchmarks/second_photo.py`.

On LFW (G. Huang et al., Labeled Faces in the Wild, 2007), with people whom our own networks never saw: `people` of them
enrolled with so many `photos` each and looked for with others, 808 strangers, means of 50 draws of the photos. `named`:
the share who are, where 1 % of strangers are; `missed`: who are not among the candidates either, where 10 % of
strangers are named or left to a human. Every person counts once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MEASURED: Mapping[str, list[dict[str, Any]]] = MappingProxyType(
    {
        "own": [
            {"photos": 1, "people": 61, "named": 0.8129, "missed": 0.0999},
            {"photos": 2, "people": 61, "named": 0.9113, "missed": 0.0409},
            {"photos": 4, "people": 61, "named": 0.9373, "missed": 0.0197},
        ],
        "published": [
            {"photos": 1, "people": 61, "named": 0.9533, "missed": 0.0242},
            {"photos": 2, "people": 61, "named": 0.9853, "missed": 0.0062},
            {"photos": 4, "people": 61, "named": 0.9947, "missed": 0.0025},
        ],
    }
)
