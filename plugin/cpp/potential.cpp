#include "potential.hpp"

#include "archive.hpp"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>
#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace mollifield {

namespace {

constexpr int FORMAT_VERSION = 1;    // contract.FORMAT_VERSION

// contract.REFERENCE_TOLERANCE: absolute floor, and the fraction of the largest reference value added to it.
double reference_tolerance(at::ScalarType dtype)
{
  return dtype == at::kDouble ? 1e-9 : 2e-5;
}

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

// The profiling executor specialises and recompiles for shapes, and edge counts change at every neighbour
// list. An executor is chosen once, when a method first runs, so the mode is only set until then.
class PlainExecutorGuard {
 public:
  PlainExecutorGuard() :
      profiling(torch::jit::getProfilingMode().exchange(false)),
      executor(torch::jit::getExecutorMode().exchange(true))
  {
  }
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

torch::Device choose_device(const std::string &name)
{
  if (name == "auto") return torch::cuda::is_available() ? torch::Device("cuda:0") : torch::Device("cpu");
  if (name == "cpu") return {"cpu"};
  if (name == "cuda" || name.rfind("cuda:", 0) == 0) {
    if (!torch::cuda::is_available())
      throw std::runtime_error("device '" + name + "': this libtorch finds no CUDA device; use cpu or auto");
    return torch::Device(name == "cuda" ? "cuda:0" : name);
  }
  throw std::runtime_error("device '" + name + "' is unknown; allowed: cpu, cuda, cuda:N, auto");
}

// what() of a c10::Error carries a C++ backtrace; its first line is the message.
std::string first_line(const std::exception &error)
{
  const auto *torch_error = dynamic_cast<const c10::Error *>(&error);
  const std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

std::vector<double> to_vector(const at::Tensor &tensor)
{
  const at::Tensor plain = tensor.to(at::kCPU, at::kDouble).contiguous();
  return {plain.data_ptr<double>(), plain.data_ptr<double>() + plain.numel()};
}

at::Tensor attribute_tensor(const c10::impl::GenericDict &frame, const std::string &key)
{
  if (!frame.contains(key)) throw std::runtime_error("a reference frame has no '" + key + "'");
  return frame.at(key).toTensor();
}

}    // namespace

struct Potential::Implementation {
  std::string path;
  torch::jit::Module module;            // as in the file
  mutable torch::jit::Module frozen;    // the same for calls: weights are constants, what depends on them alone folded
  torch::Device device{"cpu"};
  std::string device_name, dtype_name;
  at::ScalarType dtype = at::kFloat;
  std::vector<std::string> species;
  std::map<std::string, double> calibration;
  LatentSpace latent_space;
  double r_max = 0.0;
  int n_layers = 0, n_members = 0, threads = 1;
  int only_member = -1;    // of the file's members, the one in `module`; -1: all
  bool verified = false;

  c10::IValue attribute(const std::string &name) const
  {
    if (!module.hasattr(name)) throw std::runtime_error("it has no attribute '" + name + "'");
    return module.attr(name);
  }

