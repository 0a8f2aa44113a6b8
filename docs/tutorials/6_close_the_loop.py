# %% [markdown]
# # 6 Close the loop with a real DFT code
#
# Explore with the model, choose frames, have them labelled, learn, and again: `mollifield loop` does it, from one
# file. The oracle is Quantum ESPRESSO's `pw.x`, on aluminium in a cell of four atoms, which is as small as a solid
# can be and large enough to show everything.
#
# **Where there is no `pw.x`, this page runs with a stand-in**: effective medium theory in the place of the oracle,
# all else being equal. The first output says which of the two you see. With `pw.x` (6.7, of
# Debian, one core of a busy machine) it took four minutes and gave force errors of 131, 54 and 51 meV/Å with 9, 13 and
# 17 labels; with the stand-in it takes one.

# %%
import json
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
import yaml
from ase.build import bulk

from mollifield import MollifieldCalculator


def mollifield(line):
    """What `mollifield ...` does in a shell; a process of its own, because the loop starts others."""
    command = [sys.executable, "-m", "mollifield_train.cli", *line.split()]
    print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


# %% [markdown]
# ## What to begin with
#
# One structure is enough: the loop shakes it, and has the copies labelled. Six frames to be judged by are made here,
# strained and shaken, without labels; the oracle labels them too.

# %%
rng = np.random.default_rng(0)
crystal = bulk("Al", a=4.0, cubic=True)
ase.io.write("start.extxyz", crystal)
judged = []
for _ in range(6):
    atoms = crystal.copy()
    strain = rng.normal(scale=0.02, size=(3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.12, size=atoms.positions.shape)
    judged.append(atoms)
ase.io.write("judged.extxyz", judged)

# %% [markdown]
# ## The oracle
#
# `kind: espresso` writes `pw.x`'s input with ASE, runs it in a folder of its own, and reads energy, forces and stress.
# What the physics needs is said once:
#
# - the pseudopotential of each element, and where it lies (Debian's package `quantum-espresso-data` has this one);
# - `ecutwfc`, the cutoff of the plane waves in Rydberg, and `kpts`, the mesh of k-points. Both must be *converged*:
#   labels that change with them are noise to the potential. What is here is for a quick example, and not converged;
# - a metal needs smearing of the occupations;
# - `ladder` says what a second attempt changes where the first did not converge: the mixing, and nothing that would
#   make it another method.

# %%
config = yaml.safe_load("""
directory: runs/aluminium
frames: start.extxyz
rounds: 2
batch: 4
start: {perturb: true, n_frames: 8}
oracle:
  kind: espresso
  command: pw.x
  pseudo_dir: /usr/share/espresso/pseudo
  pseudopotentials: {Al: Al.pz-vbc.UPF}
  arguments:
    input_data:
      system: {ecutwfc: 15, occupations: smearing, smearing: mv, degauss: 0.04}
      electrons: {conv_thr: 1.0e-8}
    kpts: [3, 3, 3]
  ladder: [{input_data: {electrons: {mixing_beta: 0.3}}}]
  timeout: 600
explorer:
  kind: lammps
  temperature: [300, 900]
  n_steps: 400
  timestep: 2.0
  sample_every: 10
  regular_every: 20
  select: {times_training: 2.0}
  stop: 2.0
test_set: {frames: judged.extxyz}
training:
  valid_fraction: 0
  model: {preset: fast, r_max: 4.0}
  committee: {n_members: 4}
  optimiser: {epochs: 150}
  warm: {epochs: 60}
""")
if shutil.which(config["oracle"]["command"]) and Path(config["oracle"]["pseudo_dir"]).is_dir():
    print("labels by Quantum ESPRESSO")
else:
    config["oracle"] = {"kind": "emt"}
    print("STAND-IN: no pw.x here, labels by effective medium theory")
Path("loop.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

# %% [markdown]
# ## Run it
#
# Kill it at any moment, and start it again: no label is computed twice. The second command looks at a run, from
# anywhere.

# %%
mollifield("loop loop.yaml")
mollifield("status runs/aluminium")

# %% [markdown]
# `runs/aluminium/report.html` has all of it in pictures. The numbers lie beside:

# %%
rounds = json.loads(Path("runs/aluminium/rounds.json").read_text())
errors = [1e3 * one["force_rmse"] for one in rounds]
labels = [one["n_frames"] for one in rounds]
for n, error in zip(labels, errors, strict=True):
    print(f"{n:3} labels: force RMSE {error:6.1f} meV/Å on the frames that judge")
plt.figure(figsize=(5, 3))
plt.plot(labels, errors, "o-")
plt.xlabel("labelled frames")
plt.ylabel("force RMSE (meV/Å)")
plt.ylim(bottom=0)
plt.tight_layout()
plt.show()
assert errors[-1] < errors[0]

# %% [markdown]
# Every label has its origin: who asked, in which round and at which step, and the fingerprint of the oracle's
# settings. The labels are an ordinary data set, for this program or another:

# %%
mollifield("export-dataset runs/aluminium -o labels.extxyz")
dataset = ase.io.read("labels.extxyz", ":")
print(f"{len(dataset)} frames; of the last:", ", ".join(f"{key} {value}" for key, value in dataset[-1].info.items()))
assert len(dataset) == labels[-1]
assert len({frame.info["settings"] for frame in dataset}) == 1  # all labels by one method

# %% [markdown]
# The model of the last round is a file like any other.

# %%
model = max(Path("runs/aluminium").glob("active/round-*/model.pt"), key=lambda path: path.parent.name)
calculator = MollifieldCalculator(model)
lengths = np.linspace(3.8, 4.3, 26)
energies, stds = [], []
for length in lengths:
    atoms = bulk("Al", a=length, cubic=True)
    energies.append(calculator.get_property("energy", atoms) / len(atoms))
    stds.append(calculator.get_property("energy_std", atoms) / len(atoms))
energies, stds = np.array(energies), np.array(stds)
plt.figure(figsize=(5, 3))
plt.plot(lengths, energies - energies.min())
plt.fill_between(lengths, energies - stds - energies.min(), energies + stds - energies.min(), alpha=0.3)
plt.xlabel("lattice constant (Å)")
plt.ylabel("energy an atom (eV)")
plt.tight_layout()
plt.show()
print(f"lattice constant of the model: {lengths[energies.argmin()]:.2f} Å")

# %% [markdown]
# ## What to take along
#
# - `mollifield init crystal` writes such a file with comments. Other explorers (strains, defects, normal modes, a
#   LAMMPS input of your own), acquisitions and oracles (VASP, GPAW, CP2K, PySCF, any command): [the
#   loop](../active_learning.md).
# - Labels may be computed on a cluster: [on a cluster](../cluster.md).
# - Converge the oracle before anything else.
