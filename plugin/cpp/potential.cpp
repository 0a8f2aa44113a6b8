#include "archive.hpp"
#include "devices.hpp"
#include "outputs.hpp"
#include "potential_implementation.hpp"
#include "transfer.hpp"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace mollifield {

namespace {

// Threads of torch are a setting of the whole process, which belongs to the host program: put them back.
class ThreadGuard {
 public:
  explicit ThreadGuard(int threads) : previous(at::get_num_threads())
  {
    if (previous != threads) at::set_num_threads(threads);
  }
  ~ThreadGuard()
  {
    if (at::get_num_threads() != previous) at::set_num_threads(previous);
  }
  ThreadGuard(const ThreadGuard &) = delete;
  ThreadGuard &operator=(const ThreadGuard &) = delete;

 private:
  int previous;
};

Differentiated evaluate_whole(torch::jit::Module &module, const StageInputs &inputs, const Seeds &seeds)
{
  const Outputs outputs(module.forward({inputs.edge_vectors, inputs.edge_index, inputs.types}));
  Differentiated result;
  result.atomic_energies = outputs[contract::ATOMIC_ENERGIES];
  result.latent = outputs[contract::LATENT].detach();
  result.noise_features = outputs.noise_features();
  if (inputs.edge_vectors.size(1) == 0) return result;
  std::vector<at::Tensor> found;
  const auto energies = seeded_energies(result.atomic_energies, inputs.n_local, seeds);
  for (const at::Tensor &energy : energies)
    found.push_back(torch::autograd::grad({energy}, {inputs.edge_vectors}, {}, found.size() + 1 < energies.size())[0]);
  result.edge_gradients = at::cat(found);
  return result;
}

// The profiling executor specialises and recompiles for shapes, and edge counts change at every neighbour
// list. An executor is chosen once, when a method first runs, so the mode is only set until then.
class PlainExecutorGuard {
 public:
  PlainExecutorGuard() :
      profiling(torch::jit::getProfilingMode().exchange(false)), executor(torch::jit::getExecutorMode().exchange(true))
  {}
  ~PlainExecutorGuard()
  {
    torch::jit::getProfilingMode() = profiling;
    torch::jit::getExecutorMode() = executor;
  }
  PlainExecutorGuard(const PlainExecutorGuard &) = delete;
  PlainExecutorGuard &operator=(const PlainExecutorGuard &) = delete;

