"""MACE's side of inference.py and training.py; runs where MACE is installed, and answers `timing.Peer`.

    python peer_mace.py inference|training frames.extxyz

32x0e + 32x1o, l_max 2, correlation 3, 2 layers: MACE's own architecture, not the widths of the others.
"""

import os
import sys

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # before torch: e3nn's constants are pickled

import ase.io
import numpy as np
import torch
from e3nn import o3
from e3nn.util import jit
from mace import data, modules
from mace.tools import torch_geometric, utils
from peer import serve

R_MAX = 5.0


def build(numbers, average_neighbours):
    """Untrained."""
    block = modules.interaction_classes
    return modules.ScaleShiftMACE(
        r_max=R_MAX,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=block["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=block["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps("32x0e + 32x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=average_neighbours,
        atomic_numbers=numbers,
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def batch_of(frames, numbers):
    """All frames in one batch, with labels."""
    table = utils.AtomicNumberTable(numbers)
    graphs = []
    for atoms in frames:
        configuration = data.Configuration(
            atomic_numbers=atoms.numbers,
            positions=atoms.positions,
            cell=np.array(atoms.cell),
            pbc=tuple(atoms.pbc),
            properties={"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()},
            property_weights={"energy": 1.0, "forces": 1.0},
        )
        graphs.append(data.AtomicData.from_config(configuration, z_table=table, cutoff=R_MAX))
    loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
    return next(iter(loader))


def training_step(model, batch):
    """Forward, forces, loss, its gradient by the weights, Adam."""
    inputs = batch.to_dict()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step():
        optimiser.zero_grad()
        out = model(inputs, training=True)
        energy = (out["energy"] - batch.energy).square().mean()
        (energy + 1000.0 * (out["forces"] - batch.forces).square().mean()).backward()
        optimiser.step()

    return step


def main():
    """Build, then answer."""
    mode, path = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    frames = ase.io.read(path, index=":")
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    batch = batch_of(frames, numbers)
    model = build(numbers, batch.edge_index.shape[1] / len(batch.positions))
    if mode == "training":
        call = training_step(model, batch)
    else:
        model = jit.compile(model.eval())
        inputs = batch.to_dict()

        def call() -> object:
            return model(inputs, compute_force=True)

    serve(call)


if __name__ == "__main__":
    main()
