"""Random numbers for weights that carry a leading member dimension."""

import torch
from torch import Tensor

def member_normal_(parameter: Tensor, generators: list[torch.Generator]) -> None:
    """Fill ``parameter[m]`` with N(0, 1) drawn from ``generators[m]``.

    Drawn in float64 on the CPU, so that a member's weights depend on its own seed only: not on the
    number of members, the dtype or the device.
    """
    with torch.no_grad():
        for member, generator in zip(parameter, generators, strict=True):
            member.copy_(torch.randn(member.shape, generator=generator, dtype=torch.float64))
