"""Input scripts for the runs that most people want: NVE, NVT, NPT, minimisation, with the uncertainty watched.

Times are in fs, temperatures in K, pressures in bar, and what concerns uncertainty in eV and Å, in every unit
style: the script holds them converted. Anything beyond is a script of one's own; `Deck.text()` is made to be edited.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from .data import ANGSTROM, ENERGY_UNIT, PICOSECOND
from .dump import COLUMNS

BAR = {"metal": 1.0, "real": 1.0 / 1.01325, "electron": 1e5}
"""LAMMPS pressure units in one bar: bar, atm, Pa."""

COUPLINGS = ("iso", "aniso", "tri")

QUANTITY_UNIT = {
    "force": "eV/Å",
    "force_rel": "1",
    "epistemic": "eV/Å",
    "aleatoric": "eV/Å",
    "total": "eV/Å",
    "interval": "eV/Å",
    "energy": "eV",
    "latent": "1",
    "outside": "1",
}
"""What fix mollifield/uncertainty can look at (lammps_interface/cpp/quantities.cpp); units of `select` and `stop`."""


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")


def _positive(name: str, value: float) -> None:
    _require(isinstance(value, (int, float)) and 0.0 < value < float("inf"), name, value, "a positive number")


def _count(name: str, value: int, least: int = 1) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _require(whole and value >= least, name, value, f"a whole number, {least} or more")


def _ends(name: str, value: float | tuple[float, float], positive: bool) -> tuple[float, float]:
    """(first, last) of a number that stays or of a ramp."""
    ends = list(value) if isinstance(value, (tuple, list)) else [value, value]
    _require(len(ends) == 2, name, value, "a number, or two: at the start and at the end")
    for end in ends:
        if positive:
            _positive(name, end)
        else:
            _require(isinstance(end, (int, float)) and abs(end) < float("inf"), name, value, "finite numbers")
    return ends[0], ends[1]


@dataclass(frozen=True)
class Nve:
    """Constant energy."""

    def lines(self, deck: "Deck") -> list[str]:
        return ["fix dynamics all nve", *deck.run_lines()]


@dataclass(frozen=True)
class Nvt:
    """Nose-Hoover thermostat."""

    temperature: float | tuple[float, float]
    """K; two numbers are a ramp from the start to the end of the run."""
    damping: float = 100.0
    """Relaxation time in fs."""

    def __post_init__(self) -> None:
        _ends("temperature", self.temperature, positive=True)
        _positive("damping", self.damping)

    def thermostat(self, deck: "Deck") -> str:
        first, last = _ends("temperature", self.temperature, positive=True)
        return f"temp {first:.10g} {last:.10g} {deck.time(self.damping):.10g}"

    def lines(self, deck: "Deck") -> list[str]:
        return [f"fix dynamics all nvt {self.thermostat(deck)}", *deck.run_lines()]


@dataclass(frozen=True)
class Npt(Nvt):
    """Nose-Hoover thermostat and barostat; needs a structure that is periodic in all directions."""

    pressure: float | tuple[float, float] = 0.0
    """bar; two numbers are a ramp."""
    pressure_damping: float = 1000.0
    """Relaxation time in fs."""
    coupling: str = "iso"
    """iso: the shape stays; aniso: three lengths; tri: lengths and angles."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ends("pressure", self.pressure, positive=False)
        _positive("pressure_damping", self.pressure_damping)
        _require(self.coupling in COUPLINGS, "coupling", self.coupling, ", ".join(COUPLINGS))

    def lines(self, deck: "Deck") -> list[str]:
        _require(deck.boundary == "p p p", "boundary", deck.boundary, "p p p, for Npt")
        first, last = (x * BAR[deck.units] for x in _ends("pressure", self.pressure, positive=False))
        barostat = f"{self.coupling} {first:.10g} {last:.10g} {deck.time(self.pressure_damping):.10g}"
        return [f"fix dynamics all npt {self.thermostat(deck)} {barostat}", *deck.run_lines()]


@dataclass(frozen=True)
class Langevin(Nvt):
    """Langevin thermostat, whose random numbers follow from the deck's `seed`; their sum pushes nowhere."""

    def lines(self, deck: "Deck") -> list[str]:
        bath = f"fix bath all langevin {self.thermostat(deck).removeprefix('temp ')} {deck.seed} zero yes"
        return ["fix dynamics all nve", bath, *deck.run_lines()]


