#include "implementation.hpp"

#include <torch/library.h>

#include <cstdlib>

#include "operators/cpu/implementation.hpp"
#include "operators/cpu/instruction_sets.hpp"
#include "operators/cuda/device_compiler.hpp"
#include "operators/cuda/implementation.hpp"
#include "operators/reference/implementation.hpp"

namespace mollifield::operators {
namespace {

constexpr const char *kReference = "reference";

bool reference_is_asked_for()
{
  static const bool asked = [] {
    const char *wish = std::getenv("MOLLIFIELD_ISA");
    return wish && std::string(wish) == kReference;
  }();
  return asked;
}

// What runs on the CPU.
std::string instruction_set() { return reference_is_asked_for() ? kReference : cpu::instruction_set(); }

// For people: what there is for a GPU, and what runs the operators there.
c10::Dict<std::string, std::string> device_report()
{
  c10::Dict<std::string, std::string> report;
  for (const auto &[key, value] : cuda::device_report()) report.insert(key, value);
  if (reference_is_asked_for()) report.insert_or_assign("operators", kReference);
  return report;
}

}  // namespace

const Implementation &implementation(const at::Tensor &where)
{
  if (reference_is_asked_for()) return reference::implementation();
  if (where.is_cpu()) return cpu::implementation();
  if (where.is_cuda() && cuda::implementation()) return *cuda::implementation();
  return reference::implementation();
}

void check_alike(const char *names, const std::vector<at::Tensor> &tensors)
{
  std::string dtypes, devices;
  bool one_dtype = true, one_device = true;
  for (const at::Tensor &tensor : tensors) {
    one_dtype = one_dtype && tensor.scalar_type() == tensors[0].scalar_type();
    one_device = one_device && tensor.device() == tensors[0].device();
  }
  if (one_dtype && one_device) return;
  for (const at::Tensor &tensor : tensors) {
    const std::string comma = dtypes.empty() ? "" : ", ";
    dtypes += comma + c10::toString(tensor.scalar_type());
    devices += comma + tensor.device().str();
  }
  TORCH_CHECK_TYPE(one_dtype, names, " must share one dtype; found ", dtypes);
  TORCH_CHECK_VALUE(false, names, " must lie on one device; found ", devices);
}

}  // namespace mollifield::operators

TORCH_LIBRARY_FRAGMENT(mollifield, library)
{
  library.def("instruction_sets() -> str[]", mollifield::operators::cpu::instruction_sets);
  library.def("instruction_set() -> str", mollifield::operators::instruction_set);
  library.def("device_report() -> Dict(str, str)", mollifield::operators::device_report);
}
