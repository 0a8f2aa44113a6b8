# %% [markdown]
# # 1 Symmetries, and why they save data
#
# Turn a molecule, and its energy stays what it was; its forces turn with it. Exchange two like atoms, and nothing
# happens at all. A potential can learn this from examples, or be built so that it cannot be otherwise. Here both are
# done.
#
# The molecule is ammonia, the truth GFN2-xTB. Everything takes about a minute of one core.

# %%
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from scipy.spatial.distance import cdist, pdist
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from mollifield import MollifieldCalculator
from mollifield_train.cli import main


def mollifield(line):
    """What `mollifield ...` does in a shell."""
    assert main(line.split()) == 0


def labelled(atoms):
    """The same frame with energy and forces of the truth."""
    frame = atoms.copy()
    frame.calc = TBLite(method="GFN2-xTB", verbosity=0)
    frame.get_forces()
    return frame


rng = np.random.default_rng(0)
atoms = labelled(molecule("NH3"))
thermalize_momenta(atoms, 1000, rng=rng)
md = Langevin(atoms, 0.5 * units.fs, temperature_K=500, friction=0.02 / units.fs, fixcm=False, rng=rng)
frames = []
for _ in range(240):
    md.run(10)
    frames.append(labelled(atoms))
train, test = frames[:120], frames[140:]

# %% [markdown]
# ## Learn it from examples
#
# The simplest regression there is, on the simplest description: the energy by a Gaussian kernel on the 3N Cartesian
# coordinates. A second one sees the six distances between atoms instead, which no rotation changes. Both are judged
# on frames that are turned at random, as a gas has them.


# %%
def turned(atoms):
    """In a random orientation."""
    positions = Rotation.random(random_state=int(rng.integers(2**31))).apply(atoms.positions - atoms.positions.mean(0))
    return positions


def coordinates(positions):
    return positions.ravel()


def distances(positions):
    return pdist(positions)


def regression_error(describe, known, asked, width):
    """RMSE of the energy (meV) of kernel ridge regression; frames as (positions, energy)."""
    x, y = np.array([describe(p) for p, _ in known]), np.array([e for _, e in known])
    kernel = np.exp(-0.5 * cdist(x, x) ** 2 / width**2)
    weights = np.linalg.solve(kernel + 1e-6 * np.eye(len(x)), y - y.mean())
    at = np.array([describe(p) for p, _ in asked])
    predicted = y.mean() + np.exp(-0.5 * cdist(at, x) ** 2 / width**2) @ weights
    return 1e3 * np.sqrt(np.mean((predicted - [e for _, e in asked]) ** 2))


asked = [(turned(frame), frame.get_potential_energy()) for frame in test]
sizes = [20, 40, 80, 120]
copies = 10
curves = {"coordinates": [], f"coordinates, {copies} turned copies of each": [], "distances": []}
for n in sizes:
    once = [(turned(frame), frame.get_potential_energy()) for frame in train[:n]]
    often = [(turned(frame), frame.get_potential_energy()) for frame in train[:n] for _ in range(copies)]
    curves["coordinates"].append(regression_error(coordinates, once, asked, 1.0))
    curves[f"coordinates, {copies} turned copies of each"].append(regression_error(coordinates, often, asked, 1.0))
    curves["distances"].append(regression_error(distances, once, asked, 0.4))
spread = 1e3 * np.std([energy for _, energy in asked])
for name, errors in curves.items():
    print(f"{name:45}", "  ".join(f"{error:6.1f}" for error in errors), "meV")

# %%
plt.figure(figsize=(6, 4))
for name, errors in curves.items():
    plt.loglog(sizes, errors, "o-", label=name)
plt.axhline(spread, color="grey", linestyle="--", label="guessing the mean")
plt.xlabel("labelled frames")
plt.ylabel("energy RMSE (meV)")
plt.legend(fontsize=8)
plt.show()
assert curves["distances"][1] < min(curves["coordinates"])
assert curves["distances"][-1] < 0.3 * curves[f"coordinates, {copies} turned copies of each"][-1]

