// What pair style mollifield knows of its members: their forces, the spread, and the names both are read by.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "uncertainty.hpp"
#include "update.h"

#include <cmath>
#include <exception>
#include <string>

using namespace LAMMPS_NS;

void PairMollifield::clear_members()
{
  auto &s = *state;
  s.member_forces.assign(3 * s.n_members * s.owner.size(), 0.0);
  s.outputs.member_virials.assign(6 * s.n_members, 0.0);
}

void PairMollifield::take_member(const mollifield::Edges &edges, int m, const double *gradients)
{
  auto &s = *state;
  double *const v = &s.outputs.member_virials[6 * m];
  const auto force_on = [&s, m](int node) { return &s.member_forces[3 * (s.atoms[node] * s.n_members + m)]; };
  for (std::size_t edge = 0; edge < edges.size(); edge++) {
    const double *const d = &edges.vectors[3 * edge], *const g = &gradients[3 * edge];
    double *const fi = force_on(edges.centre[edge]), *const fj = force_on(edges.neighbour[edge]);
    for (int a = 0; a < 3; a++) {
      fi[a] += s.force_unit * g[a];
      fj[a] -= s.force_unit * g[a];
      v[a] -= s.energy_unit * d[a] * g[a];
    }
    v[3] -= 0.5 * s.energy_unit * (d[0] * g[1] + d[1] * g[0]);
    v[4] -= 0.5 * s.energy_unit * (d[0] * g[2] + d[2] * g[0]);
    v[5] -= 0.5 * s.energy_unit * (d[1] * g[2] + d[2] * g[1]);
  }
}

void PairMollifield::communicate_members()
{
  auto &s = *state;
  if (comm->nprocs == 1) return;
  for (s.first_member = 0; s.first_member < s.n_members; s.first_member += MEMBERS_PER_MESSAGE)
    comm->reverse_comm(this);
}

void PairMollifield::reduce_members()
{
  auto &s = *state;
  auto &out = s.outputs;
  const int n_local = atom->nlocal, n_members = s.n_members;
  const auto &calibration = s.potential->calibration();
  out.step = update->ntimestep;
  reduce_latent();
  out.force_std.clear(n_local, 1);
  out.force_std_raw.clear(n_local, 1);
  out.force_interval.clear(n_local, 1);
  out.force_mean.clear(n_local, 3);
  out.force_covariance.clear(n_local, 6);
  std::vector<double> forces(3 * static_cast<std::size_t>(n_members));
  for (int i = 0; i < n_local; i++) {
    const int species = map[atom->type[i]];
    if (species < 0) continue;
    for (std::size_t k = 0; k < forces.size(); k++) forces[k] = s.member_forces[forces.size() * i + k] / s.force_unit;
    const auto spread = mollifield::force_spread(forces.data(), n_members, calibration.force[species],
                                                 *out.outside_std.rows[i] / s.force_unit,
                                                 calibration.force_floor_std(species, *out.relative_distance.rows[i]));
    for (int a = 0; a < 3; a++) out.force_mean.rows[i][a] = s.force_unit * spread.mean[a];
    for (int k = 0; k < 6; k++) out.force_covariance.rows[i][k] = s.force_unit * s.force_unit * spread.covariance[k];
    *out.force_std.rows[i] = s.force_unit * spread.std;
    *out.force_std_raw.rows[i] = s.force_unit * spread.raw_std;
    if (!calibration.force_interval.empty())
      *out.force_interval.rows[i] = s.force_unit * calibration.force_interval[species] * spread.std;
  }
  reduce_noise();
  out.member_energies = s.evaluation.member_energies;
  for (double &energy : out.member_energies) energy *= s.energy_unit;
}

// Covariances of a noise head, or those of the file's number for the species.
void PairMollifield::reduce_noise()
{
  auto &s = *state;
  auto &out = s.outputs;
  out.aleatoric_std.clear(atom->nlocal, 1);
  out.aleatoric_covariance.clear(atom->nlocal, 6);
  out.energy_noise.clear(atom->nlocal, 1);
  const auto n = static_cast<std::size_t>(s.graph.n_local);
  mollifield::Noise noise;
  if (s.potential->has_noise_head() && n > 0) {
    std::vector<double> forces;
    for (std::size_t node = 0; node < n; node++)
      for (int a = 0; a < 3; a++) forces.push_back(out.force_mean.rows[s.atoms[node]][a] / s.force_unit);
    try {
      noise = s.potential->noise(s.graph, s.evaluation, forces);
    } catch (const std::exception &failure) {
      fail_on_this_rank(failure.what());
    }
  } else {
    noise = mollifield::stated_noise(s.potential->calibration(), s.graph.types.data(), n);
  }
  for (std::size_t node = 0; node < n; node++) {
    const int i = s.atoms[node];
    const double *const c = &noise.force[6 * node];
    for (int k = 0; k < 6; k++) out.aleatoric_covariance.rows[i][k] = s.force_unit * s.force_unit * c[k];
    *out.aleatoric_std.rows[i] = s.force_unit * std::sqrt(c[0] + c[1] + c[2]);
    *out.energy_noise.rows[i] = s.energy_unit * s.energy_unit * noise.energy[node];
  }
}

// Features of a node: those of all trunks one after the other, in the scale of the file.
void PairMollifield::read_latent(std::size_t node, std::vector<double> &features) const
{
  const auto &s = *state;
  for (std::size_t k = 0; k < features.size(); k++)
    features[k] = s.outputs.latent_scale[k] * s.evaluation.latent.at(node, k);
}

