# %% [markdown]
# # 5 Choose frames: variance, diversity, information
#
# Dynamics gives thousands of frames, and money for some labels. Which? Those of which the committee is least sure
# (*variance*), those that are unlike each other and unlike what is labelled (*diversity*), those that promise most
# (*information*), or any.
#
# The molecule is methanol, the truth GFN2-xTB. Everything takes about a minute of one core.

# %%
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from tblite.ase import TBLite

from mollifield import MollifieldCalculator
from mollifield_train.active.acquire import ACQUISITIONS, acquisition
from mollifield_train.active.acquire.scene import Scene
from mollifield_train.active.exported import ExportedCommittee
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


def dynamics(temperature, n_frames, every, seed):
    """Frames of Langevin dynamics with the truth, every so many fs."""
    rng = np.random.default_rng(seed)
    atoms = labelled(molecule("CH3OH"))
    thermalize_momenta(atoms, temperature, rng=rng)
    md = Langevin(atoms, 1.0 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    md.run(100)
    frames = []
    for _ in range(n_frames):
        md.run(every)
        frames.append(labelled(atoms))
    return frames


def force_error(model, frames):
    """RMSE of the forces, meV/Å."""
    calculator = MollifieldCalculator(model)
    differences = [calculator.get_property("forces", atoms) - atoms.get_forces() for atoms in frames]
    return 1e3 * np.sqrt(np.mean(np.square(differences)))


# %% [markdown]
# ## What is known, and what is offered
#
# Ten labelled frames. Offered are 160: most of them from 4 fs of spacing at 300 K, each much like the one before;
# some from 700 K. (They come from the truth here, so that labels are at hand. In the loop the model's own dynamics
# finds them.) Judged is on frames of both temperatures.

# %%
known = dynamics(300, 10, 10, 0)
pool = dynamics(300, 120, 4, 1) + dynamics(700, 40, 4, 2)
is_hot = np.arange(len(pool)) >= 120
test = dynamics(300, 25, 10, 3) + dynamics(700, 25, 10, 4)


def train(frames, directory, initial, epochs):
    """A committee of four, from weights that are there or from none."""
    ase.io.write(f"{directory}.extxyz", frames)
    Path("train.yaml").write_text(f"""
directory: {directory}
initial: {initial}
data: {{train: {directory}.extxyz, valid_fraction: 0.0}}
model: {{preset: fast, r_max: 4.0}}
committee: {{n_members: 4}}
optimiser: {{epochs: {epochs}}}
""")
    mollifield("train train.yaml")
    return f"{directory}/model.pt"


first = train(known, "first", "null", 200)

# %% [markdown]
# ## The scene
#
# An acquisition is a function: it sees the candidates, what is labelled, and the committee, and gives indices. These
# are the kinds that a loop's config may name under `arms`:

# %%
print(", ".join(ACQUISITIONS))
committee = ExportedCommittee(Path(first))
std = np.array([committee.predict(atoms).forces_std.max() for atoms in pool])
scene = Scene(frames=pool, std=std, above=np.full(len(pool), True), known=known, committee=committee)

# %% [markdown]
# - `most_uncertain`: the largest force std of an atom, and again, and again.
# - `farthest_points`: each the farthest from what is labelled or chosen, in the latent space of the network; the std
#   is not looked at. Right for the beginning, when no std is to be trusted.
# - `combined`: $a(x) = \frac12 \log(1 + \sigma_\mathrm{ep}^2 / \sigma_\mathrm{al}^2) + \lambda\, d(x)$, the
#   information gain of the label, which noise $\sigma_\mathrm{al}$ makes small, and a bonus for the distance $d$.
# - `random`: what all of them must beat.

# %%
budget = 10
chosen = {}
for kind in ("random", "most_uncertain", "farthest_points", "combined"):
    every_frame = Scene(pool, std, np.full(len(pool), kind != "random"), known, committee)
    settings = ACQUISITIONS[kind].section()
    chosen[kind] = acquisition(settings)(every_frame, budget, np.random.default_rng(0))


def spacing(indices):
    """Smallest distance between two of the frames in latent space."""
    rows = scene.descriptors(indices, "species_mean")
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    return distances[np.triu_indices(len(rows), 1)].min()


for kind, indices in chosen.items():
    print(
        f"{kind:16} std {std[indices].mean():.3f} eV/Å, hot {is_hot[indices].mean():4.0%}, "
        f"smallest distance {spacing(indices):.4f}"
    )
assert std[chosen["most_uncertain"]].min() >= np.sort(std)[-budget]
assert spacing(chosen["farthest_points"]) > spacing(chosen["random"])
assert spacing(chosen["farthest_points"]) > spacing(chosen["most_uncertain"])

# %% [markdown]
# The most uncertain frames are hot, and neighbours in time: much of the same. The farthest are spread out.
#
# ## What are they worth?

# %%
errors = {"before": force_error(first, test)}
for kind, indices in chosen.items():
    model = train(known + [pool[index] for index in indices], kind, "first", 100)
    errors[kind] = force_error(model, test)
plt.figure(figsize=(6, 3))
plt.barh(list(errors), list(errors.values()))
plt.xlabel("force RMSE (meV/Å)")
plt.gca().invert_yaxis()
plt.tight_layout()
plt.show()
for kind, error in errors.items():
    print(f"{kind:16} {error:6.1f} meV/Å")
assert max(error for kind, error in errors.items() if kind != "before") < errors["before"]
assert min(errors[kind] for kind in ("most_uncertain", "farthest_points", "combined")) < errors["random"]

# %% [markdown]
# ## What to take along
#
# - Uncertainty alone asks the same question ten times. Diversity is what saves labels early.
# - One molecule, one seed, ten labels: differences of a tenth between the three are noise. Loops with more rounds,
#   and what each kind saved there: [the loop](../active_learning.md).
# - An acquisition of your own is a file with a config class and a callable like these.
