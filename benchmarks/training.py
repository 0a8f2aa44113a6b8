"""One training step, ethanol in batches of 10 and silicon (64 atoms) in batches of 4: e3nn against native.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/training.py [--nequip-python VENV/bin/python] \\
        [--mace-python VENV/bin/python]

A step is the forward pass, forces, the loss of energies and forces, its gradient by the weights (a double
backward) and Adam; batches are collated beforehand. NequIP and MACE: see inference.py for how to install them;
they train uncompiled, as their trainers do by default.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import systems
import torch
from timing import Run, compare_with_peers, environment, local, peer_parser, report

from mollifield_train.data.batches import Batch, build_graphs, collate
from mollifield_train.data.frames import read_frames
from mollifield_train.loss import energy_force
from mollifield_train.model.presets import PRESETS
from mollifield_train.predict import predict


def step_of(
    system: str, backend: str, batch: Batch, n_members: int = 1, settings: systems.Settings = MappingProxyType({})
) -> Callable[[], None]:
    """A step as the trainer makes it, where the batch lies; the loss is 1 * energy + 1000 * forces."""
    model = systems.potential(system, backend, n_members, settings).to(batch.types.device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        found = predict(model, batch, create_graph=True)
        energy = energy_force.energy_term(found.energies, batch.energies)
        forces = energy_force.force_term(found.forces, batch.forces, batch.frame_of_atom, batch.n_atoms)
        (energy + 1000.0 * forces).sum().backward()
        optimiser.step()

    return step


def main() -> None:
    """Print one table a system."""
    options = peer_parser(__doc__.split("\n")[0], rounds=11).parse_args()

    print(environment())
    for system in ("ethanol", "silicon"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "frames.extxyz"
            systems.write_frames(path, systems.training_frames(system))
            batch = collate(build_graphs(read_frames(path), systems.SPECIES[system], systems.R_MAX))
            cases: dict[str, Run] = {backend: local(step_of(system, backend, batch)) for backend in ("e3nn", "native")}
            for name in ("fast", "accurate"):
                cases[f"native, {name}"] = local(step_of(system, "native", batch, settings=PRESETS[name]))
            cases["native, 4 members together"] = local(step_of(system, "native", batch, 4))
            times = compare_with_peers(cases, options, ("NequIP", "MACE"), ["training", str(path)])
        n_atoms, n_edges = len(batch.types), batch.edge_index.shape[1]
        print(f"{system}: {batch.n_frames} frames, {n_atoms} atoms, {n_edges} edges")
        report(times, 1e3, "ms/step", ["e3nn", "native"])


if __name__ == "__main__":
    main()
