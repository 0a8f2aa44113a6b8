// What pair style mollifield knows of its members: their forces, the spread, and the names both are read by.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"

#include <cmath>
#include <cstring>
#include <string>

using namespace LAMMPS_NS;

void PairMollifield::sum_member_forces()
{
  auto &s = *state;
  const std::size_t n_edges = s.edge_centre.size();
  s.member_forces.assign(3 * s.n_members * s.owner.size(), 0.0);
  for (int m = 0; m < s.n_members; m++)
    for (std::size_t edge = 0; edge < n_edges; edge++) {
      const double *const g = &s.evaluation.member_edge_gradients[3 * (m * n_edges + edge)];
      double *const fi = &s.member_forces[3 * (s.atoms[s.edge_centre[edge]] * s.n_members + m)];
      double *const fj = &s.member_forces[3 * (s.atoms[s.edge_neighbour[edge]] * s.n_members + m)];
      for (int a = 0; a < 3; a++) {
        fi[a] += s.energy_unit * g[a];
        fj[a] -= s.energy_unit * g[a];
      }
    }
  if (comm->nprocs == 1) return;
  for (s.first_member = 0; s.first_member < s.n_members; s.first_member += MEMBERS_PER_MESSAGE) comm->reverse_comm(this);
}

void PairMollifield::reduce_members()
{
  auto &s = *state;
  const int n_local = atom->nlocal, n_members = s.n_members;
  const double factor = s.potential->calibration_factor("force_std_factor");
  s.force_std.assign(n_local, 0.0);
  s.force_mean.assign(3 * n_local, 0.0);
  s.member_energies = s.evaluation.member_energies;
  for (double &energy : s.member_energies) energy *= s.energy_unit;
  for (int i = 0; i < n_local; i++) {
    const double *const forces = &s.member_forces[3 * i * n_members];
    double squares = 0.0;
    for (int a = 0; a < 3; a++) {
      double mean = 0.0;
      for (int m = 0; m < n_members; m++) mean += forces[3 * m + a] / n_members;
      for (int m = 0; m < n_members; m++) squares += (forces[3 * m + a] - mean) * (forces[3 * m + a] - mean);
      s.force_mean[3 * i + a] = mean;
    }
    if (n_members > 1) s.force_std[i] = factor * std::sqrt(squares / (n_members - 1));
  }
}

void *PairMollifield::extract(const char *name, int &dim)
{
  auto &s = *state;
  dim = 0;
  const std::string key = name;
  if (key == "n_members") return &s.n_members;
  if (key == "force_std_flag") return &s.force_std_flag;
  if (key == "energy_unit") return &s.energy_unit;
  if (key == "energy_std_factor") return &s.energy_std_factor;
  dim = 1;
  if (key == "type_symbols") return s.type_symbols.data();
  if (key == "force_std") return s.force_std.data();
  if (key == "force_mean") return s.force_mean.data();
  if (key == "member_energies") return s.member_energies.data();
  return nullptr;
}

void *PairMollifield::extract_peratom(const char *name, int &n_columns)
{
  n_columns = 0;
  return strcmp(name, "force_std") == 0 ? state->force_std.data() : nullptr;
}