  at::Tensor reference(const c10::impl::GenericDict &frame, const std::string &key) const;
  void keep_member(int k);
  void freeze();
  void read_attributes();
  void check_attributes() const;
  void verify();
  void verify_frame(const c10::impl::GenericDict &frame, std::size_t number) const;
  Evaluation evaluate(const Graph &graph, bool members) const;
};

void Potential::Implementation::read_attributes()
{
  const auto version = attribute("format_version").toInt();
  if (version != FORMAT_VERSION)
    throw std::runtime_error("its format version is " + std::to_string(version) + ", this build reads " +
                             std::to_string(FORMAT_VERSION));
  for (const c10::IValue &symbol : attribute("species").toListRef()) species.push_back(symbol.toStringRef());
  r_max = attribute("r_max").toDouble();
  n_layers = static_cast<int>(attribute("n_layers").toInt());
  n_members = static_cast<int>(attribute("n_members").toInt());
  dtype_name = attribute("dtype").toStringRef();
  for (const auto &entry : attribute("calibration").toGenericDict())
    calibration[entry.key().toStringRef()] = entry.value().toDouble();
  check_attributes();
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
  frozen = torch::jit::freeze(module);
  torch::jit::toGraphFunction(frozen.get_method("forward").function()).get_executor();
}

// Replaces the module by a copy in which tensors with a member dimension hold member k alone.
void Potential::Implementation::keep_member(int k)
{
  const auto names = attribute("member_tensors").toListRef();
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
      throw std::runtime_error("its tensor '" + name + "' has no dimension of " + std::to_string(n_members) + " members");
    owner.setattr(leaf, tensor.narrow(0, k, 1).clone());
  }
  only_member = k;
  n_members = 1;
}

Evaluation Potential::Implementation::evaluate(const Graph &graph, bool members) const
{
  const ThreadGuard thread_guard(threads);
  // The caller may sit inside a no_grad region of its own.
  const at::AutoGradMode with_gradients(true);
  const std::int64_t n_edges = graph.n_edges(), n_atoms = graph.n_atoms();
  const auto longs = torch::TensorOptions().dtype(at::kLong);

  // from_blob does not own: `graph` outlives these tensors, and nothing writes to them.
  auto edge_vectors = torch::from_blob(const_cast<double *>(graph.edge_vectors.data()), {1, n_edges, 3}, at::kDouble)
                          .to(device, dtype, false, true);
  if (members) edge_vectors = edge_vectors.expand({n_members, n_edges, 3}).contiguous();
  edge_vectors.requires_grad_(true);
  const auto edge_index =
      torch::from_blob(const_cast<std::int64_t *>(graph.edge_index.data()), {2, n_edges}, longs).to(device);
  const auto types = torch::from_blob(const_cast<std::int64_t *>(graph.types.data()), {n_atoms}, longs).to(device);

  const auto outputs = frozen.forward({edge_vectors, edge_index, types}).toTuple();
  const at::Tensor atomic_energies = outputs->elements().at(0).toTensor();    // [M, N]
  const at::Tensor energies = atomic_energies.narrow(1, 0, graph.n_local).sum(1);

  Evaluation result;
  result.atomic_energies = to_vector(atomic_energies.detach().mean(0));
  result.member_energies = to_vector(energies.detach());
  if (members) {
    result.member_atomic_energies = to_vector(atomic_energies.detach());
    result.latent = to_vector(outputs->elements().at(1).toTensor().detach().narrow(1, 0, graph.n_local));
  }
  if (n_edges == 0) return result;
  const auto gradients = torch::autograd::grad({energies.sum()}, {edge_vectors})[0];    // [G, E, 3]
  result.edge_gradients = to_vector(gradients.sum(0) / n_members);
  if (members) result.member_edge_gradients = to_vector(gradients);
  return result;
}

namespace {

// Forces [M, N, 3] and virials [M, 3, 3] of contract.py from member gradients [M, E, 3].
std::pair<at::Tensor, at::Tensor> forces_and_virials(const at::Tensor &gradients, const at::Tensor &edge_index,
                                                     const at::Tensor &edge_vectors, std::int64_t n_atoms)
{
  auto forces = at::zeros({gradients.size(0), n_atoms, 3}, at::kDouble);
  forces.index_add_(1, edge_index[0], gradients);
  forces.index_add_(1, edge_index[1], -gradients);
  return {forces, -at::einsum("ea,meb->mab", {edge_vectors, gradients})};
}

void compare(const std::string &name, const at::Tensor &found, const at::Tensor &expected, double per,
             double tolerance, std::size_t frame)
{
  if (found.sizes() != expected.sizes())
    throw std::runtime_error("reference frame " + std::to_string(frame) + ": '" + name + "' has the wrong shape");
  if (expected.numel() == 0) return;
  const double scale = expected.abs().max().item<double>() / per;
  const double deviation = (found - expected).abs().max().item<double>() / per;
  // Written so that a NaN fails.
  if (!(deviation <= tolerance * (1.0 + scale)))
    throw std::runtime_error("reference frame " + std::to_string(frame) + ": recomputed " + name + " deviate by " +
                             std::to_string(deviation) + ", allowed: " + std::to_string(tolerance * (1.0 + scale)) +
                             " (eV, Å); this build does not reproduce the file's own numbers");
}

}    // namespace

// [n_members, ...] of what the frame holds for the members of the file.
at::Tensor Potential::Implementation::reference(const c10::impl::GenericDict &frame, const std::string &key) const
{
  const auto tensor = attribute_tensor(frame, key).to(at::kCPU, at::kDouble);
  return only_member < 0 ? tensor : tensor.narrow(0, only_member, 1);
}

void Potential::Implementation::verify_frame(const c10::impl::GenericDict &frame, std::size_t number) const
{
  const auto edge_vectors = attribute_tensor(frame, "edge_vectors").to(at::kCPU, at::kDouble).contiguous();
  const auto edge_index = attribute_tensor(frame, "edge_index").to(at::kCPU, at::kLong).contiguous();
  const auto types = attribute_tensor(frame, "types").to(at::kCPU, at::kLong).contiguous();
  Graph graph;
  graph.n_local = types.numel();
  graph.types.assign(types.data_ptr<std::int64_t>(), types.data_ptr<std::int64_t>() + types.numel());
  graph.edge_index.assign(edge_index.data_ptr<std::int64_t>(), edge_index.data_ptr<std::int64_t>() + edge_index.numel());
  graph.edge_vectors = to_vector(edge_vectors);

  Evaluation result = evaluate(graph, true);
  const auto energies = torch::from_blob(result.member_energies.data(), {n_members}, at::kDouble);
  const auto gradients =
      torch::from_blob(result.member_edge_gradients.data(),
                       {n_members, static_cast<std::int64_t>(result.member_edge_gradients.size()) / (3 * n_members), 3},
                       at::kDouble);
  const auto [forces, virials] = forces_and_virials(gradients, edge_index, edge_vectors, graph.n_local);
  const double tolerance = reference_tolerance(dtype), n_atoms = std::max<double>(1.0, graph.n_local);
  compare("energies", energies, reference(frame, "energies"), n_atoms, tolerance, number);
  compare("forces", forces, reference(frame, "forces"), 1.0, tolerance, number);
  compare("virials", virials, reference(frame, "virials"), n_atoms, tolerance, number);

  // The path that molecular dynamics takes: shared geometry, mean gradients.
  Evaluation shared = evaluate(graph, false);
  const auto mean = torch::from_blob(shared.edge_gradients.data(), {gradients.size(1), 3}, at::kDouble);
  compare("mean gradients", mean, gradients.mean(0), 1.0, tolerance, number);
}

void Potential::Implementation::verify()
{
  const auto frames = attribute("reference_frames").toListRef();
  if (frames.empty()) throw std::runtime_error("it holds no reference frame to verify this build with");
  for (std::size_t number = 0; number < frames.size(); ++number)
    verify_frame(frames[number].toGenericDict(), number);
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
  try {
    check_archive(path);
    impl->module = torch::jit::load(path, impl->device);
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + path + "' is truncated, corrupt or not a model exported by mollifield: " +
                             first_line(error));
  }
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
const std::map<std::string, double> &Potential::calibration() const { return impl->calibration; }
const LatentSpace &Potential::latent_space() const { return impl->latent_space; }
double Potential::r_max() const { return impl->r_max; }
int Potential::n_layers() const { return impl->n_layers; }
int Potential::n_members() const { return impl->n_members; }
const std::string &Potential::dtype() const { return impl->dtype_name; }
const std::string &Potential::device() const { return impl->device_name; }

double Potential::calibration_factor(const std::string &key) const
{
  const auto found = impl->calibration.find(key);
  return found == impl->calibration.end() ? 1.0 : found->second;
}

Evaluation Potential::evaluate(const Graph &graph, bool members) const
{
  try {
    return impl->evaluate(graph, members);
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + impl->path + "': evaluation failed: " + first_line(error));
  }
}

std::unique_ptr<Potential> Potential::member(int k) const
{
  if (k < 0 || k >= n_members())
    throw std::runtime_error("model file '" + impl->path + "' has no member " + std::to_string(k) + "; allowed: 0 to " +
                             std::to_string(n_members() - 1));
  auto single = std::make_unique<Implementation>(*impl);
  const ThreadGuard thread_guard(impl->threads);
  const PlainExecutorGuard executor_guard;
  try {
    single->keep_member(k);
    single->freeze();
    if (impl->verified) single->verify();
  } catch (const std::exception &error) {
    throw std::runtime_error("model file '" + impl->path + "', member " + std::to_string(k) + ": " + first_line(error));
  }
  return std::unique_ptr<Potential>(new Potential(std::move(single)));
}

int Potential::n_cuda_devices()
{
  return static_cast<int>(torch::cuda::device_count());
}

}    // namespace mollifield
