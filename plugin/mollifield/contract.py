"""The wire between an exported model and the engines that run it.

Every tensor that crosses the boundary is named here once, with its shape and unit. The exporter
(`mollifield_train.export`), the Python engine (`mollifield.potential`) and the C++ engine
(`plugin/cpp/potential.hpp`) follow this page and nothing else.

Shapes use these letters: M members of the committee; T trunks, M where members are models of their own, 1 where they
are samples on one trunk (`SHARED_TRUNK_KEY`); G geometries, either 1 (members share the geometry) or T (one copy each,
so that one backward pass gives gradients member by member); E edges; N atoms; L latent features. Units: eV and Å.

Samples on one trunk have but one copy of the geometry: an engine gets the gradients of each by a backward pass of its
own through the same graph.

Inputs of the model, in this order:

=================  ============  =======  ==========================================================
name               shape         dtype    meaning
=================  ============  =======  ==========================================================
`edge_vectors`     `[G, E, 3]`   model's  r_j - r_i including the periodic shift, in Å
`edge_index`       `[2, E]`      int64    row 0: centre i (receives), row 1: neighbour j (sends)
`types`            `[N]`         int64    index into the model's `species`
=================  ============  =======  ==========================================================

Outputs, a dictionary of tensors by these names. There may be more, which an engine that does not know them leaves
alone:

==================  =============  =======  =======================================================
`atomic_energies`    `[M, N]`      float64  eV, shifts and repulsion included; sum over *local* atoms
`latent`             `[T, N, L]`   model's  invariant features before the last readout
`noise_features`     `[T, N, F]`   model's  what `noise` reads; where it is missing, that is `latent`
==================  =============  =======  =======================================================

With g_ij = dE/d(edge_vectors_ij), E the sum of local atomic energies (eV/Å)::

    forces_i  = sum_j g_ij - sum_k g_ki            (i centre of ij, neighbour of ki)
    virial    = - sum_ij  d_ij (x) g_ij            (eV; = sum_i r_i (x) F_i for a free cluster)
    stress    = - virial / volume                  (eV/Å^3; ASE's sign: positive under tension)

The same in stages, so that processes that share a system exchange features between layers. N local atoms
come first, N' >= N with the ghosts that are their neighbours, and every edge has a local centre::

    x, harmonics, basis, lengths = embed(edge_vectors, types)                   types [N'], x [T, N', 1, C]
    for k in range(n_layers):
        sent = send(k, x)                    [T, N, K_k, C]; in layer 0 of all N' atoms, from their species alone
        (k > 0: append the rows of ghosts, received from the processes that own them: [T, N', K_k, C])
        x = receive(k, sent, x, harmonics, lengths, basis, edge_index, types)   [T, N, K_k+1, C], x of N atoms
    outputs = read(x, lengths, edge_index, types)                               as above, of N atoms

An edge list is full: both (i, j) and (j, i) are present. Edges longer than `r_max` contribute
exactly nothing, so lists with a skin give the same numbers.

A file with a *noise head* has one method more, for engines to call where the noise of labels is asked for. It takes the
mean over members of the forces, `[N, 3]` float64 in eV/Å, and returns a dictionary; engines take means over trunks::

    energy_noise, force_noise = noise(noise_features, types, forces)

==================  ===============  =======  =====================================================
`energy_noise`       `[T, N]`        float64  eV², variances that sum over local atoms to the energy's
`force_noise`        `[T, N, 3, 3]`  float64  eV²/Å², positive definite; turns with the frame
==================  ===============  =======  =====================================================

`plugin/cpp/contract.hpp` says the same in C++; a test compares the two.
"""

from torch import Tensor

FORMAT_VERSION = 3
"""Raised whenever an engine of an older release would misread a file."""

READABLE_VERSIONS = (1, 2, 3)
"""In version 1 `forward` and `read` return the tuple (atomic_energies, latent); from version 3 on members may share a
trunk."""

SEPARATE_VERSION = 2
"""Of files whose members are models of their own: older releases read these as well as ever."""

# Names of the outputs.
ATOMIC_ENERGIES = "atomic_energies"
LATENT = "latent"
NOISE_FEATURES = "noise_features"

Outputs = dict[str, Tensor]


