"""What programs write of labelled frames, cut down to what readers look at; energy, forces and stress are ASE's."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr, GPa, Rydberg

SMEARING = 0.25
"""eV by which the free energy lies below the energy extrapolated to zero width, in VASP's files."""


def _rows(values: np.ndarray) -> str:
    return "\n".join(f"<v> {' '.join(f'{x:.9f}' for x in row)} </v>" for row in values)


def _full_stress(atoms: Atoms) -> np.ndarray:
    return np.asarray(atoms.get_stress(voigt=False))


def vasprun(images: Sequence[Atoms], path: Path) -> Path:
    """vasprun.xml: stress in kbar, positive under compression."""
    symbols = images[0].get_chemical_symbols()
    atoms_set = "".join(f"<rc><c>{symbol} </c><c>1</c></rc>" for symbol in symbols)
    steps = []
    for atoms in images:
        energy = atoms.get_potential_energy()
        energies = f'<i name="e_fr_energy">{energy - SMEARING:.9f}</i><i name="e_0_energy">{energy:.9f}</i>'
        steps.append(
            f"<calculation><scstep><energy>{energies}</energy></scstep><structure>"
            f'<crystal><varray name="basis">{_rows(atoms.cell.array)}</varray></crystal>'
            f'<varray name="positions">{_rows(atoms.get_scaled_positions())}</varray></structure>'
            f'<varray name="forces">{_rows(atoms.get_forces())}</varray>'
            f'<varray name="stress">{_rows(-10.0 * _full_stress(atoms) / GPa)}</varray>'
            f"<energy>{energies}</energy></calculation>"
        )
    first = images[0]
    path.write_text(
        '<?xml version="1.0"?><modeling><kpoints><varray name="kpointlist"><v>0 0 0</v></varray>'
        '<varray name="weights"><v>1</v></varray></kpoints><parameters></parameters>'
        f'<atominfo><array name="atoms"><set>{atoms_set}</set></array></atominfo><structure name="initialpos">'
        f'<crystal><varray name="basis">{_rows(first.cell.array)}</varray></crystal><varray name="positions">'
        f"{_rows(first.get_scaled_positions())}</varray></structure>{''.join(steps)}</modeling>"
    )
    return path


def outcar(images: Sequence[Atoms], path: Path) -> Path:
    """OUTCAR of frames whose atoms are sorted by element: stress in kbar, order xx yy zz xy yz zx."""
    symbols = images[0].get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    potentials = [f" POTCAR:    PAW_PBE {kind} 05Jan2001" for kind in kinds]
    counts = " ".join(str(symbols.count(kind)) for kind in kinds)
    lines = [*potentials, *potentials, f"   ions per type =  {counts}", "---- Iteration      1(   1) ----"]
    for atoms in images:
        s = -10.0 * _full_stress(atoms) / GPa
        stress = (s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0])
        lines += [f"  in kB  {' '.join(f'{x:.7f}' for x in stress)}"]
        lines += ["      direct lattice vectors                 reciprocal lattice vectors"]
        lines += ["  ".join(f"{x:.9f}" for x in (*row, 0.0, 0.0, 0.0)) for row in atoms.cell.array]
        lines += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " " + "-" * 40]
        rows = np.hstack([atoms.positions, atoms.get_forces()])
        lines += ["  ".join(f"{x:.9f}" for x in row) for row in rows]
        energy = atoms.get_potential_energy()
        lines += ["  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)", "  " + "-" * 40]
        lines += [f"  free  energy   TOTEN  =      {energy - SMEARING:.9f} eV", ""]
        lines += [f"  energy  without entropy=     {energy:.9f}  energy(sigma->0) =     {energy:.9f}", ""]
    path.write_text("\n".join(lines) + "\n")
    return path


def espresso(images: Sequence[Atoms], path: Path) -> Path:
    """Outputs of pw.x, one after the other: Rydberg and Bohr, stress positive under compression."""
    lines: list[str] = []
    for atoms in images:
        lines += ["     Program PWSCF v.7.2 starts on  1Jan2026", f"     celldm(1)=   {1.0 / Bohr:.12f}"]
        lines += [f"     number of atoms/cell      =  {len(atoms)}", "     number of atomic types    =  1"]
        lines += ["     crystal axes: (cart. coord. in units of alat)"]
        for k, row in enumerate(atoms.cell.array):
            lines.append(f"               a({k + 1}) = ( {' '.join(f'{x:.9f}' for x in row)} )")
        lines += ["     site n.     atom                  positions (alat units)"]
        for k, (symbol, row) in enumerate(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)):
            lines.append(f"  {k + 1}  {symbol}  tau( {k + 1}) = ( {' '.join(f'{x:.9f}' for x in row)} )")
        lines += [f"!    total energy              =  {atoms.get_potential_energy() / Rydberg:.12f} Ry"]
        lines += ["     Forces acting on atoms (cartesian axes, Ry/au):", ""]
        for k, row in enumerate(atoms.get_forces() / (Rydberg / Bohr)):
            lines.append(f"     atom  {k + 1} type  1   force =  {' '.join(f'{x:.12f}' for x in row)}")
        lines += ["", "          total   stress  (Ry/bohr**3)          (kbar)     P=  0.0"]
        lines += [
            f"  {' '.join(f'{x:.12f}' for x in row)}  0.0 0.0 0.0" for row in -_full_stress(atoms) / (Rydberg / Bohr**3)
        ]
        lines += [""]
    path.write_text("\n".join(lines) + "\n")
    return path


def dump(images: Sequence[Atoms], path: Path, elements: bool = True) -> Path:
    """LAMMPS' text dump of orthogonal boxes, last atom first, with a compute's energies of atoms; types by element."""
    kinds = sorted(set(images[0].get_chemical_symbols()))
    lines: list[str] = []
    for step, atoms in enumerate(images):
        lines += ["ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS", str(len(atoms))]
        lines += ["ITEM: BOX BOUNDS pp pp pp", *(f"0.0 {length:.9f}" for length in atoms.cell.lengths())]
        lines += ["ITEM: ATOMS id type x y z fx fy fz c_pe" + " element" * elements]
        share = atoms.get_potential_energy() / len(atoms)
        for k in reversed(range(len(atoms))):
            numbers = " ".join(f"{x:.9f}" for x in (*atoms.positions[k], *atoms.get_forces()[k], share))
            symbol = atoms.get_chemical_symbols()[k]
            lines.append(f"{k + 1} {kinds.index(symbol) + 1} {numbers}" + f" {symbol}" * elements)
    path.write_text("\n".join(lines) + "\n")
    return path


WRITERS: dict[str, Callable[[Sequence[Atoms], Path], Path]] = {
    "vasprun.xml": vasprun,
    "OUTCAR": outcar,
    "relax.pwo": espresso,
    "forces.dump": dump,
}
"""By the name of a file."""
