"""GRACE's side of accuracy.py: what `gracemaker -t` proposes for a fit from scratch of its smallest one-layer model.

Preset GRACE_1LAYER_latest, small (6 Å, l_max 4, order 4, 32 radial functions), Huber losses with weights 16 and 32,
Adam with rate 0.008 on a cosine to a twelfth of it, average of the weights; the best epoch on 5% of the frames. The
cosine follows the CPU time instead of steps, and XLA's compilation is part of that time.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow: the optimisers are of Keras 2
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ase.io
import yaml
from accuracy_peer import CpuClock, Shifted, mean_energies, read_piece, report, without_shifts
from ase import Atoms
from tensorpotential.calculator import TPCalculator
from tensorpotential.cli import gracemaker
from tensorpotential.cli.train_callbacks import CosineDecay, LRSchedulerFactory
from tensorpotential.potentials import get_preset_settings

RATE = 0.008
LAST_RATE = RATE / 12
STEPS = 100_000
"""Into which the budget is divided for the cosine."""
PRESET = {"preset": "GRACE_1LAYER_latest", "size": "small"}


class CosineOfTime(CosineDecay):
    """The program's own schedule, over CPU time; the fit ends with the epoch in which the time is spent."""

    def __init__(self, potential, minutes: float) -> None:
        super().__init__(potential, RATE, STEPS, LAST_RATE, warmup_target=RATE)
        self.minutes = minutes

    def on_train_begin(self, logs=None) -> None:
        """The time that counts begins."""
        super().on_train_begin(logs)
        self.clock = CpuClock(self.minutes)

    def on_batch_end(self, batch, logs=None) -> None:
        """Where the rate changes."""
        super().on_batch_end(int(self.clock.progress * STEPS), logs)
        if self.clock.spent:
            self.model.stop_training = True


def config(preset: dict[str, str], seed: int) -> dict:
    """The template that `gracemaker -t` fills, with its defaults."""
    kwargs = dict(get_preset_settings(preset["preset"])[preset["size"]])
    return {
        "seed": seed + 1,
        "cutoff": kwargs.pop("rcut"),
        "data": {"filename": "train.extxyz", "test_size": 0.05, "reference_energy": 0, "save_dataset": False},
        "potential": {"preset": preset["preset"], "kwargs": kwargs, "scale": True, "param_dtype": "float32"},
        "fit": {
            "loss": {
                "energy": {"weight": 16, "type": "huber", "delta": 0.01},
                "forces": {"weight": 32, "type": "huber", "delta": 0.01},
            },
            "maxiter": 1_000_000,
            "optimizer": "Adam",
            "opt_params": {
                "learning_rate": RATE,
                "use_ema": True,
                "ema_momentum": 0.99,
                "weight_decay": None,
                "clipnorm": 1.0,
            },
            "scheduler": "cosine_decay",
            "scheduler_params": {"minimum_learning_rate": LAST_RATE},
            "batch_size": 16,
            "test_batch_size": 64,
            "jit_compile": True,
            "train_max_n_buckets": "auto",
            "test_max_n_buckets": "auto",
            "auto_bucket_max_padding": 0.3,
            "checkpoint_freq": 10,
            "progressbar": False,
            "train_shuffle": True,
        },
    }


def evaluation(model: str):
    """Of a frame: the model on data that the calculator made of it, in the mode that is for dynamics."""
    calculator = TPCalculator(model, mode="uniform")

    def of(atoms: Atoms):
        calculator.calculate(atoms)
        return lambda: {name: value.numpy() for name, value in calculator.models[0].compute(calculator.data).items()}

    return of


def main() -> None:
    """Train, judge."""
    piece = read_piece()
    frames = piece.frames()
    shifts = mean_energies(frames)
    ase.io.write("train.extxyz", without_shifts(frames, shifts))
    preset = PRESET | piece.settings
    with open("input.yaml", "w") as file:
        yaml.safe_dump(config(preset, piece.seed), file)
    schedules: list[CosineOfTime] = []

    def schedule(potential, *_args) -> CosineOfTime:
        schedules.append(CosineOfTime(potential, piece.minutes))
        return schedules[-1]

    LRSchedulerFactory.create_lr_scheduler = staticmethod(schedule)
    gracemaker.main(["input.yaml"])
    seconds = schedules[0].clock.seconds
    model = f"seed/{piece.seed + 1}/final_model"
    done = {"epochs": schedules[0].model.epoch, "preset": preset}
    report(piece, Shifted(TPCalculator(model), shifts), seconds, evaluation(model), **done)


if __name__ == "__main__":
    main()
