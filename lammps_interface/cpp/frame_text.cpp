#include "frame_text.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "frames_reader.h"
#include "update.h"

#include <algorithm>
#include <numeric>

using namespace LAMMPS_NS;

namespace {

// What travels to rank 0 for each atom: tag, type, position, mean force, force std, latent distance, aleatoric std.
constexpr int VALUES_PER_ATOM = 11;

class Writer : protected Pointers {
 public:
  Writer(LAMMPS *lmp, const UncertaintySettings &settings, const Committee &committee, const Statistics &statistics) :
      Pointers(lmp), settings(settings), committee(committee), statistics(statistics)
  {}

  std::string text();

 private:
  const UncertaintySettings &settings;
  const Committee &committee;
  const Statistics &statistics;

  std::vector<double> gather_atoms();
  std::string header(std::size_t n);
  const char *symbol(int type) const;
};

// As the frames name it; "X" where nobody said.
const char *Writer::symbol(int type) const
{
  return settings.elements.empty() ? committee.symbol(type) : settings.elements[type - 1].c_str();
}

// [n, VALUES_PER_ATOM] on rank 0, sorted by tag; in eV and Å.
std::vector<double> Writer::gather_atoms()
{
  const double *const force_std = committee.force_std(settings.calibrated),
                      *const mean = committee.read<double>("force_mean"),
                      *const distance = committee.read<double>("latent_distance"),
                      *const noise = committee.read<double>("aleatoric_std");
  const double length_unit = committee.length_unit(), force_unit = committee.force_unit();
  std::vector<double> mine;
  for (int i = 0; i < atom->nlocal; i++) {
    const double *const x = atom->x[i], *const f = &mean[3 * i];
    mine.insert(mine.end(), {static_cast<double>(atom->tag[i]), static_cast<double>(atom->type[i]), x[0] / length_unit,
                             x[1] / length_unit, x[2] / length_unit, f[0] / force_unit, f[1] / force_unit,
                             f[2] / force_unit, force_std[i] / force_unit, distance[i], noise[i] / force_unit});
  }
  const std::vector<double> all = gather(mine, world);
  const std::size_t n = all.size() / VALUES_PER_ATOM;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return all[VALUES_PER_ATOM * a] < all[VALUES_PER_ATOM * b]; });
  std::vector<double> sorted;
  for (const std::size_t k : order)
    sorted.insert(sorted.end(), all.begin() + VALUES_PER_ATOM * k, all.begin() + VALUES_PER_ATOM * (k + 1));
  return sorted;
}

std::string Writer::header(std::size_t n)
{
  const auto &s = statistics;
  const double length_unit = committee.length_unit(), force_unit = committee.force_unit();
  const auto flag = [&](int axis) { return domain->periodicity[axis] ? 'T' : 'F'; };
  const auto vector = [&](double x, double y, double z) {
    return fmt::format("{:.17g} {:.17g} {:.17g}", x / length_unit, y / length_unit, z / length_unit);
  };
  std::string text = fmt::format("{}\nLattice=\"{} {} {}\" Origin=\"{}\" ", n, vector(domain->xprd, 0.0, 0.0),
                                 vector(domain->xy, domain->yprd, 0.0), vector(domain->xz, domain->yz, domain->zprd),
                                 vector(domain->boxlo[0], domain->boxlo[1], domain->boxlo[2]));
  text += fmt::format("pbc=\"{} {} {}\" {} ", flag(0), flag(1), flag(2), std::string(FRAME_COLUMNS));
  text += fmt::format("step={} energy_mean={:.17g} energy_std={:.17g} max_force_std={:.17g} ", update->ntimestep,
                      s.energies.spread.mean, s.energies.spread.std, s.max_force_std / force_unit);
  text += fmt::format("force_noise_std={:.17g} energy_noise_std={:.17g} ", s.aleatoric / force_unit,
                      s.energies.noise_per_atom);
  text += fmt::format("n_outside={} energy_outside={} ", s.n_outside, s.energies.outside(s.n_outside) ? 'T' : 'F');
  const Quantity &quantity = *settings.quantity;
  text += fmt::format("quantity={} reduce={} value={:.17g} trigger={} trigger_value={:.17g}\n", quantity.key,
                      settings.reduction_key(), s.value / quantity.in_run_units(committee), s.trigger,
                      s.trigger_value / quantity_of_trigger(quantity).in_run_units(committee));
  return text;
}

std::string Writer::text()
{
  const std::vector<double> atoms = gather_atoms();
  if (comm->me != 0) return {};
  const std::size_t n = atoms.size() / VALUES_PER_ATOM;
  std::string text = header(n);
  for (std::size_t k = 0; k < n; k++) {
    const double *const v = &atoms[VALUES_PER_ATOM * k];
    text += fmt::format("{} {:.17g} {:.17g} {:.17g} {} {:.17g} {:.17g} {:.17g} {:.17g} {:.17g} {:.17g} {:.17g}\n",
                        symbol(static_cast<int>(v[1])), v[2], v[3], v[4], static_cast<bigint>(v[0]), v[5], v[6], v[7],
                        v[8], v[8] * v[8], v[9], v[10]);
  }
  return text;
}

}  // namespace

std::string LAMMPS_NS::frame_text(LAMMPS *lmp, const UncertaintySettings &settings, const Committee &committee,
                                  const Statistics &statistics)
{
  return Writer(lmp, settings, committee, statistics).text();
}
