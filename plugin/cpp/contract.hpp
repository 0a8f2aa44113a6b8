// The wire between an exported model and the engines that run it: plugin/mollifield/contract.py, where every name is
// explained, said in C++. A test compares the two.
#pragma once

namespace mollifield::contract {

inline constexpr int FORMAT_VERSION = 3;
inline constexpr int READABLE_VERSIONS[] = {1, 2, 3};
inline constexpr int SEPARATE_VERSION = 2;
inline constexpr const char *STAGES[] = {"embed", "send", "receive", "read"};

// Outputs of `forward` and `read`.
inline constexpr const char *ATOMIC_ENERGIES = "atomic_energies";
inline constexpr const char *LATENT = "latent";
inline constexpr const char *NOISE_FEATURES = "noise_features";

// Of a noise head: its method, and what that returns.
inline constexpr const char *NOISE_METHOD = "noise";
inline constexpr const char *ENERGY_NOISE = "energy_noise";
inline constexpr const char *FORCE_NOISE = "force_noise";

// Attributes of the file.
inline constexpr const char *FORMAT_VERSION_KEY = "format_version";
inline constexpr const char *SPECIES_KEY = "species";
inline constexpr const char *R_MAX_KEY = "r_max";
inline constexpr const char *N_LAYERS_KEY = "n_layers";
inline constexpr const char *N_MEMBERS_KEY = "n_members";
inline constexpr const char *DTYPE_KEY = "dtype";
inline constexpr const char *CALIBRATION_KEY = "calibration";
inline constexpr const char *REFERENCE_KEY = "reference_frames";
inline constexpr const char *MEMBER_TENSORS_KEY = "member_tensors";
inline constexpr const char *SHARED_TRUNK_KEY = "shared_trunk";
inline constexpr const char *BASIS_KEY = "basis";
inline constexpr const char *MIXING_KEY = "mixing";
inline constexpr const char *LABELS_KEY = "labels";
inline constexpr const char *UNDETERMINED_SPECIES_KEY = "undetermined_species";
inline constexpr const char *UNDETERMINED_COMPOSITIONS_KEY = "undetermined_compositions";
inline constexpr double COMPOSITION_TOLERANCE = 1e-6;
inline constexpr const char *LATENT_SPACE_KEY = "latent_space";

// A reference frame.
inline constexpr const char *REF_POSITIONS = "positions";
inline constexpr const char *REF_CELL = "cell";
inline constexpr const char *REF_PBC = "pbc";
inline constexpr const char *REF_TYPES = "types";
inline constexpr const char *REF_EDGE_INDEX = "edge_index";
inline constexpr const char *REF_EDGE_VECTORS = "edge_vectors";
inline constexpr const char *REF_ENERGIES = "energies";
inline constexpr const char *REF_FORCES = "forces";
inline constexpr const char *REF_VIRIALS = "virials";

// The latent space, and how far the training data reach in it.
inline constexpr const char *LATENT_SCALE = "scale";
inline constexpr const char *LATENT_REFERENCES = "references";
inline constexpr const char *LATENT_TYPES = "types";
inline constexpr const char *LATENT_REACH = "reach";
inline constexpr const char *LATENT_FORCE_SCALE = "force_scale";
inline constexpr double LATENT_STD_FLOOR = 1e-3;
inline constexpr double LATENT_REACH_FLOOR = 0.5;
inline constexpr double OUTSIDE_LIMIT = 10.0;
inline constexpr const char *LATENT_CENTRE = "centre";
inline constexpr const char *LATENT_WHITENING = "whitening";
inline constexpr double LATENT_FARTHEST = 10.0;

// Calibration.
inline constexpr const char *FORCE_STD = "force_std";
inline constexpr const char *ENERGY_STD = "energy_std";
inline constexpr const char *FORCE_FLOOR = "force_floor";
inline constexpr const char *ENERGY_FLOOR = "energy_floor";
inline constexpr const char *FORCE_INTERVAL = "force_interval";
inline constexpr const char *ENERGY_INTERVAL = "energy_interval";
inline constexpr double INTERVAL_LEVEL = 0.9;
inline constexpr const char *FORCE_NOISE_STD = "force_noise_std";
inline constexpr const char *ENERGY_NOISE_STD = "energy_noise_std";

inline constexpr double FORCE_REL_FLOOR = 0.1;  // eV/Å
inline constexpr double MIN_DISTANCE = 1e-3;    // Å
// REFERENCE_TOLERANCE by dtype, eV and Å.
inline constexpr double REFERENCE_TOLERANCE_FLOAT32 = 2e-5;
inline constexpr double REFERENCE_TOLERANCE_FLOAT64 = 1e-9;

}  // namespace mollifield::contract
