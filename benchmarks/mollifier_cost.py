"""CPU time of a training step with each form of the mollified term at its defaults, over that without.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/mollifier_cost.py train.xyz [--prior GFN1-xTB] [--n 50]

A case is 40 of the fit's own steps on a batch of five frames, collated beforehand: forces, loss, term, gradients of the
weights, clipping, Adam. All cases take turns in each round, so that other work on the machine
is the same for all.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from timing import compare, environment, local, report

from mollifield_train.config import TrainConfig, validated
from mollifield_train.data.batches import collate
from mollifield_train.training.denoiser import denoiser_of
from mollifield_train.training.lightning_fit import CommitteeFit
from mollifield_train.training.loading import load_data
from mollifield_train.training.member_gradients import clip_members
from mollifield_train.training.members import build_potential
from mollifield_train.training.objective import Objective

CYCLE = 40
"""Steps of a case: a multiple of every form's `every`."""


def variants(prior: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sections of a config, by name."""
    forms: dict[str, dict[str, Any]] = {
        "gradient": {},
        "gradient, share": {"form": "gradient", "share": 0.1},
        "residual": {"form": "residual"},
        "taylor": {"form": "taylor"},
        "taylor, springs": {"form": "taylor", "prior": {"kind": "springs"}},
        "taylor, prior": {"form": "taylor", "prior": prior},
        "difference, springs": {"form": "difference", "prior": {"kind": "springs"}},
        "difference, prior": {"form": "difference", "prior": prior},
        "hvp, prior": {"form": "hvp", "prior": prior},
        "teacher": {"form": "teacher"},
        "denoise": {"form": "denoise"},
    }
    found = {"none": {"loss": {"mollifier": None}}}
    found |= {name: {"loss": {"mollifier": term}} for name, term in forms.items()}
    return found | {"none, sam": {"loss": {"mollifier": None}, "optimiser": {"sam": 0.1}}}


def cycle_of(sections: dict[str, Any], file: Path) -> Callable[[], None]:
    """`CYCLE` steps of a fit on the first five frames."""
    values = {"data": {"train": str(file), "valid_fraction": 0.0}, "model": {"correlation": 2}}
    config = validated(TrainConfig, values | {"committee": {"n_members": 1}} | sections, "benchmark")
    data = load_data(config)
    model = build_potential(config, data.statistics, 0, 1)
    scale = data.statistics.force_scale
    denoiser = denoiser_of(config.loss.mollifier, model, data.training, scale, [0])
    objective = Objective(config.loss, scale, 0, data.training, denoiser)
    fit = CommitteeFit(model, objective, config.optimiser, data.training, [], 0)
    fit.configure_optimizers()
    fit.on_train_epoch_start()
    optimiser = torch.optim.Adam(fit.parameters(), lr=1e-4, fused=True)
    batch = collate(data.training[:5])

    def cycle() -> None:
        for _ in range(CYCLE):
            optimiser.zero_grad()
            fit.backward(fit.training_step(batch, 0))
            fit.on_after_backward()
            clip_members(fit.parameters(), 10.0)
            optimiser.step()
            fit.steps += 1

    return cycle


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("frames", type=Path, help="labelled frames (extended xyz)")
    parser.add_argument("--prior", default="GFN1-xTB", help="method of tblite")
    parser.add_argument("--n", type=int, default=50, help="frames to read, evenly spaced; springs are fitted to them")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    print(environment())
    with tempfile.TemporaryDirectory() as folder:
        images = [atoms for atoms in ase.io.read(options.frames, ":") if len(atoms) > 1]
        kept = np.linspace(0, len(images) - 1, min(options.n, len(images))).round().astype(int)
        file = Path(folder) / "frames.xyz"
        ase.io.write(file, [images[k] for k in kept], format="extxyz")
        cases = variants({"kind": "tblite", "method": options.prior})
        runs = {name: local(cycle_of(sections, file)) for name, sections in cases.items()}
        report(compare(runs, options.rounds, seconds=0.1), 1e3 / CYCLE, "ms/step", ["none"])


if __name__ == "__main__":
    main()