void PairMollifield::reduce_latent()
{
  auto &s = *state;
  auto &out = s.outputs;
  const auto &space = s.potential->latent_space();
  const std::size_t n_nodes = s.graph.n_local;
  out.latent_distance.clear(atom->nlocal, 1);
  out.outside_std.clear(atom->nlocal, 1);
  out.relative_distance.clear(atom->nlocal, 1);
  out.n_latent = n_nodes > 0 ? static_cast<int>(s.evaluation.latent.n_columns()) : 0;
  out.latent_scale.resize(out.n_latent);
  try {
    for (std::size_t k = 0; k < out.latent_scale.size(); k++)
      out.latent_scale[k] = space.factor(k, out.latent_scale.size());
  } catch (const std::exception &failure) {
    fail_on_this_rank(failure.what());
  }
  if (!space.has_references()) return;
  std::vector<double> features(out.n_latent);
  for (std::size_t node = 0; node < n_nodes; node++) {
    const int i = s.atoms[node], species = map[atom->type[i]];
    read_latent(node, features);
    *out.latent_distance.rows[i] = space.distance(species, features);
    *out.relative_distance.rows[i] = space.relative_distance(species, features, *out.latent_distance.rows[i]);
    *out.outside_std.rows[i] = s.force_unit * space.outside_std(*out.relative_distance.rows[i]);
  }
}

// Of `latent_atom`; zeros where the model does not describe it.
double *PairMollifield::latent_row()
{
  auto &s = *state;
  auto &out = s.outputs;
  out.latent.assign(out.n_latent, 0.0);
  const bool is_known = out.latent_atom >= 0 && out.latent_atom < static_cast<int>(s.node.size());
  if (is_known && s.node[out.latent_atom] >= 0 && s.node[out.latent_atom] < s.graph.n_local)
    read_latent(s.node[out.latent_atom], out.latent);
  return out.latent.data();
}

void *PairMollifield::extract(const char *name, int &dim)
{
  auto &s = *state;
  auto &out = s.outputs;
  const std::string key = name;
  dim = 0;
  out.has_latent_references = s.potential && s.potential->latent_space().has_references();
  out.has_noise_head = s.potential && s.potential->has_noise_head();
  if (key == "calibration")
    return s.potential ? const_cast<mollifield::Calibration *>(&s.potential->calibration()) : nullptr;
  const std::map<std::string, void *> scalars = {{"n_members", &s.n_members},
                                                 {"force_std_flag", &s.force_std_flag},
                                                 {"energy_unit", &s.energy_unit},
                                                 {"length_unit", &s.length_unit},
                                                 {"force_mean_flag", &s.force_std_flag},
                                                 {"n_latent", &out.n_latent},
                                                 {"latent_atom", &out.latent_atom},
                                                 {"force_covariance_flag", &s.force_std_flag},
                                                 {"aleatoric_std_flag", &s.force_std_flag},
                                                 {"aleatoric_covariance_flag", &s.force_std_flag},
                                                 {"has_noise_head", &out.has_noise_head},
                                                 {"force_interval_flag", &s.force_std_flag},
                                                 {"latent_distance_flag", &s.force_std_flag},
                                                 {"relative_distance_flag", &s.force_std_flag},
                                                 {"has_latent_references", &out.has_latent_references}};
  const auto scalar = scalars.find(key);
  if (scalar != scalars.end()) return scalar->second;
  dim = 1;
  if (key == "latent") return latent_row();
  const std::map<std::string, void *> arrays = {{"type_symbols", s.type_symbols.data()},
                                                {"force_std", out.force_std.block.data()},
                                                {"force_std_raw", out.force_std_raw.block.data()},
                                                {"force_interval", out.force_interval.block.data()},
                                                {"force_mean", out.force_mean.block.data()},
                                                {"force_covariance", out.force_covariance.block.data()},
                                                {"aleatoric_std", out.aleatoric_std.block.data()},
                                                {"latent_distance", out.latent_distance.block.data()},
                                                {"outside_std", out.outside_std.block.data()},
                                                {"relative_distance", out.relative_distance.block.data()},
                                                {"type_species", map},
                                                {"aleatoric_covariance", out.aleatoric_covariance.block.data()},
                                                {"energy_noise", out.energy_noise.block.data()},
                                                {"member_forces", s.member_forces.data()},
                                                {"member_energies", out.member_energies.data()},
                                                {"member_virials", out.member_virials.data()}};
  const auto array = arrays.find(key);
  return array == arrays.end() ? nullptr : array->second;
}

// `fix pair` asks for the number of columns before there is a model, and takes a null pointer later for an error.
void *PairMollifield::extract_peratom(const char *name, int &n_columns)
{
  auto &out = state->outputs;
  const std::string key = name;
  const bool current = out.step == update->ntimestep;
  n_columns = 0;
  if (key == "force_std" && current) return out.force_std.block.data();
  if (key == "force_interval" && current) return out.force_interval.block.data();
  if (key == "aleatoric_std" && current) return out.aleatoric_std.block.data();
  if (key == "latent_distance" && current) return out.latent_distance.block.data();
  if (key == "relative_distance" && current) return out.relative_distance.block.data();
  AtomValues *matrices = nullptr;
  if (key == "force_covariance") matrices = &out.force_covariance;
  if (key == "aleatoric_covariance") matrices = &out.aleatoric_covariance;
  if (matrices) n_columns = 6;
  if (key == "force_mean") {
    matrices = &out.force_mean;
    n_columns = 3;
  }
  return matrices && current ? matrices->rows.data() : nullptr;
}