def named_outputs(returned: "Outputs | tuple[Tensor, Tensor]") -> Outputs:
    """What `forward` or `read` of a file of any readable version returned, by name."""
    if isinstance(returned, dict):
        return returned
    return dict(zip((ATOMIC_ENERGIES, LATENT), returned, strict=True))


STAGES = ("embed", "send", "receive", "read")
"""Methods of the ScriptModule besides `forward`."""

NOISE_METHOD = "noise"
"""Of a file with a noise head."""
# Names of what it returns.
ENERGY_NOISE = "energy_noise"
FORCE_NOISE = "force_noise"

# Attributes of the ScriptModule inside a model file, read by both engines.
FORMAT_VERSION_KEY = "format_version"  # int
SPECIES_KEY = "species"  # List[str], chemical symbols, in the order of `types`
R_MAX_KEY = "r_max"  # float, Å
N_LAYERS_KEY = "n_layers"  # int: message-passing depth, ghosts reach n_layers * r_max
N_MEMBERS_KEY = "n_members"  # int
DTYPE_KEY = "dtype"  # str: "float32" or "float64"
CALIBRATION_KEY = "calibration"  # Dict[str, Tensor], keys below; version 1: Dict[str, float]
REFERENCE_KEY = "reference_frames"  # List[Dict[str, Tensor]], keys below
# List[str]: names of the parameters and buffers whose first dimension is M. Slices [k : k + 1] of these make the
# model of member k; every other tensor is a constant that members share.
MEMBER_TENSORS_KEY = "member_tensors"
# bool: members are samples on one trunk (heads, posterior draws), not models of their own: T is 1, and the tensors of
# the trunk are not among MEMBER_TENSORS. Their spread says nothing of the trunk. Absent: false.
SHARED_TRUNK_KEY = "shared_trunk"
# Optional, where members share a trunk and their energies are linear in one another: some of them, int64 [R], and
# float64 [M, R] with E_m = sum_r mixing[m, r] E_(basis[r]) for every geometry, so that R backward passes are enough.
# An engine that does not know them makes M.
BASIS_KEY = "basis"
MIXING_KEY = "mixing"

# List[str], optional: what the training frames were labelled with and trained on, of "energy", "forces", "stress". A
# file without it does not say.
LABELS_KEY = "labels"
# List[str], optional: species whose energies the training frames do not tell apart from those of others.
UNDETERMINED_SPECIES_KEY = "undetermined_species"
# Tensor [k, n_species] float64, eV, optional: changes of the species' energies that the training frames do not see,
# orthogonal to each other, each as long as these energies are in root mean square. With the counts n of a frame's atoms
# by species, the variance of its total energy gets the square of every row . n that is larger than
# COMPOSITION_TOLERANCE * |row| * N: its energy is *outside*, a guess. Other compositions get nothing.
UNDETERMINED_COMPOSITIONS_KEY = "undetermined_compositions"
COMPOSITION_TOLERANCE = 1e-6

# Dict[str, Tensor], keys below; optional: a file without it, or with an empty one, has no latent references.
LATENT_SPACE_KEY = "latent_space"

# A reference frame: its geometry, and what the exporter got for it.
REF_POSITIONS = "positions"  # [N, 3] float64, Å
REF_CELL = "cell"  # [3, 3] float64, rows are lattice vectors, Å
REF_PBC = "pbc"  # [3] bool
REF_TYPES = "types"  # [N] int64
REF_EDGE_INDEX = "edge_index"  # [2, E] int64
REF_EDGE_VECTORS = "edge_vectors"  # [E, 3] float64, Å
REF_ENERGIES = "energies"  # [M] float64, eV
REF_FORCES = "forces"  # [M, N, 3] float64, eV/Å
REF_VIRIALS = "virials"  # [M, 3, 3] float64, eV

# The latent space: where the training frames lie in it. Features of an atom are z = scale * latent, F = T * L of
# them, trunk after trunk. scale_k = 1 / (s_k sqrt(F)), s_k the std of feature k over training atoms about the mean
# of their species (no less than LATENT_STD_FLOOR times the largest s or feature, in root mean square), so that two
# random training atoms of one species are about sqrt(2) apart. The *latent distance* of an atom is the Euclidean
# distance of z to the nearest reference of its species (infinite where there is none). Without a stored scale, s_k is
# 1.
LATENT_SCALE = "scale"  # [F] float64
LATENT_REFERENCES = "references"  # [n_references, F] float32, scaled; spread by farthest-point sampling
LATENT_TYPES = "types"  # [n_references] int64, index into `species`
LATENT_STD_FLOOR = 1e-3

