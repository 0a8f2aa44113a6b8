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

std::vector<at::Tensor> seeded_energies(const at::Tensor &atomic_energies, std::int64_t n_local, const Seeds &seeds)
{
  const auto local = atomic_energies.narrow(1, 0, n_local);
  if (!seeds.by_member) return {local.sum()};
  return (seeds.basis.defined() ? local.index_select(0, seeds.basis) : local).sum(1).unbind();
}

const std::vector<std::string> StagedEvaluation::METHODS{std::begin(contract::STAGES), std::end(contract::STAGES)};

bool StagedEvaluation::is_possible(const torch::jit::Module &module)
{
  for (const auto &name : METHODS)
    if (!module.find_method(name)) return false;
  return true;
}

StagedEvaluation::StagedEvaluation(torch::jit::Module &the_module, int number, const StageInputs &the_inputs,
                                   const Seeds &the_seeds) :
    module(the_module), n_layers(number), inputs(the_inputs), seeds(the_seeds), moments(the_seeds.moments && number > 1)
{
  if (seeds.by_member && moments && seeds.mixing.defined()) {
    const at::Tensor sums = seeds.mixing.sum(0).to(at::kCPU, at::kDouble).contiguous();
    shares.assign(sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel());
  }
}

at::Tensor StagedEvaluation::call(const char *method, std::vector<c10::IValue> arguments)
{
  return module.get_method(method)(std::move(arguments)).toTensor();
}

at::Tensor StagedEvaluation::embed()
{
  const auto outputs = module.get_method("embed")({inputs.edge_vectors, inputs.types}).toTuple();
  const auto &e = outputs->elements();
  embedded = {e[1].toTensor(), e[3].toTensor(), e[2].toTensor()};
  for (std::size_t k = 0; k < embedded.size(); ++k)
    geometry[k] = embedded[k].detach().requires_grad_(embedded[k].requires_grad());
  return e[0].toTensor().detach();
}

void StagedEvaluation::begin()
{
  // Species alone: every process knows them of its ghosts, and nothing depends on positions yet.
  const at::Tensor x = embed();
  Layer &first = layers.emplace_back();
  first.x = x.narrow(1, 0, inputs.n_centres);
  first.all_sent = call("send", {0, x});
  receive();
}

void StagedEvaluation::forget()
{
  first_sent = sent(1);
  layers.clear();
  embedded = geometry = {};
  last = at::Tensor();
}

void StagedEvaluation::recall()
{
  if (!first_sent.defined()) return;
  first_sent = at::Tensor();
  begin();
}

at::Tensor StagedEvaluation::sent(int k) const
{
  return first_sent.defined() ? first_sent : layers.at(k).sent.detach();
}

void StagedEvaluation::advance(const at::Tensor &ghosts)
{
  Layer &layer = layers.back();
  const auto own = layer.sent.detach();
  layer.all_sent = leaf(ghosts.defined() && ghosts.size(1) ? at::cat({own, ghosts}, 1) : own);
  receive();
}

// The last layer of `layers` takes in what was sent to it, and the next one begins with what it gives.
void StagedEvaluation::receive()
{
  Layer &layer = layers.back();
  const auto k = static_cast<std::int64_t>(layers.size()) - 1, n_edges = inputs.edge_index.size(1);
  at::Tensor senders = layer.all_sent, edge_index = inputs.edge_index;
  if (moments && k > 0 && n_edges > 0) {
    senders = layer.by_edge = leaf(layer.all_sent.index_select(1, edge_index[1]));
    edge_index = at::stack({edge_index[0], at::arange(n_edges, edge_index.options())});
  }
  layer.out = call("receive", {k, senders, layer.x, geometry[0], geometry[1], geometry[2], edge_index, inputs.types});
  if (k + 1 == n_layers) return;
  Layer next;
  next.x = leaf(layer.out);
  next.sent = call("send", {k + 1, next.x});
  layers.push_back(next);
}

void StagedEvaluation::read()
{
  last = leaf(layers.back().out);
  const Outputs outputs(module.get_method("read")({last, geometry[1], inputs.edge_index, inputs.types}));
  atomic_energies = outputs[contract::ATOMIC_ENERGIES];
  latent = outputs[contract::LATENT].detach();
  noise_features = outputs.noise_features();
}

