// Entry of the LAMMPS plugin: refuses a LAMMPS of another version, registers the two styles.
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
  void *creator;    // a union of function pointers in LAMMPS
  void *handle;
};
using RegisterPlugin = void (*)(PluginDescription *, void *);

Pair *create_pair(LAMMPS *lmp) { return new PairMollifield(lmp); }
Fix *create_fix(LAMMPS *lmp, int narg, char **arg) { return new FixMollifieldUncertainty(lmp, narg, arg); }

}    // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *instance, void *handle, void *registrar)
{
  auto *lmp = static_cast<LAMMPS *>(instance);
  // Styles share memory layout with LAMMPS classes, which change between versions without a link error.
  if (lmp->num_ver != MOLLIFIELD_LAMMPS_VERSION)
    lmp->error->all(FLERR, "mollifieldplugin.so was built for LAMMPS {}, this is LAMMPS {} ({}); rebuild it for this one",
                    MOLLIFIELD_LAMMPS_VERSION, lmp->num_ver, lmp->version);
  const auto register_plugin = reinterpret_cast<RegisterPlugin>(registrar);
  PluginDescription plugin = {lmp->version,        "pair", "mollifield", "pair style mollifield", "Mollifield developers",
                              reinterpret_cast<void *>(&create_pair), handle};
  register_plugin(&plugin, lmp);
  plugin.style = "fix";
  plugin.name = "mollifield/uncertainty";
  plugin.info = "fix style mollifield/uncertainty";
  plugin.creator = reinterpret_cast<void *>(&create_fix);
  register_plugin(&plugin, lmp);
}
