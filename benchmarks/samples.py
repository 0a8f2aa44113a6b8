"""What samples on one trunk cost, against one member: 216 silicon atoms, native, splines, float32.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/samples.py [--cells 3]

Energies of all samples come with the forces of their mean; forces of all S take a backward pass each, or S/2 + 1 where
samples come in pairs, as those of a posterior do.
"""

import tempfile
from functools import partial
from pathlib import Path

import systems
import torch
from timing import Run, compare, environment, local, report, silicon_parser

from mollifield import load_artefact
from mollifield.artefact import Artefact
from mollifield.potential import evaluate_edges
from mollifield_train.export import export
from mollifield_train.uncertainty.draws import affine_basis, antithetic

N_SAMPLES = (4, 8, 16)


def samples(n: int, pairs: bool) -> Artefact:
    """On the trunk of an untrained member: how far apart they are costs nothing."""
    model = systems.potential("silicon", "native")
    weights = model.last_layer_weights()
    deviations = antithetic(0.1 * torch.randn(n // 2, len(weights), dtype=torch.float64))
    with tempfile.TemporaryDirectory() as folder:
        basis = affine_basis(deviations) if pairs else None
        export(model.sampled(weights + deviations), Path(folder) / "model.pt", [systems.silicon(1)], basis=basis)
        return load_artefact(Path(folder) / "model.pt")


def main() -> None:
    """Print one table."""
    options = silicon_parser(__doc__).parse_args()

    print(environment())
    atoms = systems.silicon(options.cells)
    frame = systems.edges(atoms, "silicon")
    one, four = systems.artefact("silicon", "native"), systems.artefact("silicon", "native", 4)
    cases: dict[str, Run] = {"one member": local(partial(evaluate_edges, one, *frame))}
    for n in N_SAMPLES:
        artefact, unpaired = samples(n, pairs=True), samples(n, pairs=False)
        cases[f"{n} samples, mean forces"] = local(partial(evaluate_edges, artefact, *frame))
        cases[f"{n} samples in pairs, all forces"] = local(partial(evaluate_edges, artefact, *frame, members=True))
        cases[f"{n} samples, all forces"] = local(partial(evaluate_edges, unpaired, *frame, members=True))
    cases["4 members, all forces"] = local(partial(evaluate_edges, four, *frame, members=True))
    print(f"{len(atoms)} atoms")
    report(compare(cases, options.rounds), 1e6 / len(atoms), "µs/atom", ["one member"])


if __name__ == "__main__":
    main()
