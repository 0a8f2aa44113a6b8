#include "stages.hpp"

#include "outputs.hpp"
#include "transfer.hpp"

#include <torch/csrc/autograd/autograd.h>

namespace mollifield {

namespace {

void add(at::Tensor &sum, const at::Tensor &term)
{
  if (!term.defined()) return;
  sum = sum.defined() ? sum + term : term;
}

// Gradients by those of `inputs` that ask for one; undefined for the rest and where nothing depends on them.
std::vector<at::Tensor> gradients(const at::Tensor &output, const std::vector<at::Tensor> &inputs,
                                  const at::Tensor &seed, bool keep_graph)
{
  std::vector<at::Tensor> result(inputs.size()), asked;
  std::vector<std::size_t> places;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (inputs[k].defined() && inputs[k].requires_grad()) {
      asked.push_back(inputs[k]);
      places.push_back(k);
    }
  if (asked.empty() || !output.requires_grad()) return result;
  const auto found = torch::autograd::grad({output}, asked, {seed}, keep_graph, false, true);
  for (std::size_t k = 0; k < places.size(); ++k) result[places[k]] = found[k];
  return result;
}

at::Tensor leaf(const at::Tensor &value) { return value.detach().requires_grad_(true); }

// [M, N, K, C] <-> rows [N, M * K * C] in the memory of the host.
at::Tensor to_rows(const at::Tensor &features) { return to_host(features.transpose(0, 1)); }

at::Tensor from_rows(const at::Tensor &rows, const at::Tensor &like)
{
  return to_device(rows, like.device()).transpose(0, 1);
}

std::size_t row_bytes(const at::Tensor &rows)
{
  return rows.size(0) ? rows.nbytes() / rows.size(0) : rows.stride(0) * rows.element_size();
}

}  // namespace

std::vector<at::Tensor> member_energies(const at::Tensor &atomic_energies, std::int64_t n_local, bool by_member,
                                        const at::Tensor &basis)
{
  const auto local = atomic_energies.narrow(1, 0, n_local);
  if (!by_member) return {local.sum()};
  return (basis.defined() ? local.index_select(0, basis) : local).sum(1).unbind();
}

const std::vector<std::string> StagedEvaluation::METHODS{std::begin(contract::STAGES), std::end(contract::STAGES)};

bool StagedEvaluation::is_possible(const torch::jit::Module &module)
{
  for (const auto &name : METHODS)
    if (!module.find_method(name)) return false;
  return true;
}

StagedEvaluation::StagedEvaluation(torch::jit::Module &the_module, int number, const StageInputs &the_inputs,
                                   Halo *the_halo, bool with_moments, bool each_member, at::Tensor of_members,
                                   const at::Tensor &mixing) :
    module(the_module), n_layers(number), inputs(the_inputs), halo(the_halo), moments(with_moments && number > 1),
    by_member(each_member), basis(std::move(of_members))
{
  if (by_member && moments && mixing.defined()) {
    const at::Tensor sums = mixing.sum(0).to(at::kCPU, at::kDouble).contiguous();
    shares.assign(sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel());
  }
}

at::Tensor StagedEvaluation::call(const char *method, std::vector<c10::IValue> arguments)
{
  return module.get_method(method)(std::move(arguments)).toTensor();
}

void StagedEvaluation::embed(at::Tensor &x)
{
  const auto outputs = module.get_method("embed")({inputs.edge_vectors, inputs.types}).toTuple();
  const auto &e = outputs->elements();
  x = e[0].toTensor();
  embedded = {e[1].toTensor(), e[3].toTensor(), e[2].toTensor()};
  for (std::size_t k = 0; k < embedded.size(); ++k)
    geometry[k] = embedded[k].detach().requires_grad_(embedded[k].requires_grad());
}

void StagedEvaluation::forward()
{
  at::Tensor x;
  embed(x);
  for (int k = 0; k < n_layers; ++k) {
    run_layer(k, k == 0 ? x : layers.back().out);
  }
  last = leaf(layers.back().out);
  const Outputs outputs(module.get_method("read")({last, geometry[1], inputs.edge_index, inputs.types}));
  atomic_energies = outputs[contract::ATOMIC_ENERGIES];
  latent = outputs[contract::LATENT].detach();
  noise_features = outputs.noise_features();
}

void StagedEvaluation::run_layer(int k, const at::Tensor &x)
{
  Layer layer;
  if (k == 0) {
    // Species alone: every process knows them of its ghosts, and nothing depends on positions yet.
    layer.x = x.detach().narrow(1, 0, inputs.n_centres);
    layer.all_sent = call("send", {0, x.detach()});
  } else {
    layer.x = leaf(x);
    layer.sent = call("send", {k, layer.x});
    layer.all_sent = leaf(with_ghosts(layer.sent.detach()));
  }
  at::Tensor senders = layer.all_sent, edge_index = inputs.edge_index;
  const auto n_edges = edge_index.size(1);
  if (moments && k > 0 && n_edges > 0) {
    senders = layer.by_edge = leaf(layer.all_sent.index_select(1, edge_index[1]));
    edge_index = at::stack({edge_index[0], at::arange(n_edges, edge_index.options())});
  }
  layer.out = call("receive", {k, senders, layer.x, geometry[0], geometry[1], geometry[2], edge_index, inputs.types});
  layers.push_back(layer);
}

at::Tensor StagedEvaluation::with_ghosts(const at::Tensor &sent)
{
  if (!halo) return sent;
  const auto rows = to_rows(sent.index_select(1, inputs.asked));
  auto sizes = rows.sizes().vec();
  sizes[0] = inputs.types.size(0) - inputs.n_centres;
  auto ghosts = host_buffer(sizes, rows.scalar_type(), sent.device());
  halo->forward(rows.data_ptr(), ghosts.data_ptr(), row_bytes(rows));
  return at::cat({sent, from_rows(ghosts, sent)}, 1);
}

// Gradients [S, M, N', K, C] of the rows that went out -> [S, M, N, K, C], those of ghosts added to their owners'.
at::Tensor StagedEvaluation::return_ghosts(const at::Tensor &gradient)
{
  const auto n = inputs.n_centres;
  if (!halo) return gradient;
  const auto flat = gradient.flatten(0, 1);
  const auto ghosts = to_rows(flat.narrow(1, n, flat.size(1) - n));
  auto sizes = ghosts.sizes().vec();
  sizes[0] = static_cast<std::int64_t>(halo->asked().size());
  auto received = host_buffer(sizes, ghosts.scalar_type(), flat.device());
  halo->reverse(ghosts.data_ptr(), received.data_ptr(), row_bytes(ghosts));
  const auto own = flat.narrow(1, 0, n).index_add(1, inputs.asked, from_rows(received, flat));
  return own.view({gradient.size(0), gradient.size(1), n, gradient.size(3), gradient.size(4)});
}

StagedEvaluation::Adjoint StagedEvaluation::pull(const Layer &layer, const at::Tensor &seed)
{
  if (!seed.defined()) return {};
  const auto found = gradients(
      layer.out,
      {layer.x, layer.by_edge.defined() ? layer.by_edge : layer.all_sent, geometry[0], geometry[1], geometry[2]}, seed,
      n_seeds > 1);
  Adjoint result;
  result.x = found[0];
  const at::Tensor &senders = layer.by_edge.defined() ? layer.by_edge : layer.all_sent;
  (layer.by_edge.defined() ? result.by_edge : result.sent) = found[1].defined() ? found[1] : at::zeros_like(senders);
  result.geometry = {found[2], found[3], found[4]};
  return result;
}

// From the adjoints of a layer's inputs to the seeds of the layer below. With A_j = dE/dx_j and
// R_j = sum_m (r_m - r_j) dE_m/dx_j: what reaches j through edge ij carries R_i + (r_i - r_j) A_i, and r_i - r_j is
// minus the edge's vector.
std::vector<at::Tensor> StagedEvaluation::seeds_below(const Layer &layer, const std::vector<Adjoint> &adjoints)
{
  at::Tensor of_energies;  // by edge, of the sum of all
  for (std::size_t s = 0; s < n_energies; ++s) {
    const at::Tensor &rows = adjoints[s].by_edge;
    add(of_energies, rows.defined() && !shares.empty() ? rows * shares[s] : rows);
  }
  std::vector<at::Tensor> sent;
  for (std::size_t s = 0; s < adjoints.size(); ++s) {
    at::Tensor rows = adjoints[s].sent;
    if (layer.by_edge.defined()) {
      at::Tensor edges = adjoints[s].by_edge;
      if (s >= n_energies) {
        const auto along = inputs.edge_vectors.detach().select(2, static_cast<std::int64_t>(s - n_energies));
        const auto carried = -along.unsqueeze(-1).unsqueeze(-1) * of_energies;
        edges = edges.defined() ? edges + carried : carried;
      }
      rows = at::zeros_like(layer.all_sent).index_add(1, inputs.edge_index[1], edges);
    }
    sent.push_back(rows.defined() ? rows : at::zeros_like(layer.all_sent));
  }
  const auto returned = return_ghosts(at::stack(sent));
  std::vector<at::Tensor> seeds;
  for (std::size_t s = 0; s < adjoints.size(); ++s) {
    at::Tensor seed = gradients(layer.sent, {layer.x}, returned[static_cast<std::int64_t>(s)], n_seeds > 1)[0];
    add(seed, adjoints[s].x);
    seeds.push_back(seed);
  }
  return seeds;
}

void StagedEvaluation::backward()
{
  const auto energies = member_energies(atomic_energies, inputs.n_local, by_member, basis);
  n_energies = energies.size();
  n_seeds = n_energies + (moments ? 3 : 0);
  std::vector<std::array<at::Tensor, 3>> totals(n_seeds);
  std::vector<at::Tensor> seeds(n_seeds);
  for (std::size_t s = 0; s < n_energies; ++s) {
    const auto read = gradients(energies[s], {last, geometry[1]}, at::ones_like(energies[s]), s + 1 < n_energies);
    seeds[s] = read[0];
    totals[s][1] = read[1];
  }
  for (int k = n_layers - 1; k >= 0; --k) {
    std::vector<Adjoint> adjoints;
    for (std::size_t s = 0; s < n_seeds; ++s) {
      adjoints.push_back(pull(layers[k], seeds[s]));
      for (std::size_t g = 0; g < geometry.size(); ++g) add(totals[s][g], adjoints[s].geometry[g]);
    }
    if (k > 0) seeds = seeds_below(layers[k], adjoints);
    layers.pop_back();
  }
  to_edges(totals);
}

void StagedEvaluation::to_edges(const std::vector<std::array<at::Tensor, 3>> &totals)
{
  std::vector<at::Tensor> by_edge;
  for (const auto &total : totals) {
    std::vector<at::Tensor> outputs, values;
    for (std::size_t g = 0; g < total.size(); ++g)
      if (total[g].defined() && embedded[g].requires_grad()) {
        outputs.push_back(embedded[g]);
        values.push_back(total[g]);
      }
    auto sum = at::zeros_like(inputs.edge_vectors);
    if (!outputs.empty()) sum = torch::autograd::grad(outputs, {inputs.edge_vectors}, values, n_seeds > 1)[0];
    by_edge.push_back(sum);
  }
  edge_gradients = at::cat(at::TensorList(by_edge).slice(0, n_energies));
  if (moments) edge_moments = at::stack(at::TensorList(by_edge).slice(n_energies));
}

}  // namespace mollifield
