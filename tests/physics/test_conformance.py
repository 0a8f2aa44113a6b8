"""`mollifield_train.testing`: what any interatomic potential must obey, for all architectures, through every engine."""

import pytest
import torch

from mollifield_train.model import ARCHITECTURES
from mollifield_train.testing import CHECKS, Engine, eager_engine, single_precision_agrees

from ..conftest import untrained


@pytest.mark.parametrize("check", CHECKS)
def test_physics(engine: Engine, check: str) -> None:
    CHECKS[check](engine)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_float32_agrees_with_float64(kind: str) -> None:
    single, double = (eager_engine(untrained(kind, dtype)) for dtype in (torch.float32, torch.float64))
    single_precision_agrees(single, double)