@dataclass(frozen=True)
class PathIntegral(Nvt):
    """Path-integral dynamics of a ring of beads, one in each partition of `run_lammps`, thermostatted mode by mode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        first, last = _ends("temperature", self.temperature, positive=True)
        _require(first == last, "temperature", self.temperature, "one number, for PathIntegral")

    def lines(self, deck: "Deck") -> list[str]:
        temperature = _ends("temperature", self.temperature, positive=True)[0]
        bath = f"thermostat PILE_L {deck.seed} tau {deck.time(self.damping):.10g} temp {temperature:.10g}"
        ring = f"fix dynamics all pimd/langevin ensemble nvt integrator obabo method nmpimd {bath} fixcom yes"
        return [ring, *deck.run_lines()]


@dataclass(frozen=True)
class Minimise:
    """Positions (not the cell) to the nearest minimum; `n_steps` of the deck is the largest number of iterations."""

    force_tolerance: float = 1e-3
    """eV/Å, of the norm of all forces."""

    def __post_init__(self) -> None:
        _positive("force_tolerance", self.force_tolerance)

    def lines(self, deck: "Deck") -> list[str]:
        tolerance = self.force_tolerance * deck.force_unit()
        return ["min_style cg", f"minimize 0.0 {tolerance:.10g} {deck.n_steps} {10 * deck.n_steps}"]


@dataclass(frozen=True)
class Uncertainty:
    """fix mollifield/uncertainty; what is None is left to the fix. Keywords: `docs/fix_mollifield_uncertainty.md`."""

    every: int = 10
    """Steps between evaluations of the committee."""
    file: str | None = None
    select: float | None = None
    """In the unit of `quantity`: eV/Å by default."""
    stop: float | None = None
    quantity: str | None = None
    reduce: str | None = None
    error: str | None = None
    append: str | None = None
    max_frames: int | None = None
    min_gap: int | None = None
    novelty: float | None = None
    calibrated: str | None = None
    bias: float | None = None
    """tau of uncertainty-biased dynamics."""
    ramp: int | None = None
    """Steps over which the bias grows."""
    name: str = "uncertainty"
    """Of the fix, to tell several apart; thermo has its value under `f_` and this."""

    _CHOICES = {
        "quantity": tuple(QUANTITY_UNIT),
        "reduce": ("max", "mean", "q99"),
        "error": ("hard", "soft", "continue"),
        "append": ("yes", "no"),
        "calibrated": ("yes", "no"),
    }

    def __post_init__(self) -> None:
        _count("every", self.every)
        _require(bool(re.fullmatch(r"\w+", self.name)), "name", self.name, "letters, digits and underscores")
        for name, allowed in self._CHOICES.items():
            value = getattr(self, name)
            _require(value is None or value in allowed, name, value, ", ".join(allowed))
        for name in ("select", "stop", "novelty", "bias"):
            value = getattr(self, name)
            finite = isinstance(value, (int, float)) and 0.0 <= value < float("inf")
            _require(value is None or finite, name, value, "a number that is not negative")
        for name, least in {"max_frames": 1, "min_gap": 0, "ramp": 1}.items():
            if getattr(self, name) is not None:
                _count(name, getattr(self, name), least)
        self._check_company()

    def _check_company(self) -> None:
        of_file = dict.fromkeys(("select", "append", "max_frames", "min_gap", "novelty"), "file")
        for name, other in {**of_file, "error": "stop", "ramp": "bias"}.items():
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise ValueError(f"{name} is {getattr(self, name)!r}, which needs `{other}`")
        if self.quantity == "energy" and self.reduce is not None:
            raise ValueError(f"reduce is {self.reduce!r}, but the energy is one number for all atoms")

    def line(self, deck: "Deck") -> str:
        units = {"eV/Å": deck.force_unit(), "eV": ENERGY_UNIT[deck.units], "1": 1.0}
        scale = {"select": units[QUANTITY_UNIT[self.quantity or "force"]]}
        scale["stop"] = scale["select"]
        words = [f"fix {self.name} all mollifield/uncertainty", str(self.every)]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("name", "every") or value is None:
                continue
            words.append(f"{field.name} {_word(value, scale.get(field.name, 1.0))}")
        return " ".join(words)


def _word(value: object, scale: float) -> str:
    return f"{value * scale:.10g}" if isinstance(value, (int, float)) else str(value)


@dataclass(frozen=True)
class Deck:
    """One run. Raises ValueError, naming the option, for values that LAMMPS or the styles would refuse."""

    model: str | Path
    """Exported model file; a relative path counts from the run's directory."""
    species: Sequence[str]
    """Element of each atom type, as given to `write_data`; None leaves a type out."""
    boundary: str
    """Of `lammps_boundary`."""
    dynamics: Nve | Nvt | Npt | Minimise
    n_steps: int
    data: str = "atoms.data"
    """File of `write_data`."""
    units: str = "metal"
    timestep: float = 1.0
    """fs."""
    initial_temperature: float | None = None
    """K: velocities drawn anew with `seed`. None: those of the data file."""
    seed: int = 1
    skin: float | None = None
    """Å, of the neighbour list; None: LAMMPS's own choice."""
    thermo_every: int = 100
    thermo: Sequence[str] | None = None
    """Columns. None: step, temp, pe, etotal, press and the values of `uncertainty`."""
    dump_every: int = 0
    """Steps between frames of `dump`, for `read_dump`; 0 for none."""
    dump: str = "trajectory.dump"
    restart_every: int = 0
    """Steps between restart files (two in turn); 0 for none."""
    pair_options: str = ""
    """Keywords of pair_style mollifield, e.g. "device auto" or "driver member 0"."""
    commands: Sequence[str] = ()
    """Lines of one's own, before thermo and dumps are set up."""
    digits: int | None = None
    """Significant digits of thermo and dump; None: LAMMPS's choice, and 10."""
    uncertainty: Uncertainty | Sequence[Uncertainty] | None = None
    """What watches; several differ in `name`."""

    def __post_init__(self) -> None:
        _require(self.units in ANGSTROM, "units", self.units, ", ".join(ANGSTROM))
        _require(len(self.species) > 0, "species", self.species, "one element or more")
        flags = self.boundary.split()
        known = len(flags) == 3 and set("".join(flags)) <= set("pfsm")
        _require(known, "boundary", self.boundary, "such as 'p p m'")
        _positive("timestep", self.timestep)
        for name in ("initial_temperature", "skin"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        if self.digits is not None:
            _count("digits", self.digits)
        names = [each.name for each in self.watching]
        _require(len(set(names)) == len(names), "uncertainty", names, "fixes that differ in name")
        for name, least in {"n_steps": 0, "seed": 1, "thermo_every": 1, "dump_every": 0, "restart_every": 0}.items():
            _count(name, getattr(self, name), least)
        for name in ("data", "dump", "model"):
            text = str(getattr(self, name))
            plain = bool(text) and not set(text) & set(" \t\n#\"'&$")
            _require(plain, name, text, "a path without spaces and # & $ \" '")

    @property
    def watching(self) -> list[Uncertainty]:
        """What `uncertainty` says, as a list."""
        if self.uncertainty is None:
            return []
        return [self.uncertainty] if isinstance(self.uncertainty, Uncertainty) else list(self.uncertainty)

    def time(self, femtoseconds: float) -> float:
        """In LAMMPS's unit."""
        return femtoseconds * 1e-3 * PICOSECOND[self.units]

    def force_unit(self) -> float:
        """LAMMPS force units of 1 eV/Å."""
        return ENERGY_UNIT[self.units] / ANGSTROM[self.units]

    def run_lines(self) -> list[str]:
        """Velocities and time step of a molecular dynamics run, and the run."""
        rotation = "no" if "p" in self.boundary else "yes"
        velocities = f"velocity all create {self.initial_temperature} {self.seed} mom yes rot {rotation} dist gaussian"
        return [
            *([velocities] if self.initial_temperature is not None else []),
            f"timestep {self.time(self.timestep):.10g}",
            f"run {self.n_steps}",
        ]

    def text(self) -> str:
        """The input script."""
        elements = " ".join(symbol or "NULL" for symbol in self.species)
        lines = [
            f"units {self.units}",
            "atom_style atomic",
            "atom_modify map yes",
            "newton on",
            f"boundary {self.boundary}",
            f"read_data {self.data}",
            *self._box_lines(),
            "",
            f"pair_style mollifield {self.pair_options}".rstrip(),
            f"pair_coeff * * {self.model} {elements}",
            *([] if self.skin is None else [f"neighbor {self.skin * ANGSTROM[self.units]:.10g} bin"]),
            *self.commands,
            "",
            *self._output_lines(elements),
            "",
            *self.dynamics.lines(self),
        ]
        return "\n".join(lines) + "\n"

    def _box_lines(self) -> list[str]:
        """A barostat of all six components refuses a box that was read as orthogonal, and no fix may see the change."""
        sheared = isinstance(self.dynamics, Npt) and self.dynamics.coupling == "tri"
        return ["change_box all triclinic"] if sheared else []

    def _output_lines(self, elements: str) -> list[str]:
        values = [f"f_{each.name}" for each in self.watching]
        columns = ["step", "temp", "pe", "etotal", "press", *values] if self.thermo is None else self.thermo
        lines = [
            f"thermo {self.thermo_every}",
            *(each.line(self) for each in self.watching),
            f"thermo_style custom {' '.join(columns)}",
        ]
        if self.digits is not None:
            lines.append(f"thermo_modify format float %.{self.digits}g")
        if self.dump_every:
            modified = f"sort id format float %.{self.digits or 10}g element {elements.replace('NULL', 'X')}"
            lines += [
                f"dump trajectory all custom {self.dump_every} {self.dump} {COLUMNS}",
                f"dump_modify trajectory {modified}",
            ]
        if self.restart_every:
            lines.append(f"restart {self.restart_every} restart.1 restart.2")
        return lines