void StagedEvaluation::begin_backward()
{
  const auto energies = seeded_energies(atomic_energies, inputs.n_local, seeds);
  n_energies = energies.size();
  n_seeds = n_energies + (moments ? 3 : 0);
  totals.resize(n_seeds);
  from_above.resize(n_seeds);
  for (std::size_t s = 0; s < n_energies; ++s) {
    const auto read = gradients(energies[s], {last, geometry[1]}, at::ones_like(energies[s]), s + 1 < n_energies);
    from_above[s] = read[0];
    totals[s][1] = read[1];
  }
  atomic_energies = atomic_energies.detach();
}

at::Tensor StagedEvaluation::pull()
{
  Layer &layer = layers.back();
  adjoints.clear();
  for (std::size_t s = 0; s < n_seeds; ++s) {
    adjoints.push_back(pull(layer, from_above[s]));
    for (std::size_t g = 0; g < geometry.size(); ++g) add(totals[s][g], adjoints[s].geometry[g]);
  }
  const at::Tensor found = layers.size() > 1 ? sent_gradients(layer) : at::Tensor();
  layer.all_sent = layer.by_edge = layer.out = at::Tensor();  // memory that the layers below can have
  return found;
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
  (layer.by_edge.defined() ? result.by_edge : result.sent) = found[1];
  result.geometry = {found[2], found[3], found[4]};
  return result;
}

// With A_j = dE/dx_j and R_j = sum_m (r_m - r_j) dE_m/dx_j: what reaches j through edge ij carries R_i + (r_i - r_j)
// A_i, and r_i - r_j is minus the edge's vector.
at::Tensor StagedEvaluation::sent_gradients(const Layer &layer)
{
  at::Tensor of_energies;  // by edge, of the sum of all
  for (std::size_t s = 0; s < n_energies; ++s) {
    const at::Tensor &rows = adjoints[s].by_edge;
    add(of_energies, rows.defined() && !shares.empty() ? rows * shares[s] : rows);
  }
  if (layer.by_edge.defined() && !of_energies.defined()) of_energies = at::zeros_like(layer.by_edge);
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
      if (!edges.defined()) edges = at::zeros_like(layer.by_edge);
      rows = at::zeros_like(layer.all_sent).index_add(1, inputs.edge_index[1], edges);
    }
    sent.push_back(rows.defined() ? rows : at::zeros_like(layer.all_sent));
    adjoints[s].sent = adjoints[s].by_edge = at::Tensor();
  }
  return at::stack(sent);
}

void StagedEvaluation::push(const at::Tensor &own)
{
  const Layer &layer = layers.back();
  for (std::size_t s = 0; s < n_seeds; ++s) {
    from_above[s] = gradients(layer.sent, {layer.x}, own[static_cast<std::int64_t>(s)], s + 1 < n_seeds)[0];
    add(from_above[s], adjoints[s].x);
  }
  layers.pop_back();
}

void StagedEvaluation::to_edges()
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

at::Tensor ghost_rows(Halo &halo, const at::Tensor &asked, std::int64_t n_ghosts)
{
  const auto rows = to_rows(asked);
  auto sizes = rows.sizes().vec();
  sizes[0] = n_ghosts;
  const auto ghosts = host_buffer(sizes, rows.scalar_type(), asked.device());
  halo.forward(rows.data_ptr(), ghosts.data_ptr(), row_bytes(rows));
  return from_rows(ghosts, asked);
}

at::Tensor owners_rows(Halo &halo, const at::Tensor &ghosts)
{
  const auto rows = to_rows(ghosts.flatten(0, 1));
  auto sizes = rows.sizes().vec();
  sizes[0] = static_cast<std::int64_t>(halo.asked().size());
  const auto received = host_buffer(sizes, rows.scalar_type(), ghosts.device());
  halo.reverse(rows.data_ptr(), received.data_ptr(), row_bytes(rows));
  auto shape = ghosts.sizes().vec();
  shape[2] = sizes[0];
  return from_rows(received, ghosts).reshape(shape);
}

void evaluate_in_stages(StagedEvaluation &stages, int n_layers, const StageInputs &inputs, Halo *halo)
{
  const auto n = inputs.n_centres, n_ghosts = inputs.types.size(0) - n;
  stages.begin();
  for (int k = 1; k < n_layers; ++k)
    stages.advance(halo ? ghost_rows(*halo, stages.sent(k).index_select(1, inputs.asked), n_ghosts) : at::Tensor());
  stages.read();
  stages.begin_backward();
  for (int k = n_layers - 1; k > 0; --k) {
    const auto found = stages.pull();
    const auto own = found.narrow(2, 0, n);
    stages.push(halo ? own.index_add(2, inputs.asked, owners_rows(*halo, found.narrow(2, n, n_ghosts))) : own);
  }
  stages.pull();
  stages.to_edges();
}

}  // namespace mollifield