# How far the training data reach, optional: the largest latent distance of a reference to the nearest other one of its
# species, but LATENT_REACH_FLOOR at least. An atom whose relative distance u (below) is above 1 is *outside*: no
# training atom resembles it, and members that were taught alike may agree there by chance. Its force variance gets, in
# addition, the square of  f = LATENT_FORCE_SCALE * min((u - 1)^2, OUTSIDE_LIMIT),  isotropic (f^2 / 3 on the diagonal
# of the covariance), and the variance of the total energy that of  f * 1 Å  for each such atom.
LATENT_REACH = "reach"  # [n_species] float64; infinite: not known
LATENT_FORCE_SCALE = "force_scale"  # [1] float64, eV/Å: RMS length of a force on a training atom
LATENT_REACH_FLOOR = 0.5
OUTSIDE_LIMIT = 10.0

# A normal density of the features of each species, optional: (z - centre) @ whitening has about the same spread in all
# directions, and a length of 1 as far out as training atoms lie that it was not fitted to.
LATENT_CENTRE = "centre"  # [n_species, F] float64
LATENT_WHITENING = "whitening"  # [n_species, F, F] float32, zero for a species of which too little is known
# The *relative distance* of an atom is the larger one of d / reach and |(z - centre) @ whitening|, each as far as it is
# known, and LATENT_FARTHEST at most; 0 in files without a reach.
LATENT_FARTHEST = 10.0

# The one extra file of the archive: free-form JSON for people (training summary, licence, citation,
# library versions). No engine takes a number from it.
SUMMARY_FILE = "summary.json"

# Tables in `calibration`, each optional: knots (raw std, calibrated std), positive and rising in both. The map is
# piecewise linear through (0, 0) and the knots, and proportional to the last one beyond it; a single knot is a factor.
# A force covariance is multiplied by (calibrated / raw)^2.
# In version 1 `force_std_factor` and `energy_std_factor` are such factors, and all values are plain numbers for all
# species.
FORCE_STD = "force_std"  # [n_species, K, 2] float64, eV/Å: sqrt(trace) of an atom's 3x3 covariance
ENERGY_STD = "energy_std"  # [1, K, 2] float64, eV/atom: std of a total energy, divided by the number of atoms
# Floors, each optional: what calibrated stds hold, in quadrature, for the distance to the training data; maps like
# those above of the square of relative distances u, so that beyond their last knot they grow quadratically. In the
# force covariance they are isotropic.
FORCE_FLOOR = "force_floor"  # [n_species, K, 2] float64: (u^2, eV/Å)
ENERGY_FLOOR = "energy_floor"  # [1, K, 2] float64: (mean of u^2 over the atoms, eV/atom)
# Intervals, each optional: knots (level, multiple), rising in both. An error is no longer than this multiple of the
# calibrated std with at least this probability. Levels that are not there have no interval.
FORCE_INTERVAL = "force_interval"  # [n_species, K, 2] float64: of the length of an atom's force error
ENERGY_INTERVAL = "energy_interval"  # [1, K, 2] float64
INTERVAL_LEVEL = 0.9  # unless another one is asked for
# Noise of the labels (aleatoric) in files without a noise head; 0 where the file states none.
# [n_species] float64, eV/Å: sqrt(trace) of the 3x3 covariance of a force label's noise
FORCE_NOISE_STD = "force_noise_std"
ENERGY_NOISE_STD = "energy_noise_std"  # [1] float64, eV/atom

FORCE_REL_FLOOR = 0.1
"""eV/Å. The relative force std of an atom is force_std / (norm of the mean force + this)."""

REFERENCE_TOLERANCE = {
    # Largest deviation allowed when an engine recomputes a reference frame: eV/atom for energies,
    # eV/Å for forces, eV/atom for virials. float32 sums a few thousand terms of order 10 eV/Å,
    # each rounded to 6e-8; float64 leaves room for a different order of summation only.
    # These are absolute floors; an engine adds the same fraction of the largest reference value.
    "float32": 2e-5,
    "float64": 1e-9,
}

MIN_DISTANCE = 1e-3
"""Å. Two atoms nearer than this are an error in the input, named with both atoms."""
