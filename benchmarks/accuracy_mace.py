"""MACE's side of accuracy.py: `mace_run_train` with the settings of its README for a small model.

32 channels, max_L 1 (32x0e + 32x1o), two layers of correlation 3, 5 Å, float32; batches of 10, AMSGrad with rate 0.01,
average of the weights with 0.99; after three quarters of the time stage two with rate 0.001 and energies weighted
1000 to 100; the best epoch of stage two on a tenth of the frames. What an atom costs is measured
on the compiled model, as LAMMPS runs it.
"""

import os

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # before torch: e3nn's constants and MACE's models are pickled

import ase.io
import mace.tools
import torch
from accuracy_peer import CpuClock, mean_energies, read_piece, report, without_shifts
from ase import Atoms
from ase.data import atomic_numbers
from e3nn.util import jit
from mace.calculators import MACECalculator
from mace.cli.run_train import run
from mace.tools import build_default_arg_parser

STAGE_TWO = 0.75
"""Part of the time after which it begins."""


class Until(int):
    """A number of epochs that is reached when a part of the time is: what an epoch is compared with."""

    def __new__(cls, clock: "LateClock", part: float) -> "Until":
        made = super().__new__(cls, int(1_000_000 * part))
        made.clock, made.part = clock, part
        return made

    def __gt__(self, epoch: object) -> bool:
        """Of `epoch < self`; another part of the time is compared with as a part."""
        if isinstance(epoch, Until):
            return self.part > epoch.part
        return self.clock.progress < self.part

    def __le__(self, epoch: object) -> bool:
        """Of `epoch >= self`."""
        return not self > epoch


class LateClock:
    """Starts when it is first looked at, which the training does."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.clock: CpuClock | None = None

    @property
    def progress(self) -> float:
        """Part of the time that is spent."""
        self.clock = self.clock or CpuClock(self.minutes)
        return self.clock.progress


def arguments(numbers: dict[int, float], seed: int, settings: dict[str, str]) -> list[str]:
    """Of `mace_run_train`."""
    options = {
        "name": "peer",
        "seed": str(seed),
        "train_file": "train.extxyz",
        "valid_fraction": "0.1",
        "energy_key": "REF_energy",
        "forces_key": "REF_forces",
        "E0s": str(numbers),
        "model": "MACE",
        "num_channels": "32",
        "max_L": "1",
        "r_max": "5.0",
        "batch_size": "10",
        "ema_decay": "0.99",
        "default_dtype": "float32",
        "device": "cpu",
    } | settings
    made = [f"--{key}={value}" for key, value in options.items()]
    return [*made, "--swa", "--ema", "--amsgrad", "--keep_checkpoints"]


def write_training(frames: list[Atoms]) -> None:
    """With keys that MACE does not take for ASE's own."""
    made = without_shifts(frames, dict.fromkeys({s for atoms in frames for s in atoms.symbols}, 0.0))
    for atoms in made:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    ase.io.write("train.extxyz", made)


def seconds_of_training(clock: LateClock) -> list[float]:
    """Will hold the time when the training returns, before MACE's own tables of errors."""
    train, spent = mace.tools.train, []

    def noted(*args, **kwargs) -> None:
        train(*args, **kwargs)
        spent.append(clock.clock.seconds)

    mace.tools.train = noted
    return spent


def evaluation(calculator: MACECalculator):
    """Of a frame: the compiled model, its graph at hand."""

    def of(atoms: Atoms):
        model = jit.compile(calculator.models[0].eval())
        inputs = calculator._atoms_to_batch(atoms).to_dict()
        return lambda: model(inputs, compute_force=True)

    return of


def main() -> None:
    """Train, judge."""
    piece = read_piece()
    torch.set_num_threads(1)
    frames = piece.frames()
    write_training(frames)
    energies = piece.isolated_energies() or mean_energies(frames)
    present = {symbol for atoms in frames for symbol in atoms.symbols}  # MACE wants these and no others
    numbers = {atomic_numbers[symbol]: energies[symbol] for symbol in sorted(present)}
    clock = LateClock(piece.minutes)
    args = build_default_arg_parser().parse_args(arguments(numbers, piece.seed, piece.settings))
    args.max_num_epochs, args.start_swa = Until(clock, 1.0), Until(clock, STAGE_TWO)
    spent = seconds_of_training(clock)
    run(args)
    calculator = MACECalculator("peer_stagetwo.model", device="cpu", default_dtype="float32")
    report(piece, calculator, spent[0], evaluation(calculator))


if __name__ == "__main__":
    main()
