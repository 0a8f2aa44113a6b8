"""What samples on one trunk and a noise head cost, against one member: 216 silicon atoms, native, splines, float32.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/samples.py [--cells 3]

Energies of all samples come with the forces of their mean; forces of all S take a backward pass each, or S/2 + 1 where
samples come in pairs, as those of a posterior do.
A noise head is evaluated where its answer is asked for; before that it costs the features that it would read.
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
from mollifield.uncertainty import aleatoric
from mollifield_train.export import export
from mollifield_train.model.noise_head import NoiseHead
from mollifield_train.uncertainty.draws import affine_basis, antithetic
from mollifield_train.uncertainty.noise.head import N_HIDDEN

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


def with_noise_head() -> Artefact:
    """One member, with an untrained head: numbers cost the same whatever they are."""
    model = systems.potential("silicon", "native")
    settings = model.architecture.settings
    head = NoiseHead(1, len(model.species), settings.n_channels, settings.l_max, N_HIDDEN)
    with tempfile.TemporaryDirectory() as folder:
        export(model, Path(folder) / "model.pt", [systems.silicon(1)], noise_head=head)
        return load_artefact(Path(folder) / "model.pt")


def with_noise(artefact: Artefact, *frame: torch.Tensor) -> None:
    """Energy, forces, and the noise of their labels."""
    aleatoric(artefact, evaluate_edges(artefact, *frame))


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
    noisy = with_noise_head()
    cases["noise head, forces alone"] = local(partial(evaluate_edges, noisy, *frame))
    cases["noise head, forces and noise"] = local(partial(with_noise, noisy, *frame))
    cases["4 members, all forces"] = local(partial(evaluate_edges, four, *frame, members=True))
    print(f"{len(atoms)} atoms")
    report(compare(cases, options.rounds), 1e6 / len(atoms), "µs/atom", ["one member"])


if __name__ == "__main__":
    main()