 private:
  bool profiling, executor;
};

int default_threads()
{
  const char *text = std::getenv("OMP_NUM_THREADS");
  const int asked = text ? std::atoi(text) : 0;
  return asked > 0 ? asked : 1;
}

// what() of a c10::Error carries a C++ backtrace; its first line is the message.
std::string first_line(const std::exception &error)
{
  const auto *torch_error = dynamic_cast<const c10::Error *>(&error);
  const std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
  const std::size_t begin = std::min(text.find_first_not_of(" \n"), text.size());  // TorchScript's begin with a break
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

std::vector<double> to_vector(const at::Tensor &tensor)
{
  const at::Tensor plain = to_host(tensor.to(at::kDouble));
  return {plain.data_ptr<double>(), plain.data_ptr<double>() + plain.numel()};
}

void Potential::Implementation::read_attributes()
{
  const auto version = attribute(contract::FORMAT_VERSION_KEY).toInt();
  std::string readable;
  for (const int known : contract::READABLE_VERSIONS)
    readable += (readable.empty() ? "" : ", ") + std::to_string(known);
  if (std::ranges::find(contract::READABLE_VERSIONS, version) == std::ranges::end(contract::READABLE_VERSIONS))
    throw std::runtime_error("its format version is " + std::to_string(version) + ", this build reads " + readable);
  for (const c10::IValue &symbol : attribute(contract::SPECIES_KEY).toListRef())
    species.push_back(symbol.toStringRef());
  r_max = attribute(contract::R_MAX_KEY).toDouble();
  n_layers = static_cast<int>(attribute(contract::N_LAYERS_KEY).toInt());
  n_members = static_cast<int>(attribute(contract::N_MEMBERS_KEY).toInt());
  dtype_name = attribute(contract::DTYPE_KEY).toStringRef();
  shared_trunk = module.hasattr(contract::SHARED_TRUNK_KEY) && attribute(contract::SHARED_TRUNK_KEY).toBool();
  if (shared_trunk && module.hasattr(contract::BASIS_KEY)) {
    basis = attribute(contract::BASIS_KEY).toTensor();
    mixing = attribute(contract::MIXING_KEY).toTensor();
    if (basis.dim() != 1 || mixing.dim() != 2 || mixing.size(0) != n_members || mixing.size(1) != basis.size(0))
      throw std::runtime_error("its basis of members and their mixing do not fit each other");
  }
  if (module.hasattr("labels"))
    for (const c10::IValue &label : attribute("labels").toListRef()) labels.push_back(label.toStringRef());
  check_attributes();
  calibration = read_calibration(module, static_cast<int>(species.size()));
  latent_space = read_latent_space(module, static_cast<int>(species.size()));
  dtype = dtype_name == "float64" ? at::kDouble : at::kFloat;
}

void Potential::Implementation::check_attributes() const
{
  if (dtype_name != "float32" && dtype_name != "float64")
    throw std::runtime_error("its dtype is '" + dtype_name + "'; allowed: float32, float64");
  if (species.empty()) throw std::runtime_error("its list of species is empty");
  if (!(r_max > 0.0) || !std::isfinite(r_max)) throw std::runtime_error("its r_max is not a positive number");
  if (n_layers < 1) throw std::runtime_error("its n_layers is " + std::to_string(n_layers) + ", not at least 1");
  if (n_members < 1) throw std::runtime_error("its n_members is " + std::to_string(n_members) + ", not at least 1");
}

// Small systems pay for every call into torch, so constants are computed once.
void Potential::Implementation::freeze()
{
  auto methods = StagedEvaluation::is_possible(module) ? StagedEvaluation::METHODS : std::vector<std::string>{};
  if (has_noise_head()) methods.push_back(contract::NOISE_METHOD);
  frozen = torch::jit::freeze(module, methods);
  methods.push_back("forward");
  for (const auto &name : methods) torch::jit::toGraphFunction(frozen.get_method(name).function()).get_executor();
}

// Replaces the module by a copy in which tensors with a member dimension hold member k alone.
void Potential::Implementation::keep_member(int k)
{
  const auto names = attribute(contract::MEMBER_TENSORS_KEY).toListRef();
  module = module.deepcopy();
  for (const c10::IValue &entry : names) {
    const std::string name = entry.toStringRef();
    const std::size_t dot = name.rfind('.');
    torch::jit::Module owner = module;
    for (std::size_t at = 0; dot != std::string::npos && at < dot;) {
      const std::size_t end = name.find('.', at);
      owner = owner.attr(name.substr(at, end - at)).toModule();
      at = end + 1;
    }
    const std::string leaf = name.substr(dot == std::string::npos ? 0 : dot + 1);
    const at::Tensor tensor = owner.attr(leaf).toTensor();
    if (tensor.dim() == 0 || tensor.size(0) != n_members)
      throw std::runtime_error("its tensor '" + name + "' has no dimension of " + std::to_string(n_members) +
                               " members");
    owner.setattr(leaf, tensor.narrow(0, k, 1).clone());
  }
  only_member = k;
  n_members = 1;
  members.clear();
  basis = mixing = at::Tensor();
}

namespace {

Evaluation collect(const Request &request, std::int64_t n_local, bool with_noise, const Differentiated &outputs)
{
  const auto energies = outputs.atomic_energies.detach().narrow(1, 0, n_local);  // [M, n_local]
  const double n_members = static_cast<double>(energies.size(0));
  Evaluation result;
  result.atomic_energies = to_vector(energies.mean(0));
  result.member_energies = to_vector(energies.sum(1));
  if (request.members) {
    result.member_atomic_energies = to_vector(energies);
    const auto keep = [n_local](Features &features, const at::Tensor &found) {
      features.n_trunks = found.size(0);
      features.n_atoms = n_local;
      put_features(features, found.narrow(1, 0, n_local), 0, nullptr);
    };
    keep(result.latent, outputs.latent);
    if (with_noise) keep(result.noise_features, outputs.noise_features);
  }
  if (!outputs.edge_gradients.defined()) return result;
  result.edge_gradients = to_vector(outputs.edge_gradients.sum(0) / n_members);
  if (request.members) result.member_edge_gradients = to_vector(outputs.edge_gradients);
  if (outputs.edge_moments.defined()) result.edge_moments = to_vector(outputs.edge_moments.sum(1) / n_members);
  return result;
}

}  // namespace

bool Potential::Implementation::has_stages() const { return StagedEvaluation::is_possible(frozen); }

Differentiated Potential::Implementation::differentiate(StageInputs &inputs, const Request &request) const
{
  // The caller may sit inside a no_grad region of its own.
  const at::AutoGradMode with_gradients(true);
  const bool by_member = request.members && shared_trunk;
  const std::int64_t n_geometries = request.members && !shared_trunk ? n_members : 1;
  inputs.edge_vectors = inputs.edge_vectors.to(dtype, false, true);
  if (n_geometries > 1) inputs.edge_vectors = inputs.edge_vectors.expand({n_geometries, -1, -1}).contiguous();
  inputs.edge_vectors.requires_grad_(true);

  const bool moments = request.moments && n_layers > 1;
  if ((request.halo || moments) && !has_stages())
    throw std::runtime_error("it cannot be evaluated layer by layer: it was written by an older release");
  const Seeds seeds{by_member, basis, mixing, moments};
  Differentiated result;
  if (request.halo || moments) {
    StagedEvaluation stages(frozen, n_layers, inputs, seeds);
    evaluate_in_stages(stages, n_layers, inputs, request.halo);
    result = {stages.atomic_energies, stages.latent, stages.noise_features, stages.edge_gradients, stages.edge_moments};
  } else {
    result = evaluate_whole(frozen, inputs, seeds);
  }
  if (by_member) mix_members(result.edge_gradients);
  return result;
}

Evaluation Potential::Implementation::evaluate(const Graph &graph, const Request &request) const
{
  if (request.edges) return evaluate_stream(graph, request);
  const std::int64_t n_edges = graph.n_edges(), n_atoms = graph.n_atoms();
  // `graph` outlives these tensors, and nothing writes to them.
  StageInputs inputs;
  inputs.edge_vectors = to_device(graph.edge_vectors.data(), {1, n_edges, 3}, at::kDouble, device);
  inputs.edge_index = to_device(graph.edge_index.data(), {2, n_edges}, at::kLong, device);
  inputs.types = to_device(graph.types.data(), {n_atoms}, at::kLong, device);
  inputs.n_centres = request.halo ? graph.n_local : n_atoms;
  inputs.n_local = graph.n_local;
  if (request.halo) {
    const auto &asked = request.halo->asked();
    inputs.asked = to_device(asked.data(), {static_cast<std::int64_t>(asked.size())}, at::kLong, device);
  }
  return collect(request, graph.n_local, has_noise_head(), differentiate(inputs, request));
}

// Those of the basis to those of all members.
void Potential::Implementation::mix_members(at::Tensor &edge_gradients) const
{
  if (mixing.defined() && edge_gradients.defined())
    edge_gradients = at::tensordot(mixing.to(edge_gradients.options()), edge_gradients, {1}, {0});
}

bool Potential::Implementation::has_noise_head() const
{
  return module.find_method(contract::NOISE_METHOD).has_value();
}

Noise Potential::Implementation::noise(const Graph &graph, const Evaluation &evaluation,
                                       const std::vector<double> &forces) const
{
  const at::NoGradGuard without_gradients;
  const std::int64_t n = graph.n_local, n_trunks = shared_trunk ? 1 : n_members;
  const auto on_device = [&](const void *values, at::IntArrayRef sizes, at::ScalarType type) {
    return to_device(values, sizes, type, device);
  };
  const Features &read = evaluation.noise_features;
  const void *const values =
      read.singles.empty() ? static_cast<const void *>(read.doubles.data()) : read.singles.data();
  const auto found =
      frozen
          .get_method(contract::NOISE_METHOD)(
              {on_device(values, {n_trunks, n, static_cast<std::int64_t>(read.width)}, dtype),
               on_device(graph.types.data(), {n}, at::kLong), on_device(forces.data(), {n, 3}, at::kDouble)})
          .toGenericDict();
  const at::Tensor covariances = found.at(contract::FORCE_NOISE).toTensor().mean(0).flatten(1);  // [N, 9]
  const at::Tensor columns = at::tensor({0, 4, 8, 1, 2, 5}, at::kLong).to(device);
  return {to_vector(found.at(contract::ENERGY_NOISE).toTensor().mean(0)),
          to_vector(covariances.index_select(1, columns))};
}

Potential::Potential(const std::string &path, const Options &options) : impl(std::make_unique<Implementation>())
{
  impl->path = path;
  if (!std::ifstream(path).good()) throw std::runtime_error("model file '" + path + "' cannot be opened");
  impl->threads = options.threads > 0 ? options.threads : default_threads();
  try {
    impl->device = choose_device(options.device);
    impl->device_name = impl->device.str();
  } catch (const std::exception &error) {
    throw std::runtime_error(first_line(error));
  }
  const ThreadGuard thread_guard(impl->threads);
  const PlainExecutorGuard executor_guard;
  bool unexported = false;
  try {
    impl->checksum = check_archive(path);
    unexported = is_training_checkpoint(path);
    if (!unexported) impl->module = torch::jit::load(path, impl->device);
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + path +
                             "' is truncated, corrupt or not a model exported by mollifield: " + first_line(error));
  }
  if (unexported)
    throw std::runtime_error("'" + path + "' is a training checkpoint, not an exported model; write one with " +
                             "'mollifield export RUN_DIRECTORY -o model.pt'");
  try {
    impl->verified = options.verify;
    impl->module.eval();
    for (at::Tensor parameter : impl->module.parameters()) parameter.requires_grad_(false);
    impl->read_attributes();
    impl->freeze();
    if (options.verify) impl->verify();
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + path + "': " + first_line(error));
  }
}

