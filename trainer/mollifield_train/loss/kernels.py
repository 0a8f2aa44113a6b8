"""One-dimensional mollifiers: even densities on the line that integrate to 1."""

from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class GaussianKernel:
    """exp(-x²/2σ²) / sqrt(2π)σ; `width` is σ in Å."""

    width: float

    @property
    def reach(self) -> float:
        """Å; one displacement of a million is longer."""
        return 5.0 * self.width

    def density(self, x: np.ndarray) -> np.ndarray:
        """Values [n] at displacements x [n] in Å, in 1/Å."""
        return np.exp(-0.5 * (x / self.width) ** 2) / (np.sqrt(2.0 * np.pi) * self.width)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Displacements drawn from the density, Å."""
        return rng.normal(0.0, self.width, size=shape)

    def quadrature(self, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Hermite nodes [n] (Å) and weights [n]; exact for polynomials up to 2n - 1."""
        x, w = np.polynomial.hermite.hermgauss(n_nodes)
        return np.sqrt(2.0) * self.width * x, w / np.sqrt(np.pi)


@dataclass(frozen=True)
class CompactKernel:
    """C_ε exp(-1/(1 - x²/ε²)) on |x| < ε, zero outside; `width` is ε in Å.

    Smooth everywhere (Friedrichs, Trans. Amer. Math. Soc. 55, 132 (1944)). C_ε makes its integral 1.
    """

    width: float

    @property
    def reach(self) -> float:
        """Å; no displacement is longer."""
        return self.width

    @property
    def normalisation(self) -> float:
        """C_ε in 1/Å."""
        return 1.0 / (self.width * _bump_integral())

    def density(self, x: np.ndarray) -> np.ndarray:
        """Values [n] at displacements x [n] in Å, in 1/Å."""
        return self.normalisation * _bump(np.asarray(x) / self.width)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Displacements drawn from the density by rejection, Å; 6 of 10 proposals are taken."""
        n = int(np.prod(shape))
        drawn = np.empty(0)
        while len(drawn) < n:
            proposals = rng.uniform(-1.0, 1.0, size=2 * n)
            heights = rng.uniform(0.0, np.exp(-1.0), size=2 * n)
            drawn = np.concatenate([drawn, proposals[heights < _bump(proposals)]])
        return self.width * drawn[:n].reshape(shape)

    def quadrature(self, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Legendre nodes [n] on the support (Å) and weights [n] that hold the density.

        The weights are divided by their sum, so that a constant is integrated exactly.
        """
        x, w = np.polynomial.legendre.leggauss(n_nodes)
        w = w * _bump(x)
        return self.width * x, w / w.sum()


Kernel = GaussianKernel | CompactKernel


def _bump(x: np.ndarray) -> np.ndarray:
    """exp(-1/(1 - x²)) inside (-1, 1), zero outside."""
    inside = np.abs(x) < 1.0
    gap = np.where(inside, 1.0 - x * x, 1.0)
    return np.where(inside, np.exp(-1.0 / gap), 0.0)


@cache
def _bump_integral() -> float:
    # All derivatives vanish at both ends, so the trapezoidal rule converges faster than any power.
    x = np.linspace(-1.0, 1.0, 2001)
    return float(_bump(x).sum() * (x[1] - x[0]))
