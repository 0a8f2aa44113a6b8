"""The optimiser of a fit."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import OptimiserConfig
from ..model.protocol import HasMatrices, Potential
from .muon import Muon, adam


def optimiser_of(config: OptimiserConfig, model: Potential, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Of `parameters`, among them the model's; with one learning rate for all of them in its `param_groups`.

    Models that name no matrices have steps of Adam throughout.
    """
    rate, decay = config.learning_rate, config.weight_decay or 0.0
    shapes = model.matrices() if config.method == "muon" and isinstance(model, HasMatrices) else {}
    if not shapes:
        return adam(parameters, rate, decay)
    of_tensors = {id(parameter): shapes[name] for name, parameter in model.named_parameters() if name in shapes}
    matrices = {k: of_tensors[id(p)] for k, p in enumerate(parameters) if id(p) in of_tensors}
    return Muon(parameters, matrices, rate, decay)
