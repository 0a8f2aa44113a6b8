"""An uncertainty: last layers fitted to frames that are drawn with replacement."""

import torch

from mollifield_train.uncertainty import Kind
from mollifield_train.uncertainty.last_layer import information


def fitted(posterior, frames):
    precision, vector = information(frames, posterior.noise, len(posterior.mean))
    prior = posterior.prior * torch.eye(len(posterior.mean), dtype=torch.float64)
    return torch.linalg.solve(precision + prior, vector)


def draw(posterior, frames, n, generator):
    drawn = torch.randint(len(frames), (n, len(frames)), generator=generator).tolist()
    fits = [fitted(posterior, [frames[k] for k in one]) for one in drawn]
    return torch.stack(fits) - fitted(posterior, frames)


BOOTSTRAP = Kind(draw, looks_at_frames=True)
