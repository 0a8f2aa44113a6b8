# %% [markdown]
# # 3 Quantify uncertainty, calibrate it, fool it
#
# The spread of a committee is a number in eV/Å. Is it an error bar? Here it is compared with true errors, corrected
# on frames that nobody trained on, and then asked about things that it cannot know.
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
from scipy.stats import spearmanr
from tblite.ase import TBLite

from mollifield import MollifieldCalculator
from mollifield_train.cli import main


def mollifield(line):
    """What `mollifield ...` does in a shell."""
    assert main(line.split()) == 0


def labelled(atoms, method="GFN2-xTB"):
    """The same frame with energy and forces of the truth."""
    frame = atoms.copy()
    frame.calc = TBLite(method=method, verbosity=0)
    frame.get_forces()
    return frame


def dynamics(temperature, n_frames, seed):
    """Frames of Langevin dynamics with the truth, 10 fs apart."""
    rng = np.random.default_rng(seed)
    atoms = labelled(molecule("CH3OH"))
    thermalize_momenta(atoms, temperature, rng=rng)
    md = Langevin(atoms, 1.0 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    md.run(100)
    frames = []
    for _ in range(n_frames):
        md.run(10)
        frames.append(labelled(atoms))
    return frames


train, held_out, test = (dynamics(300, n, seed) for seed, n in enumerate((40, 60, 60)))
ase.io.write("train.extxyz", train)
ase.io.write("held_out.extxyz", held_out)

# %% [markdown]
# ## Four answers to every question
#
# Four networks learn the same 40 frames from different initial weights. Where the frames decide, they agree. The
# calculator gives their mean, and the std of each atom's force: the root of the trace of its 3×3 covariance.

# %%
Path("train.yaml").write_text("""
directory: runs/methanol
data: {train: train.extxyz, valid_fraction: 0.0}
model: {preset: fast, r_max: 4.0}
committee: {n_members: 4}
optimiser: {epochs: 100}
""")
mollifield("train train.yaml")


def errors(calculator, frames):
    """Lengths of the force errors of all atoms, eV/Å."""
    return np.concatenate(
        [np.linalg.norm(calculator.get_property("forces", atoms) - atoms.get_forces(), axis=1) for atoms in frames]
    )


def asked(calculator, name, frames):
    """A number of each atom of all frames."""
    return np.concatenate([calculator.get_property(name, atoms) for atoms in frames])


raw = MollifieldCalculator("runs/methanol/model.pt")
error, std = errors(raw, test), asked(raw, "forces_std", test)
print(f"force error {error.mean():.3f} eV/Å, std {std.mean():.3f}")
rank = spearmanr(std, error).statistic
print(f"rank correlation {rank:.2f}, rms of error/std {np.sqrt(np.mean((error / std) ** 2)):.2f}")
assert rank > 0.2

# %% [markdown]
# The *rank correlation* says whether larger stds go with larger errors. The *rms of error/std* is 1 for an honest
# std, above 1 for an overconfident one. The two have nothing to do with each other: active learning lives on the
# first, an error bar on the second.
#
# ## Calibrate
#
# `mollifield calibrate` compares stds and errors on frames that were not trained on, and writes what it finds into a
# copy of the model file, whence Python and LAMMPS take it alike: a factor for each species, a floor that grows with
# the distance from the training data, and the multiple of the std that holds 90% of the errors.

# %%
mollifield("calibrate runs/methanol/model.pt held_out.extxyz -o calibrated.pt")
calibrated = MollifieldCalculator("calibrated.pt")


def held(calculator, frames):
    """The part of the force errors that lies within the 90% interval."""
    return np.mean(errors(calculator, frames) <= asked(calculator, "forces_interval", frames))


new_std = asked(calibrated, "forces_std", test)
print(f"rms of error/std {np.sqrt(np.mean((error / new_std) ** 2)):.2f}")
print(f"within the 90% interval: {held(calibrated, test):.0%}")
assert 0.8 < held(calibrated, test) < 0.98

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, sharex=True)
for axis, name, stds in ((axes[0], "as it comes", std), (axes[1], "calibrated", new_std)):
    groups = np.array_split(np.argsort(stds), 10)
    axis.loglog(stds, error, ".", alpha=0.2)
    axis.loglog(
        [np.sqrt(np.mean(stds[group] ** 2)) for group in groups],
        [np.sqrt(np.mean(error[group] ** 2)) for group in groups],
        "o-",
        color="black",
    )
    axis.loglog([0.01, 0.5], [0.01, 0.5], "--", color="grey")
    axis.set(title=name, xlabel="force std (eV/Å)")
