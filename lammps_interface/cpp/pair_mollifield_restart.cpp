// Restart files of pair style mollifield: what the pair_style and pair_coeff lines said, and the model's checksum.
#include "pair_mollifield_state.h"

#include "atom.h"
#include "comm.h"
#include "error.h"

using namespace LAMMPS_NS;

namespace {

void write_text(FILE *fp, const std::string &text)
{
  const int size = static_cast<int>(text.size());
  fwrite(&size, sizeof(int), 1, fp);
  fwrite(text.data(), 1, text.size(), fp);
}

}  // namespace

std::string PairMollifield::read_text(FILE *fp)
{
  int size = 0;
  if (comm->me == 0) utils::sfread(FLERR, &size, sizeof(int), 1, fp, nullptr, error);
  MPI_Bcast(&size, 1, MPI_INT, 0, world);
  std::string text(size, ' ');
  if (comm->me == 0 && size > 0) utils::sfread(FLERR, text.data(), 1, size, fp, nullptr, error);
  MPI_Bcast(text.data(), size, MPI_CHAR, 0, world);
  return text;
}

void PairMollifield::write_restart(FILE *fp) { write_restart_settings(fp); }

void PairMollifield::write_restart_settings(FILE *fp)
{
  const auto &s = *state;
  const std::string checksum = s.potential ? s.potential->checksum() : s.restart_checksum;
  for (const auto &text : {s.settings, s.model_name, checksum, s.elements}) write_text(fp, text);
}

// All that a hybrid style asks for: its pair_coeff has to be given again, and its model is checked then.
void PairMollifield::read_restart_settings(FILE *fp)
{
  auto &s = *state;
  std::vector<std::string> words = utils::split_words(read_text(fp));
  std::vector<char *> arguments;
  for (std::string &word : words) arguments.push_back(word.data());
  settings(static_cast<int>(arguments.size()), arguments.data());
  s.model_name = read_text(fp);
  s.restart_checksum = read_text(fp);
  s.elements = read_text(fp);
}

// A model that is missing or another one is no error yet: pair_coeff may still name the right file.
void PairMollifield::read_restart(FILE *fp)
{
  auto &s = *state;
  read_restart_settings(fp);
  allocate();
  s.restart_problem = s.model_name.empty() ? "no pair_coeff was given" : load_model(s.model_name);
  if (s.restart_problem.empty()) {
    map_types(utils::split_words(s.elements));
    return;
  }
  for (int i = 1; i <= atom->ntypes; i++)
    for (int j = i; j <= atom->ntypes; j++) setflag[i][j] = 1;
  if (comm->me == 0) error->warning(FLERR, "Pair style mollifield of the restart file: {}", s.restart_problem);
}

// Of a model that takes the place of the one in the restart file.
std::string PairMollifield::wrong_checksum(const std::string &path) const
{
  const auto &s = *state;
  if (s.restart_checksum.empty() || s.restart_checksum == s.potential->checksum()) return "";
  return fmt::format("model file '{}' has checksum {}, the restart file was written with a model of checksum {}; "
                     "to change the model on purpose, give 'pair_style none' first",
                     path, s.potential->checksum(), s.restart_checksum);
}
