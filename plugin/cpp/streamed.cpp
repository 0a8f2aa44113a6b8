// Evaluation of a graph whose edges come as a stream (edge_stream.hpp), chunk by chunk.
#include "chunks.hpp"
#include "potential_implementation.hpp"
#include "transfer.hpp"

#include <algorithm>
#include <numeric>

namespace mollifield {

namespace {

// [M, n] of a chunk's nodes among the local ones, to [M, n_local] from member `first` on.
void put_energies(std::vector<double> &all, const at::Tensor &found, const std::vector<int> &nodes,
                  std::int64_t n_local, std::int64_t first)
{
  const auto energies = to_vector(found);
  for (std::int64_t m = 0; m < found.size(0); ++m)
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (nodes[i] < n_local) all[(first + m) * n_local + nodes[i]] = energies[m * nodes.size() + i];
}

std::vector<double> means(const std::vector<double> &rows, std::int64_t n_rows, std::int64_t n_columns)
{
  std::vector<double> found(n_columns, 0.0);
  for (std::int64_t m = 0; m < n_rows; ++m)
    for (std::int64_t i = 0; i < n_columns; ++i) found[i] += rows[m * n_columns + i] / static_cast<double>(n_rows);
  return found;
}

}  // namespace

void put_features(Features &features, const at::Tensor &found, std::size_t first, const std::vector<int> *nodes)
{
  const at::Tensor plain = found.is_cpu() ? found.contiguous() : to_host(found);
  const auto n_trunks = static_cast<std::size_t>(plain.size(0)), n = static_cast<std::size_t>(plain.size(1)),
             width = features.width = static_cast<std::size_t>(plain.size(2));
  const auto put = [&](const auto *from, auto &values) {
    values.resize(features.n_trunks * features.n_atoms * width);
    for (std::size_t t = 0; t < n_trunks; ++t)
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t atom = nodes ? (*nodes)[i] : i;
        if (atom >= features.n_atoms) continue;
        std::copy_n(from + (t * n + i) * width, width, &values[((first + t) * features.n_atoms + atom) * width]);
      }
  };
  if (plain.scalar_type() == at::kFloat)
    put(plain.const_data_ptr<float>(), features.singles);
  else
    put(plain.const_data_ptr<double>(), features.doubles);
}

Evaluation Potential::Implementation::evaluate_stream(const Graph &graph, const Request &request) const
{
  const at::AutoGradMode with_gradients(true);  // the caller may sit inside a no_grad region of its own
  if (!has_stages())
    throw std::runtime_error("it cannot be evaluated layer by layer: it was written by an older release");
  const bool one_by_one = n_members > 1 && !shared_trunk;
  if (one_by_one && members.empty())
    for (int k = 0; k < n_members; ++k) members.push_back(single(k, false));
  const std::int64_t n_local = graph.n_local;
  const Partition partition(graph, *request.edges, request.halo);
  const Seeds seeds{request.members && shared_trunk, basis, mixing, request.moments && n_layers > 1};
  const bool with_noise = request.members && has_noise_head();
  Evaluation result;
  for (Features *features : {&result.latent, &result.noise_features}) {
    features->n_trunks = shared_trunk ? 1 : n_members;
    features->n_atoms = n_local;
  }
  std::vector<double> energies(n_members * n_local);
  for (int k = 0; k < (one_by_one ? n_members : 1); ++k) {
    const auto of_atoms = [&](const std::vector<int> &nodes, const StagedEvaluation &stages) {
      put_energies(energies, stages.atomic_energies.detach(), nodes, n_local, k);
      if (request.members) put_features(result.latent, stages.latent, k, &nodes);
      if (with_noise) put_features(result.noise_features, stages.noise_features, k, &nodes);
    };
    const auto of_edges = [&](const Edges &edges, const StagedEvaluation &stages) {
      at::Tensor gradients = stages.edge_gradients;
      if (seeds.by_member) mix_members(gradients);
      const bool whole = !one_by_one && !request.members;
      for (std::int64_t m = 0; m < gradients.size(0); ++m)
        request.edges->take(edges, whole ? EdgeStream::MEAN : k + static_cast<int>(m),
                            to_vector(whole ? gradients[m] / n_members : gradients[m]).data());
      if (!stages.edge_moments.defined()) return;
      const at::Tensor moments = stages.edge_moments.sum(1);
      request.edges->take_moments(edges, one_by_one ? k : EdgeStream::MEAN,
                                  to_vector(one_by_one ? moments : moments / n_members).data());
    };
    torch::jit::Module &model = one_by_one ? members[k]->frozen : frozen;
    ChunkedEvaluation(model, n_layers, dtype, device, {graph, partition, *request.edges, request.halo}, seeds,
                      {of_atoms, of_edges})
        .run();
  }
  result.atomic_energies = means(energies, n_members, n_local);
  for (int m = 0; m < n_members; ++m)
    result.member_energies.push_back(
        std::accumulate(energies.begin() + m * n_local, energies.begin() + (m + 1) * n_local, 0.0));
  if (request.members) result.member_atomic_energies = std::move(energies);
  return result;
}

}  // namespace mollifield
