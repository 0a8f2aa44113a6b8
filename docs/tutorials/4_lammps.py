# %% [markdown]
# # 4 LAMMPS with the fix: find the frames
#
# A potential knows the frames that somebody thought of. Dynamics goes elsewhere, and says nothing when it does. Here
# copper is learnt from a cold crystal, and then melted in LAMMPS. The committee notices where it leaves what it
# knows,
# `fix mollifield/uncertainty` writes these frames to a file, and labels for some of them mend the potential.
#
# The truth is effective medium theory (`EMT` of ASE), which is cheap enough to check every claim. Everything takes
# about a minute of one core.

# %%
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.stats import spearmanr

from mollifield import MollifieldCalculator
from mollifield_lammps import run_lammps, write_data
from mollifield_train.cli import main


def mollifield(line):
    """What `mollifield ...` does in a shell."""
    assert main(line.split()) == 0


def labelled(atoms):
    """The same frame with energy and forces of the truth."""
    frame = atoms.copy()
    frame.calc = EMT()
    frame.get_forces()
    return frame


rng = np.random.default_rng(0)
crystal = bulk("Cu", cubic=True) * 2

# %% [markdown]
# ## A model of the cold crystal
#
# Twenty frames in which every atom is displaced by about 0.08 Å, as at room temperature. The preset `fast` is a
# network of one layer; four of them, trained together from different initial weights, are the committee.

# %%
cold = []
for _ in range(20):
    atoms = crystal.copy()
    atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
    cold.append(labelled(atoms))
ase.io.write("cold.extxyz", cold)

Path("train.yaml").write_text("""
directory: runs/cold
data: {train: cold.extxyz, valid_fraction: 0.0}
model: {preset: fast, r_max: 4.0}
committee: {n_members: 4}
optimiser: {epochs: 40}
""")
mollifield("train train.yaml")

# %% [markdown]
# ## Heat it
#
# The input is that of any potential, but for three lines: `pair_style mollifield`, `pair_coeff` with the model file
# and an element for each atom type, and the fix. Every 20 steps the fix evaluates all members. Frames whose largest
# force std is above `select` go to `uncertain.extxyz`; above `stop` the run ends, before it is nonsense.

# %%
Path("melt.in").write_text("""
units        metal
atom_style   atomic
atom_modify  map yes
newton       on
read_data    copper.data
pair_style   mollifield
pair_coeff   * * runs/cold/model.pt Cu
velocity     all create 600 4928
timestep     0.002
fix          md all nve
fix          heat all langevin 300 3000 0.1 48279
fix          u all mollifield/uncertainty 20 file uncertain.extxyz select 0.1 stop 1.0
thermo_style custom step temp pe f_u f_u[2] f_u[5] f_u[9]
thermo       20
run          4000
""")
write_data("copper.data", crystal, ["Cu"])
result = run_lammps(Path("melt.in").read_text(), ".")
thermo = result.thermo
print(f"{int(thermo['f_u[5]'][-1])} frames written in {thermo['Step'][-1]:.0f} steps; stopped: {result.stopped}")
assert result.stopped

# %%
figure, axes = plt.subplots(2, sharex=True, figsize=(7, 5))
picoseconds = thermo["Step"] * 0.002
axes[0].plot(picoseconds, thermo["Temp"])
axes[0].set_ylabel("temperature (K)")
axes[1].plot(picoseconds, thermo["f_u"], label="largest")
axes[1].plot(picoseconds, thermo["f_u[2]"], label="mean")
axes[1].axhline(0.1, color="black", linestyle="--", label="select")
axes[1].set(xlabel="time (ps)", ylabel="force std (eV/Å)", yscale="log")
axes[1].legend()
plt.show()

# %% [markdown]
# While the crystal is cold the members agree. While it is heated their forces part, and before it has melted the run
# is over.

# %%
early, late = thermo["f_u"][1:6].mean(), thermo["f_u"][-5:].mean()
print(f"largest force std: {early:.3f} eV/Å at first, {late:.3f} at last")
assert late > 3 * early

# %% [markdown]
# ## Were they right to worry?
#
# The frames are extended xyz: forces of the mean, the std of each atom, and the atom that triggered. Now the truth is
# asked, which in earnest costs the money.

# %%
found = ase.io.read("uncertain.extxyz", ":")
truth = [labelled(atoms) for atoms in found]
calculator = MollifieldCalculator("runs/cold/model.pt")


def errors(calculator, frames):
    """Length of the error of the force on each atom, `[frames, atoms]`."""
    return np.array(
        [np.linalg.norm(calculator.get_property("forces", atoms) - atoms.get_forces(), axis=1) for atoms in frames]
    )


error = errors(calculator, truth)
std = np.array([calculator.get_property("forces_std", atoms) for atoms in truth])
known = errors(calculator, cold)
rank = spearmanr(std.ravel(), error.ravel()).statistic
print(f"force errors: {known.mean():.3f} eV/Å on training frames, {error.mean():.3f} on {len(found)} frames of the fix")
print(f"rank correlation of an atom's std with its error: {rank:.2f}")
assert error.mean() > 2 * known.mean()
assert rank > 0.3

# %%
plt.figure(figsize=(5, 4))
plt.loglog(std.ravel(), error.ravel(), ".", alpha=0.3)
plt.loglog([0.01, 1], [0.01, 1], color="black")
plt.xlabel("force std of an atom (eV/Å)")
plt.ylabel("its force error (eV/Å)")
plt.show()

# %% [markdown]
# The larger the std, the larger the error: worth asking about. The line is error = std, and on how far the points lie
# from it, [tutorial 3](3_uncertainty.ipynb) has more.
#
# ## Learn from some of them
#
# Every fourth frame is labelled and learnt; the others judge. Training goes on from the weights that are there
# (`initial`).

# %%
learnt = truth[::4]
judged = [frame for number, frame in enumerate(truth) if number % 4]
ase.io.write("more.extxyz", cold + learnt)
Path("again.yaml").write_text("""
directory: runs/again
initial: runs/cold
data: {train: more.extxyz, valid_fraction: 0.0}
model: {preset: fast, r_max: 4.0}
committee: {n_members: 4}
optimiser: {epochs: 40}
""")
mollifield("train again.yaml")
before = errors(calculator, judged).mean()
after = errors(MollifieldCalculator("runs/again/model.pt"), judged).mean()
print(f"force error on the {len(judged)} frames that judge: {before:.3f} -> {after:.3f} eV/Å")
assert after < 0.7 * before

# %% [markdown]
# And the new model gets farther before it has to stop:

# %%
text = Path("melt.in").read_text().replace("runs/cold", "runs/again").replace("uncertain.extxyz", "later.extxyz")
again = run_lammps(text, ".")
print(f"steps until std > 1 eV/Å: {thermo['Step'][-1]:.0f}, with the new model {again.thermo['Step'][-1]:.0f}")
assert again.thermo["Step"][-1] > thermo["Step"][-1]

# %% [markdown]
# ## What to take along
#
# - The fix costs what its `N` says: between two evaluations of the committee `driver member 0` runs one model alone.
# - `stop` ends a run before it becomes nonsense; `novelty` leaves out frames that are alike; `bias` drives the
#   dynamics towards what is not known. All keywords: [the fix](../lammps.md).
# - What was done by hand here, round by round, is what `mollifield loop` does:
#   [tutorial 6](../active_learning.md).