axes[0].set_ylabel("force error (eV/Å)")
plt.show()

# %% [markdown]
# Black: root mean squares of tenths of the atoms, which lie on the dashed line where the std is honest.
#
# ## Fool it
#
# **Heat.** The frames of the calibration were of 300 K, and so is the promise. At 1000 K nobody promised anything:

# %%
hot = dynamics(1000, 30, 7)
hot_error = errors(calibrated, hot)
print(f"force error {hot_error.mean():.3f} eV/Å, std {asked(calibrated, 'forces_std', hot).mean():.3f}")
print(f"within the 90% interval: {held(calibrated, hot):.0%}")
print(f"outside of the training data: {asked(calibrated, 'outside', hot).mean():.0%} of the atoms")
assert hot_error.mean() > 2 * error.mean()

# %% [markdown]
# **Break a bond.** No frame has an O-H distance beyond 1.2 Å or so. `outside` is not asked of the members at all: it
# says that no training atom resembles this one, by its distance in latent space. There the std is a warning, and
# no measured error.

# %%
start = molecule("CH3OH")
lengths = np.linspace(0.85, 3.0, 30)
oxygen, hydrogen = 1, 3
assert start.get_distance(oxygen, hydrogen) < 1.0
stretched = []
for length in lengths:
    atoms = start.copy()
    atoms.set_distance(oxygen, hydrogen, length, fix=0)
    stretched.append(labelled(atoms))
pulled = errors(calibrated, stretched).reshape(len(lengths), -1)[:, hydrogen]
interval = asked(calibrated, "forces_interval", stretched).reshape(len(lengths), -1)[:, hydrogen]
outside = asked(calibrated, "outside", stretched).reshape(len(lengths), -1).any(axis=1)
plt.figure(figsize=(6, 4))
plt.semilogy(lengths, pulled, label="true error")
plt.semilogy(lengths, interval, label="90% interval")
whole_height = plt.gca().get_xaxis_transform()
plt.fill_between(lengths, 0, 1, where=outside, transform=whole_height, alpha=0.15, label="outside")
plt.xlabel("O-H distance (Å)")
plt.ylabel("force on the hydrogen atom (eV/Å)")
plt.legend()
plt.show()
assert outside[lengths > 2].all()

# %% [markdown]
# **Teach all of them the same mistake.** Four members that learnt from one method agree about what that method gets
# wrong. Judged by GFN1-xTB instead of GFN2-xTB, which stands for the difference between any functional and nature,
# the same calibrated model is far off, and does not know it:

# %%
other = [labelled(atoms, "GFN1-xTB") for atoms in test]
print(
    f"force error {errors(calibrated, other).mean():.3f} eV/Å; within the 90% interval: {held(calibrated, other):.0%}"
)
assert held(calibrated, other) < 0.6

# %% [markdown]
# ## What to take along
#
# - A spread ranks as it comes. It is an error bar after a calibration, for frames like those of the calibration.
# - `outside` first: where it says yes, no number is to be trusted.
# - No committee knows what its labels got wrong.
# - Other sources of a spread (heads, dropout, samples of the last layer), and what each is worth:
#   [uncertainty](../uncertainty.md). Noise of labels is another thing than ignorance: `mollifield noise`.
