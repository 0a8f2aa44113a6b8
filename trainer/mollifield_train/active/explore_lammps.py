"""Exploration in LAMMPS: pair style and fix ``mollifield/uncertainty`` do the watching."""

from __future__ import annotations

from pathlib import Path

from ase.data import chemical_symbols

from mollifield_lammps import LammpsError, lammps_boundary, read_thermo, read_uncertain, run_lammps, write_data
from mollifield_train.active.config import ExplorerConfig
from mollifield_train.active.explorers import Exploration, Task, Trace, cut_unphysical

_LOG = "log.lammps"


def explore_with_lammps(task: Task, config: ExplorerConfig) -> Exploration:
    """Langevin dynamics in LAMMPS; see ``explorers.Explorer``.

    A run that LAMMPS ends with an error (atoms lost, say) is not an error of the loop: what it
    wrote before counts, and the trace says how it ended.
    """
    species = [chemical_symbols[number] for number in sorted(set(task.start.numbers))]
    task.directory.mkdir(parents=True, exist_ok=True)
    rotation = write_data(task.directory / "start.data", task.start, species)
    deck = write_deck(task, config, species)
    end = "complete"
    try:
        result = run_lammps(deck, task.directory, n_ranks=config.n_ranks)
        end = "stopped" if result.stopped else end
    except LammpsError as error:
        if not (task.directory / "uncertain.extxyz").exists():
            raise  # it never started: a mistake, not a trajectory that went wrong
        end = f"failed: {error}"
    found = Exploration(
        _read_trace(task.directory / _LOG, end),
        read_uncertain(task.directory / "uncertain.extxyz", rotation),
        read_uncertain(task.directory / "regular.extxyz", rotation),
    )
    # LAMMPS knows nothing of fragments: what it ran beyond the first unphysical frame is thrown away.
    return cut_unphysical(found, task.why_unphysical)


def write_deck(task: Task, config: ExplorerConfig, species: list[str]) -> str:
    """The input script, in units metal (ps, K, eV, Å).

    The second fix has a threshold of zero, so it keeps frames at regular intervals whatever their
    uncertainty, in the same format.
    """
    cold, hot = config.temperature
    stop = "" if task.stop is None else f" stop {task.stop:.8g}"
    rotates = "yes" if not task.start.pbc.any() else "no"
    return f"""units metal
atom_style atomic
atom_modify map yes
newton on
boundary {lammps_boundary(task.start)}
read_data start.data
pair_style mollifield
pair_coeff * * {task.model.resolve()} {" ".join(species)}
neighbor 0.5 bin
timestep {config.timestep / 1000:.8g}
velocity all create {cold:g} {task.seed} mom yes rot {rotates} dist gaussian
fix integrate all nve
fix bath all langevin {cold:g} {hot:g} {config.damping / 1000:.8g} {task.seed} zero yes
fix watch all mollifield/uncertainty {config.sample_every} &
  file uncertain.extxyz select {task.select:.8g}{stop}
fix keep all mollifield/uncertainty {config.regular_every} file regular.extxyz select 0
thermo {config.sample_every}
thermo_style custom step temp pe f_watch f_watch[2] f_watch[4] f_watch[5]
thermo_modify flush yes
run {config.n_steps}
"""


def _read_trace(log: Path, end: str) -> Trace:
    thermo = read_thermo(log.read_text(encoding="utf-8", errors="replace"))
    columns = [thermo.get(name, []) for name in ("Step", "Temp", "f_watch", "f_watch[2]")]
    step, temperature, largest, mean = ([float(x) for x in column] for column in columns)
    return Trace([int(x) for x in step], temperature, largest, mean, end)
