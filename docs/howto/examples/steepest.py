"""An acquisition: the frames with the largest predicted forces."""

import numpy as np

from mollifield_train.active.acquire.config import AcquisitionConfig
from mollifield_train.section import Kind


class SteepestConfig(AcquisitionConfig):
    limit: float = 20.0  # eV/Å: what is above is left alone


def make(settings):
    def choose(scene, n, rng):
        predicted = scene.predictions(np.arange(len(scene)))
        forces = np.array([np.linalg.norm(one.forces, axis=1).max() for one in predicted])
        return [k for k in np.argsort(-forces) if forces[k] < settings.limit][:n]

    return choose


STEEPEST = Kind(SteepestConfig, make)