# %% [markdown]
# Of coordinates nothing is learnt here that guessing the mean would not give: in nine dimensions a hundred
# orientations are none, and ten turned copies of each frame are too few to change that. Of distances forty frames are
# enough for a start, and a hundred and twenty for an error that is twenty times smaller.
#
# ## Be built so
#
# Mollifield's networks pass not numbers alone from atom to atom, but vectors and tensors too: spherical harmonics of
# the directions up to `l_max`, multiplied by Clebsch-Gordan coefficients, so that everything turns as it should. With
# `l_max: 0` only numbers are left. Both are symmetric; the second is blind to angles between neighbours, unless it
# finds them out by way of others.

# %%
results = {}
for l_max in (0, 2):
    for n in (10, 40):
        ase.io.write("train.extxyz", train[:: len(train) // n])
        run = f"runs/l{l_max}-{n}"
        Path("train.yaml").write_text(f"""
directory: {run}
data: {{train: train.extxyz, valid_fraction: 0.0}}
model: {{preset: fast, r_max: 4.0, l_max: {l_max}}}
committee: {{n_members: 2}}
optimiser: {{epochs: {1200 // n}}}
""")
        mollifield("train train.yaml")
        calculator = MollifieldCalculator(f"{run}/model.pt")
        errors = [calculator.get_property("forces", frame) - frame.get_forces() for frame in test]
        results[l_max, n] = 1e3 * np.sqrt(np.mean(np.square(errors)))
for (l_max, n), error in results.items():
    print(f"l_max {l_max}, {n:3} frames: force RMSE {error:6.1f} meV/Å")
assert results[2, 40] < 0.7 * results[0, 40]
assert results[2, 10] < results[0, 40]

# %% [markdown]
# The same number of steps each. Directions are worth more than four times the frames.
#
# ## Not even the uncertainty knows which way is up
#
# The covariance of the force on an atom over the committee turns with the frame: $C \to R\,C R^\mathsf{T}$. Its
# trace, whose root is the std, stays. So a frame is chosen for labelling or not, whatever its orientation.

# %%
frame = test[0].copy()
rotation = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
other = frame.copy()
other.positions = frame.positions @ rotation.T
swapped = frame[[0, 2, 3, 1]]


def values(atoms):
    return {name: calculator.get_property(name, atoms) for name in ("energy", "forces", "forces_cov", "forces_std")}


here, there, renamed = values(frame), values(other), values(swapped)
print(f"energy: {here['energy']:.6f}, turned {there['energy']:.6f}, hydrogen atoms renamed {renamed['energy']:.6f} eV")
print(f"force std of each atom: {here['forces_std']}, turned {there['forces_std']} eV/Å")
scale = np.abs(here["forces"]).max()
assert abs(here["energy"] - there["energy"]) < 1e-4  # float32
assert abs(here["energy"] - renamed["energy"]) < 1e-4
assert np.allclose(there["forces"], here["forces"] @ rotation.T, atol=1e-4 * scale)
assert np.allclose(renamed["forces"], here["forces"][[0, 2, 3, 1]], atol=1e-4 * scale)
assert np.allclose(
    there["forces_cov"], rotation @ here["forces_cov"] @ rotation.T, atol=1e-4 * here["forces_cov"].max()
)
assert np.allclose(there["forces_std"], here["forces_std"], rtol=1e-3)

# %% [markdown]
# ## What to take along
#
# - What is built in needs no examples: neither frames, nor copies of frames.
# - `l_max: 2` is the default. Every preset is of one or two such layers: [accuracy](../accuracy.md).
# - The same tests, for energies, forces, virials and covariances, in Python and in LAMMPS, are run on every
#   architecture of the project before anything of it is released: `mollifield_train.testing`.
