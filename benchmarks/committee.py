"""What a committee of 4 costs, against one member: 216 silicon atoms, splines, float32.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/committee.py [--cells 3]

Members' energies always come; forces as their mean (one gradient with shared geometry), or member by member.
"Driven by one" is molecular dynamics with one member, the committee with all forces asked every 10 steps: ten
evaluations a call, of which one is the committee's and is the driver's too.
"""

from functools import partial

import systems
from timing import Run, compare, environment, local, report, silicon_parser

from mollifield.potential import evaluate_edges

N_MEMBERS = 4
EVERY = 10


def main() -> None:
    """Print one table for splines and one for the e3nn path."""
    options = silicon_parser(__doc__).parse_args()

    print(environment())
    atoms = systems.silicon(options.cells)
    frame = systems.edges(atoms, "silicon")
    for title, backend in [("native, splines", "native"), ("e3nn TorchScript", "e3nn")]:
        one = systems.artefact("silicon", backend)
        four = systems.artefact("silicon", backend, N_MEMBERS)

        def driven(one=one, four=four) -> None:
            for step in range(EVERY):
                asked = step == 0
                evaluate_edges(four if asked else one, *frame, members=asked)

        cases: dict[str, Run] = {
            "one member": local(partial(evaluate_edges, one, *frame)),
            f"{N_MEMBERS} members, mean forces": local(partial(evaluate_edges, four, *frame)),
            f"{N_MEMBERS} members, all forces": local(partial(evaluate_edges, four, *frame, members=True)),
        }
        if backend == "native":
            ten_steps = local(driven)
            cases[f"driven by one, asked every {EVERY}"] = lambda n, steps=ten_steps: steps(n) / EVERY
        print(f"{title}, {len(atoms)} atoms")
        rounds = options.rounds if backend == "native" else max(3, options.rounds // 3)
        report(compare(cases, rounds), 1e6 / len(atoms), "µs/atom", ["one member"])


if __name__ == "__main__":
    main()
