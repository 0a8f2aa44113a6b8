"""What the oracle itself says of the lattice and its elastic constants: the property's own code, on the oracle.

python reference.py loop.yaml start.extxyz
"""

import sys

from ase.io import read

from mollifield.properties.elastic import Elastic
from mollifield.properties.equation_of_state import EquationOfState
from mollifield_train.active.config import load_loop_config
from mollifield_train.oracle import make_calculator

config = load_loop_config(sys.argv[1])
for measured in (EquationOfState(fmax=0.005), Elastic(strain=0.008, n_steps=2, fmax=0.005)):
    found = measured(make_calculator(config.oracle), [read(sys.argv[2])])
    for name, quantity in found.quantities.items():
        if quantity.value.ndim == 0:
            print(f"{name:20s} {float(quantity.value):10.4f} {quantity.unit}", flush=True)