Potential::Potential(std::unique_ptr<Implementation> implementation) : impl(std::move(implementation)) {}

Potential::~Potential() = default;

const std::vector<std::string> &Potential::species() const { return impl->species; }
const Calibration &Potential::calibration() const { return impl->calibration; }
const std::vector<std::string> &Potential::labels() const { return impl->labels; }
const LatentSpace &Potential::latent_space() const { return impl->latent_space; }
double Potential::r_max() const { return impl->r_max; }
int Potential::n_layers() const { return impl->n_layers; }
int Potential::n_members() const { return impl->n_members; }
int Potential::n_trunks() const { return impl->shared_trunk ? 1 : impl->n_members; }
const std::string &Potential::checksum() const { return impl->checksum; }
const std::string &Potential::dtype() const { return impl->dtype_name; }
const std::string &Potential::device() const { return impl->device_name; }

bool Potential::has_stages() const { return impl->has_stages(); }
bool Potential::has_noise_head() const { return impl->has_noise_head(); }

Noise Potential::noise(const Graph &graph, const Evaluation &evaluation, const std::vector<double> &forces) const
{
  const ThreadGuard thread_guard(impl->threads);
  try {
    return impl->noise(graph, evaluation, forces);
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + impl->path + "': its noise head failed: " + first_line(error));
  }
}

