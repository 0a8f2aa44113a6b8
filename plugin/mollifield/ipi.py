"""A client of i-PI, and of whatever else speaks its protocol, that sends the members along.

Protocol and units: Kapil et al., Comput. Phys. Commun. 236, 214 (2019); ASE has both. The extra string is JSON in
atomic units, as i-PI's `ffcommittee` (with `parse_json`) reads it: `committee_pot` [M], `committee_force` [M, 3N] and
`committee_virial` [M, 3, 3].
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.socketio import IPIProtocol, SocketClient
from ase.units import Bohr, Ha
from torch import Tensor

from .artefact import Artefact
from .calibration import Array
from .potential import Evaluation, evaluate
from .verification import load_artefact


class _WithExtras(IPIProtocol):
    """Sends `extras` behind every force."""

    extras = b"\0"

    def sendforce(self, energy: float, forces: Array, virial: Array, morebytes: Any = None) -> None:
        super().sendforce(energy, forces, virial, np.frombuffer(self.extras, dtype=np.byte))


class IpiClient(SocketClient):
    """Answers the positions that a server sends, until it hangs up.

    `atoms`: species, periodicity and number of atoms, in the server's order. `committee`: whether members' energies,
    forces and virials go along, which costs what forces' stds cost; None: where there are two or more. The server is
    `host` and `port`, or the UNIX socket /tmp/ipi_`unixsocket`. Raises OSError where nobody listens, ValueError for a
    species that the model does not know.
    """

    protocol: _WithExtras

    def __init__(
        self,
        model: str | Path,
        atoms: Atoms,
        host: str = "localhost",
        port: int | None = None,
        unixsocket: str | None = None,
        committee: bool | None = None,
        device: str = "cpu",
    ) -> None:
        self.artefact: Artefact = load_artefact(model, device)
        self.atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        self.committee = self.artefact.n_members > 1 if committee is None else committee
        self._evaluated(self.atoms)  # what is wrong with the atoms shows before anybody waits
        super().__init__(host=host, port=port, unixsocket=unixsocket)
        self.protocol = _WithExtras(self.protocol.socket)

    def serve(self) -> int:
        """Answer until the server has had enough; how often."""
        try:
            return sum(1 for _ in self.irun(self.atoms, use_stress=True))
        finally:
            self.close()

    def calculate(self, atoms: Atoms, use_stress: bool) -> tuple[float, Array, Array]:
        """Energy (eV), forces [N, 3] (eV/Å) and virial [3, 3] (eV), means over members; called by ASE."""
        out = self._evaluated(atoms)
        if self.committee:
            self.protocol.extras = _extras(out.energies, out.forces, out.virial)
        return float(out.energies.mean()), out.forces.mean(0).cpu().numpy(), out.virial.mean(0).cpu().numpy()

    def _evaluated(self, atoms: Atoms) -> Evaluation:
        symbols = atoms.get_chemical_symbols()
        return evaluate(self.artefact, symbols, atoms.positions, atoms.cell.array, atoms.pbc, members=self.committee)


def _extras(energies: Tensor, forces: Tensor, virials: Tensor) -> bytes:
    members = {
        "committee_pot": energies / Ha,
        "committee_force": forces.flatten(1) * (Bohr / Ha),
        "committee_virial": virials / Ha,
    }
    return json.dumps({name: values.cpu().tolist() for name, values in members.items()}).encode()
