"""NequIP's side of accuracy.py: `nequip-train` with the settings of its tutorial for a small model.

l_max 2, 32 features, three layers, without features of odd parity, 5 Å, ZBL; batches of 5, Adam with rate 0.01,
lowered by 0.6 where a tenth of the frames says so, average of the weights with 0.999; the best epoch on that tenth.
"""

import sys
from pathlib import Path

import ase.io
import torch
import yaml
from accuracy_peer import CpuClock, mean_energies, read_piece, report, without_shifts
from ase import Atoms
from lightning.pytorch.callbacks import Callback
from nequip.integrations.ase import NequIPCalculator
from nequip.scripts.train import main as nequip_train
from peer_nequip import compiled

MONITOR = "val0_epoch/weighted_sum"


class CpuBudget(Callback):
    """Ends a fit when its CPU time is spent."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def on_train_start(self, trainer, module) -> None:
        """The time that counts begins."""
        self.clock = CpuClock(self.minutes)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        """In the middle of an epoch, too."""
        trainer.should_stop = trainer.should_stop or self.clock.spent

    def on_train_end(self, trainer, module) -> None:
        """For the report."""
        Path("spent.yaml").write_text(yaml.safe_dump({"seconds": self.clock.seconds, "epochs": trainer.current_epoch}))


def config(energies: dict[str, float], minutes: float, seed: int, settings: dict) -> dict:
    """The tutorial's."""
    symbols = sorted(energies)
    model = {
        "_target_": "nequip.model.NequIPGNNModel",
        "seed": seed,
        "model_dtype": "float32",
        "compile_mode": "eager",
        "type_names": symbols,
        "r_max": 5.0,
        "num_bessels": 8,
        "bessel_trainable": False,
        "polynomial_cutoff_p": 6,
        "num_layers": 3,
        "l_max": 2,
        "parity": False,
        "num_features": 32,
        "radial_mlp_depth": 2,
        "radial_mlp_width": 64,
        "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
        "per_type_energy_scales": "${training_data_stats:forces_rms}",
        "per_type_energy_shifts": energies,
        "per_type_energy_scales_trainable": False,
        "per_type_energy_shifts_trainable": False,
        "pair_potential": {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": symbols},
    }
    loader = {"_target_": "torch.utils.data.DataLoader", "num_workers": 0}
    callbacks = "lightning.pytorch.callbacks."
    metrics = {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": {"total_energy_mae": 1.0, "forces_mae": 1.0}}
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": seed,
            "split_dataset": {"file_path": str(Path("train.extxyz").absolute()), "train": 0.9, "val": 0.1},
            "transforms": [
                {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": symbols},
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": 5.0},
            ],
            "train_dataloader": loader | {"batch_size": 5, "shuffle": True},
            "val_dataloader": loader | {"batch_size": 10},
            "stats_manager": {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "dataloader_kwargs": {"batch_size": 10},
                "type_names": symbols,
            },
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "enable_checkpointing": True,
            "enable_progress_bar": False,
            "max_epochs": 1_000_000,
            "check_val_every_n_epoch": 1,
            "logger": False,
            "callbacks": [
                {"_target_": "accuracy_nequip.CpuBudget", "minutes": minutes},
                {
                    "_target_": callbacks + "ModelCheckpoint",
                    "monitor": MONITOR,
                    "dirpath": str(Path(".").absolute()),
                    "filename": "best",
                },
            ],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": 0.999,
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0},
            },
            "val_metrics": metrics,
            "train_metrics": metrics,
            "test_metrics": metrics,
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "lr_scheduler": {
                "scheduler": {
                    "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
                    "factor": 0.6,
                    "patience": 5,
                    "threshold": 0.2,
                    "min_lr": 1e-6,
                },
                "monitor": MONITOR,
                "interval": "epoch",
                "frequency": 1,
            },
            "model": model | settings,
        },
        "global_options": {"allow_tf32": False},
    }


def evaluation(calculator: NequIPCalculator):
    """Of a frame: the model as `nequip-compile --mode aotinductor` leaves it, its graph at hand."""

    def of(atoms: Atoms):
        data = calculator.atoms_to_data(atoms)
        return compiled(calculator.model, data, str(Path("model.nequip.pt2").absolute()), "cpu")

    return of


def main() -> None:
    """Train, judge."""
    piece = read_piece()
    torch.set_num_threads(1)
    frames = piece.frames()
    ase.io.write("train.extxyz", without_shifts(frames, dict.fromkeys({s for a in frames for s in a.symbols}, 0.0)))
    energies = piece.isolated_energies() or mean_energies(frames)
    Path("config.yaml").write_text(yaml.safe_dump(config(energies, piece.minutes, piece.seed, piece.settings)))
    sys.argv = ["nequip-train", "-cp", piece.folder, "-cn", "config", "hydra.run.dir=."]
    nequip_train()
    spent = yaml.safe_load(Path("spent.yaml").read_text())
    calculator = NequIPCalculator._from_saved_model("best.ckpt", device="cpu")
    report(piece, calculator, spent["seconds"], evaluation(calculator), epochs=spent["epochs"])


if __name__ == "__main__":
    main()
