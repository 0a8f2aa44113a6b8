"""Standard deviations, intervals and what is outside as properties that ASE knows, so that its files carry them.

ASE writes and reads back results whose names are in its tables, and drops all others. With these entries
`ase.io.write` keeps them in trajectories, extended xyz and single-point calculators, and `ase.io.read` finds them,
in any program that has imported `mollifield`. Elsewhere extended xyz gives them as `atoms.arrays["forces_std"]`,
`atoms.info["energy_std"]`, and so on. Extended xyz has no matrices: `forces_cov` and `aleatoric_cov` survive in
trajectories only.
"""

from ase.calculators.calculator import all_properties
from ase.io import extxyz
from ase.outputs import ArrayProperty, ScalarProperty, all_outputs

STD_PROPERTIES = ["energy_std", "forces_std", "forces_cov", "epistemic_std"]
NOISE_PROPERTIES = ["aleatoric_std", "aleatoric_cov", "energy_aleatoric_std"]
OUTSIDE_PROPERTIES = ["outside", "energy_outside"]
INTERVAL_PROPERTIES = ["energy_interval", "forces_interval"]


def register() -> None:
    """Enter the names into ASE's tables; a second call changes nothing."""
    for output, written_as in (
        (ScalarProperty("energy_std", float), extxyz.per_config_properties),
        (ArrayProperty("forces_std", float, ("natoms",)), extxyz.per_atom_properties),
        (ArrayProperty("forces_cov", float, ("natoms", 3, 3)), None),
        (ArrayProperty("epistemic_std", float, ("natoms",)), extxyz.per_atom_properties),
        (ArrayProperty("aleatoric_std", float, ("natoms",)), extxyz.per_atom_properties),
        (ArrayProperty("outside", int, ("natoms",)), extxyz.per_atom_properties),
        (ScalarProperty("energy_outside", int), extxyz.per_config_properties),
        (ArrayProperty("aleatoric_cov", float, ("natoms", 3, 3)), None),
        (ScalarProperty("energy_aleatoric_std", float), extxyz.per_config_properties),
        (ScalarProperty("energy_interval", float), extxyz.per_config_properties),
        (ArrayProperty("forces_interval", float, ("natoms",)), extxyz.per_atom_properties),
    ):
        for table in (all_properties, written_as):
            if table is not None and output.name not in table:
                table.append(output.name)
        all_outputs.setdefault(output.name, output)
