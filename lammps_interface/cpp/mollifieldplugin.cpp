// Entry of the LAMMPS plugin: refuses a LAMMPS of another version or with other integers, registers the two styles.
#include "fix_mollifield_uncertainty.h"
#include "pair_mollifield.h"

#include "error.h"
#include "lammps.h"

using namespace LAMMPS_NS;

namespace {

// lammpsplugin.h of the LAMMPS source tree, which installations leave out
// (https://docs.lammps.org/Developer_plugins.html).
struct PluginDescription {
  const char *version, *style, *name, *info, *author;
  void *creator;  // a union of function pointers in LAMMPS
  void *handle;
};
using RegisterPlugin = void (*)(PluginDescription *, void *);

// Of the C interface, which a program may hide.
extern "C" __attribute__((weak)) int lammps_extract_setting(void *, const char *);

// Bytes of an integer type in the program that loads the plugin; what is expected where it cannot be asked.
int size_in(LAMMPS *lmp, const char *type, int expected)
{
  return lammps_extract_setting ? lammps_extract_setting(lmp, type) : expected;
}

Pair *create_pair(LAMMPS *lmp) { return new PairMollifield(lmp); }
Fix *create_fix(LAMMPS *lmp, int narg, char **arg) { return new FixMollifieldUncertainty(lmp, narg, arg); }

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *instance, void *handle, void *registrar)
{
  auto *lmp = static_cast<LAMMPS *>(instance);
  // Styles share memory layout with LAMMPS classes, which change between versions without a link error.
  if (lmp->num_ver != MOLLIFIELD_LAMMPS_VERSION)
    lmp->error->all(FLERR,
                    "mollifieldplugin.so was built for LAMMPS {}, this is LAMMPS {} ({}); rebuild it for this one",
                    MOLLIFIELD_LAMMPS_VERSION, lmp->num_ver, lmp->version);
  const int id = size_in(lmp, "tagint", sizeof(tagint)), count = size_in(lmp, "bigint", sizeof(bigint));
  if (id != sizeof(tagint) || count != sizeof(bigint))
    lmp->error->all(FLERR,
                    "mollifieldplugin.so was built for {}-bit atom IDs and {}-bit counts, this LAMMPS has {} and {}; "
                    "rebuild it with LAMMPS_BIGBIG as LAMMPS was built",
                    8 * sizeof(tagint), 8 * sizeof(bigint), 8 * id, 8 * count);
  const auto register_plugin = reinterpret_cast<RegisterPlugin>(registrar);
  PluginDescription plugin = {lmp->version,
                              "pair",
                              "mollifield",
                              "pair style mollifield",
                              "Mollifield developers",
                              reinterpret_cast<void *>(&create_pair),
                              handle};
  register_plugin(&plugin, lmp);
  plugin.style = "fix";
  plugin.name = "mollifield/uncertainty";
  plugin.info = "fix style mollifield/uncertainty";
  plugin.creator = reinterpret_cast<void *>(&create_fix);
  register_plugin(&plugin, lmp);
}
