"""NequIP's side of inference.py and training.py; runs where NequIP is installed, and answers `timing.Peer`.

python peer_nequip.py inference|training frames.extxyz [device]
"""

import sys
import tempfile
from pathlib import Path

import ase.io
import torch
from nequip.data import AtomicDataDict as Keys
from nequip.data.ase import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.model import NequIPGNNModel
from nequip.model.inference_models import load_compiled_model
from nequip.scripts._compile_utils import ASE_TARGET
from nequip.utils.aot import aot_export_model
from nequip.utils.aoti_metadata import NEQUIP_AOTI_INPUTS_KEY, NEQUIP_AOTI_OUTPUTS_KEY, serialize_aoti_keys
from nequip.utils.global_state import get_latest_global_state, set_global_state
from peer import serve

R_MAX = 5.0


def build(species, average_neighbours):
    """Widths of systems.potential; features of natural parity only."""
    return NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        compile_mode="eager",
        r_max=R_MAX,
        type_names=species,
        num_layers=2,
        l_max=2,
        parity=False,
        num_features=32,
        radial_mlp_depth=1,
        radial_mlp_width=64,
        num_bessels=8,
        readout_mlp_hidden_layers_depth=1,
        readout_mlp_hidden_layers_width=16,
        avg_num_neighbors=average_neighbours,
        per_type_energy_scales=dict.fromkeys(species, 1.0),
        per_type_energy_shifts=dict.fromkeys(species, 0.0),
    )


def compiled(model, data, path, device):
    """What `nequip-compile --mode aotinductor --target ase --device ...` does with a model and a frame."""
    data = {k: data[k] for k in ASE_TARGET["input"]}
    metadata = {**model.metadata, **get_latest_global_state(only_metadata_related=True)}
    metadata = {k: str(int(v)) if isinstance(v, bool) else str(v) for k, v in metadata.items()}
    metadata[NEQUIP_AOTI_INPUTS_KEY] = serialize_aoti_keys(ASE_TARGET["input"])
    metadata[NEQUIP_AOTI_OUTPUTS_KEY] = serialize_aoti_keys(ASE_TARGET["output"])
    export = torch.export.dynamic_shapes.Dim
    aot_export_model(
        model,
        torch.device(device),
        ASE_TARGET["input"],
        ASE_TARGET["output"],
        data,
        {
            "graph": torch.export.Dim.STATIC,
            "node": export("num_nodes", min=2, max=torch.inf),
            "edge": export("num_edges", min=2, max=torch.inf),
        },
        path,
        {"aot_inductor.metadata": metadata},
    )
    model, _ = load_compiled_model(path, device, ASE_TARGET["input"], ASE_TARGET["output"])
    return lambda: model(data)


def training_step(model, data):
    """Forward, forces, loss, its gradient by the weights, Adam."""
    model.train()
    energies, forces = data[Keys.TOTAL_ENERGY_KEY].clone(), data[Keys.FORCE_KEY].clone()
    inputs = {k: v for k, v in data.items() if k not in (Keys.TOTAL_ENERGY_KEY, Keys.FORCE_KEY)}
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step():
        optimiser.zero_grad()
        out = model(inputs)
        energy = (out[Keys.TOTAL_ENERGY_KEY] - energies).square().mean()
        (energy + 1000.0 * (out[Keys.FORCE_KEY] - forces).square().mean()).backward()
        optimiser.step()

    return step


def main():
    """Build, then answer."""
    mode, path, device = [*sys.argv[1:], "cpu"][:3]
    torch.set_num_threads(1)
    set_global_state(allow_tf32=False)
    frames = ase.io.read(path, index=":")
    species = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    transforms = [ChemicalSpeciesToAtomTypeMapper(species), NeighborListTransform(r_max=R_MAX)]
    graphs = []
    for atoms in frames:
        data = from_ase(atoms)
        for transform in transforms:
            data = transform(data)
        graphs.append(data)
    data = graphs[0] if len(graphs) == 1 else Keys.batched_from_list(graphs)
    n_edges = data[Keys.EDGE_INDEX_KEY].shape[1]
    model = build(species, n_edges / data[Keys.POSITIONS_KEY].shape[0]).to(device)
    data = {k: value.to(device) if isinstance(value, torch.Tensor) else value for k, value in data.items()}
    with tempfile.TemporaryDirectory() as folder:
        if mode == "training":
            call = training_step(model, data)
        else:
            call = compiled(model, data, str(Path(folder) / "model.nequip.pt2"), device)
    serve(call, None if device == "cpu" else torch.cuda.synchronize)


if __name__ == "__main__":
    main()
