#include "fix_mollifield_settings.h"

#include "atom.h"
#include "error.h"
#include "lammps.h"
#include "utils.h"

#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <vector>

using namespace LAMMPS_NS;

namespace {

using Words = std::vector<std::string>;
const Words STOP_KINDS = {"hard", "soft", "continue"};
const Words NO_YES = {"no", "yes"};

// Those of the quantities that a condition picks.
Words quantity_keys(const std::function<bool(const Quantity &)> &picks = [](const Quantity &) { return true; })
{
  Words keys;
  for (const Quantity &quantity : quantities())
    if (picks(quantity)) keys.push_back(quantity.key);
  return keys;
}

// One pass over the arguments.
class Reader {
 public:
  Reader(LAMMPS *lmp, int narg, char **arg) : error(lmp->error), n_types(lmp->atom->ntypes), words(arg, arg + narg) {}

  UncertaintySettings read();

 private:
  Error *error;
  int n_types;
  Words words;
  std::size_t next = 4;
  std::set<std::string> seen;
  UncertaintySettings settings;

  const std::string &value(const std::string &key);
  int choice(const std::string &key, const Words &allowed);
  double number(const std::string &key);
  bigint count(const std::string &key, bigint least);
  void read_elements();
  void read_bias();
  void check_dependencies();
};

const std::string &Reader::value(const std::string &key)
{
  if (next >= words.size()) error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' has no value", key);
  return words[next++];
}

int Reader::choice(const std::string &key, const Words &allowed)
{
  const std::string &word = value(key);
  for (std::size_t k = 0; k < allowed.size(); k++)
    if (word == allowed[k]) return static_cast<int>(k);
  error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' needs one of {}; found '{}'", key,
             utils::join_words(allowed, ", "), word);
  return 0;
}

double Reader::number(const std::string &key)
{
  const std::string &text = value(key);
  char *end = nullptr;
  const double found = strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0' || !std::isfinite(found) || found < 0.0)
    error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' needs a number that is not negative, found '{}'", key,
               text);
  return found;
}

bigint Reader::count(const std::string &key, bigint least)
{
  const std::string &text = value(key);
  char *end = nullptr;
  errno = 0;
  const long long found = strtoll(text.c_str(), &end, 10);
  if (end == text.c_str() || *end != '\0' || errno != 0 || found < least || found > MAXBIGINT)
    error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' needs a whole number of at least {}, found '{}'", key,
               least, text);
  return found;
}

void Reader::read_elements()
{
  for (int type = 1; type <= n_types; type++) {
    if (next >= words.size())
      error->all(FLERR,
                 "Fix mollifield/uncertainty: keyword 'elements' needs one element for each of {} atom types, "
                 "found {}",
                 n_types, type - 1);
    const std::string &element = words[next++];
    if (!utils::strmatch(element, "^[A-Z][a-z]?$"))
      error->all(FLERR,
                 "Fix mollifield/uncertainty: keyword 'elements' needs a chemical symbol for type {}, found '{}'", type,
                 element);
    settings.elements.push_back(element);
  }
}

void Reader::read_bias()
{
  settings.biased = true;
  settings.bias = number("bias");
  if (next >= words.size() || words[next] != "ramp") return;
  next++;
  settings.ramp = count("bias ramp", 1);
}

void Reader::check_dependencies()
{
  const auto needs = [&](const char *key, const char *other) {
    if (seen.count(key) && !seen.count(other))
      error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' needs keyword '{}'", key, other);
  };
  for (const char *key : {"select", "append", "elements", "max_frames", "min_gap", "novelty"}) needs(key, "file");
  needs("error", "stop");
  if (seen.count("reduce") && settings.quantity->is_global()) {
    const Words allowed = quantity_keys([](const Quantity &quantity) { return !quantity.is_global(); });
    error->all(FLERR,
               "Fix mollifield/uncertainty: keyword 'reduce' has no meaning with quantity {}, which is one "
               "number for all atoms; allowed with {}",
               settings.quantity->key, utils::join_words(allowed, ", "));
  }
}

UncertaintySettings Reader::read()
{
  const std::map<std::string, std::function<void(const std::string &)>> keywords = {
      {"quantity", [&](auto &key) { settings.quantity = &quantities()[choice(key, quantity_keys())]; }},
      {"reduce",
       [&](auto &key) { settings.reduction = Reduction(choice(key, {REDUCTIONS.begin(), REDUCTIONS.end()})); }},
      {"calibrated", [&](auto &key) { settings.calibrated = choice(key, NO_YES) == 1; }},
      {"file", [&](auto &key) { settings.file = value(key); }},
      {"append", [&](auto &key) { settings.append = choice(key, NO_YES) == 1; }},
      {"elements", [&](auto &) { read_elements(); }},
      {"select", [&](auto &key) { settings.select = number(key); }},
      {"max_frames", [&](auto &key) { settings.max_frames = count(key, 1); }},
      {"min_gap", [&](auto &key) { settings.min_gap = count(key, 0); }},
      {"novelty", [&](auto &key) { settings.novelty = number(key); }},
      {"stop", [&](auto &key) { settings.stop = number(key); }},
      {"error", [&](auto &key) { settings.stop_kind = UncertaintySettings::StopKind(choice(key, STOP_KINDS)); }},
      {"bias", [&](auto &) { read_bias(); }},
  };
  Words names;
  for (const auto &entry : keywords) names.push_back(entry.first);

  if (words.size() < 4) error->all(FLERR, "Fix mollifield/uncertainty: N, the steps between its outputs, is missing");
  next = 3;
  const bigint every = count("N", 1);
  if (every > INT_MAX)
    error->all(FLERR, "Fix mollifield/uncertainty: keyword 'N' is at most {}, found '{}'", INT_MAX, words[3]);
  settings.every = static_cast<int>(every);
  while (next < words.size()) {
    const std::string key = words[next++];
    const auto found = keywords.find(key);
    if (found == keywords.end())
      error->all(FLERR, "Fix mollifield/uncertainty: unknown keyword '{}'; allowed: {}{}", key,
                 utils::join_words(names, ", "), key == "ramp" ? " ('ramp n' stands right after 'bias tau')" : "");
    if (!seen.insert(key).second) error->all(FLERR, "Fix mollifield/uncertainty: keyword '{}' is repeated", key);
    found->second(key);
  }
  settings.stops = seen.count("stop") > 0;
  check_dependencies();
  return settings;
}

}  // namespace

UncertaintySettings LAMMPS_NS::read_uncertainty_settings(LAMMPS *lmp, int narg, char **arg)
{
  return Reader(lmp, narg, arg).read();
}