template <typename F> Evaluation Potential::run(F evaluation) const
{
  const ThreadGuard thread_guard(impl->threads);
  try {
    return evaluation();
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + impl->path + "': evaluation failed: " + first_line(error));
  }
}

Evaluation Potential::evaluate(const Graph &graph, const Request &request) const
{
  return run([&] { return impl->evaluate(graph, request); });
}

Evaluation Potential::evaluate(const ResidentGraph &graph, const double *positions, double unit,
                               const Request &request) const
{
  return run([&] { return impl->evaluate(graph, positions, unit, request); });
}

std::unique_ptr<Potential> Potential::member(int k) const
{
  if (k < 0 || k >= n_members())
    throw std::runtime_error("model file '" + impl->path + "' has no member " + std::to_string(k) + "; allowed: 0 to " +
                             std::to_string(n_members() - 1));
  const ThreadGuard thread_guard(impl->threads);
  return std::unique_ptr<Potential>(new Potential(impl->single(k, impl->verified)));
}

std::unique_ptr<Potential::Implementation> Potential::Implementation::single(int k, bool with_verification) const
{
  auto found = std::make_unique<Implementation>(*this);
  const PlainExecutorGuard executor_guard;
  try {
    found->keep_member(k);
    found->freeze();
    if (with_verification) found->verify();
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + path + "', member " + std::to_string(k) + ": " + first_line(error));
  }
  return found;
}

int Potential::n_cuda_devices() { return mollifield::n_cuda_devices(); }

}  // namespace mollifield
