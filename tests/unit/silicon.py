"""Silicon of Stillinger and Weber (Phys. Rev. B 31, 5262 (1985)), by matscipy."""

from ase.calculators.calculator import Calculator


def stillinger_weber() -> Calculator:
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si

    return Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
