"""Energies and forces of 216 silicon atoms: e3nn in TorchScript, native operators, and with splines.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/inference.py \\
        [--nequip-python VENV/bin/python] [--mace-python VENV/bin/python]

Neighbour lists are made beforehand, for every program. NequIP and MACE take part when they are installed in
environments of their own, into which torch goes first, so that all programs run on the same one:

    python -m venv nequip; echo torch==2.13.0 > constraint.txt
    nequip/bin/pip install torch==2.13.0
    PIP_CONSTRAINT=constraint.txt nequip/bin/pip install nequip==0.19.1

and the same with mace-torch==0.3.16. NequIP 0.19.1 compiles under this torch with `--mode aotinductor` only
(peer_nequip.py does it; it needs a C++ compiler). MACE 0.3.16 needs TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1
(peer_mace.py sets it) and, in mace/modules/symmetric_contraction.py, `reshape` for the last `view`.
All models have r_max 5 Å and random weights; Mollifield (preset `balanced` where no other is named) and NequIP have 2
layers, l_max 2, 32 channels of each l.
"""

import tempfile
from functools import partial
from pathlib import Path

import systems
from timing import Run, compare_with_peers, environment, local, peer_parser, report

from mollifield.potential import evaluate_edges
from mollifield_train.model.presets import PRESETS

E3NN = "e3nn TorchScript"
COUPLED = "coupled messages, correlation 1"
BEFORE = {"messages": "coupled", "correlation": 1}
"""The default before there were presets."""


def main() -> None:
    """Print one table."""
    options = peer_parser(__doc__.split("\n")[0], rounds=15).parse_args()

    print(environment())
    atoms = systems.silicon(3)
    vectors, index, types = systems.edges(atoms, "silicon")
    print(f"silicon, {len(atoms)} atoms, {index.shape[1] / len(atoms):.1f} neighbours an atom, float32")
    cases: dict[str, Run] = {}
    for name, backend, splines in [
        (E3NN, "e3nn", False),
        ("native", "native", False),
        ("native, splines", "native", True),
    ]:
        model = systems.artefact("silicon", backend, splines=splines)
        cases[name] = local(partial(evaluate_edges, model, vectors, index, types))
    for name, settings in {"fast": PRESETS["fast"], "accurate": PRESETS["accurate"], COUPLED: BEFORE}.items():
        model = systems.artefact("silicon", settings=settings)
        cases[f"{name}, splines"] = local(partial(evaluate_edges, model, vectors, index, types))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.extxyz"
        systems.write_frames(path, systems.labelled([atoms]))
        times = compare_with_peers(cases, options, ("NequIP AOTInductor", "MACE TorchScript"), ["inference", str(path)])
    report(times, 1e6 / len(atoms), "µs/atom", [E3NN, "native, splines"])


if __name__ == "__main__":
    main()
