#include "resident_graph.hpp"

#include "potential_implementation.hpp"
#include "transfer.hpp"

namespace mollifield {

struct ResidentGraph::Tensors {
  at::Tensor types, row_nodes, centres, neighbours, asked;
  std::int64_t n_local;
  at::Device device;
};

ResidentGraph::ResidentGraph(const Candidates &candidates, const std::vector<std::int64_t> &asked,
                             const std::string &device_name)
{
  const at::Device device(device_name);
  const auto put = [&](const auto &values) {
    const auto type = sizeof(values[0]) == sizeof(std::int64_t) ? at::kLong : at::kInt;
    const auto size = static_cast<std::int64_t>(values.size());
    const auto there = to_device(values.data(), {size}, type, device);
    return device.is_cpu() ? there.clone() : there;
  };
  tensors.reset(new Tensors{put(candidates.types), put(candidates.row_nodes), put(candidates.centres),
                            put(candidates.neighbours), put(asked), candidates.n_local, device});
}

ResidentGraph::~ResidentGraph() = default;

Transfers ResidentGraph::transfers() { return mollifield::transfers(); }

namespace {

// Edges of one step: their vectors as float64, the graph for the model, the square of the shortest candidate.
struct Cut {
  at::Tensor vectors, edge_index, shortest;
};

// Sums over both ends of edges [.., E, 3] -> [.., N, 3]. Accumulating `index_put_` sorts its indices on a GPU, so that
// every sum has one order; `index_add` does not.
at::Tensor forces_of(const at::Tensor &gradients, const at::Tensor &edge_index, std::int64_t n_nodes)
{
  const auto by_edge = gradients.transpose(0, 1).flatten(1);  // [E, M 3]
  auto sums = at::zeros({n_nodes, by_edge.size(1)}, by_edge.options());
  sums.index_put_({edge_index.flatten()}, at::cat({by_edge, -by_edge}), /*accumulate=*/true);
  return sums.view({n_nodes, gradients.size(0), 3}).transpose(0, 1);
}

// Many small tensors as one, so that they come home in one piece.
class Parcel {
 public:
  void add(const at::Tensor &tensor, std::vector<double> &home)
  {
    parts.push_back(tensor.detach().to(at::kDouble).flatten());
    homes.push_back(&home);
  }
  void send()
  {
    const auto all = to_host(at::cat(parts));
    const double *first = all.data_ptr<double>();
    for (std::size_t k = 0; k < parts.size(); ++k) {
      homes[k]->assign(first, first + parts[k].numel());
      first += parts[k].numel();
    }
  }

 private:
  std::vector<at::Tensor> parts;
  std::vector<std::vector<double> *> homes;
};

}  // namespace

Evaluation Potential::Implementation::evaluate(const ResidentGraph &resident, const double *positions, double unit,
                                               const Request &request) const
{
  const ResidentGraph::Tensors &graph = *resident.tensors;
  const auto n_rows = graph.row_nodes.size(0), n_nodes = graph.types.size(0);
  Cut cut;
  {
    const at::NoGradGuard without_gradients;
    const auto x = to_device(positions, {n_rows, 3}, at::kDouble, device);
    const auto vectors = (x.index_select(0, graph.neighbours) - x.index_select(0, graph.centres)).div_(unit);
    const auto squares = vectors.square().sum(1);
    const auto within = (squares <= r_max * r_max).nonzero().squeeze(1);  // waits for the device: how many?
    cut.shortest = squares.numel() ? squares.min() : squares.sum();
    cut.vectors = vectors.index_select(0, within);
    cut.edge_index = at::stack({graph.row_nodes.index_select(0, graph.centres.index_select(0, within)),
                                graph.row_nodes.index_select(0, graph.neighbours.index_select(0, within))});
  }
  StageInputs inputs;
  inputs.edge_vectors = cut.vectors.unsqueeze(0);
  inputs.edge_index = cut.edge_index;
  inputs.types = graph.types;
  inputs.asked = graph.asked;
  inputs.n_centres = request.halo ? graph.n_local : n_nodes;
  inputs.n_local = graph.n_local;
  const Differentiated found = differentiate(inputs, request);

  const at::NoGradGuard without_gradients;
  const auto energies = found.atomic_energies.detach().narrow(1, 0, graph.n_local);
  const auto local = [&](const at::Tensor &features) { return features.narrow(1, 0, graph.n_local); };
  const auto n_copies = request.members ? energies.size(0) : 1;
  at::Tensor gradients = found.edge_gradients.defined() ? found.edge_gradients.to(at::kDouble)
                                                        : at::zeros({n_copies, 0, 3}, cut.vectors.options());
  if (!request.members) gradients = gradients.sum(0, true) / static_cast<double>(energies.size(0));
  Evaluation result;
  Parcel parcel;
  std::vector<double> shortest, latent, noise_features;
  parcel.add(energies.mean(0), result.atomic_energies);
  parcel.add(energies.sum(1), result.member_energies);
  parcel.add(forces_of(gradients, cut.edge_index, n_nodes), result.forces);
  parcel.add(-cut.vectors.t().matmul(gradients), result.virials);
  parcel.add(cut.shortest, shortest);
  if (request.members) {
    parcel.add(energies, result.member_atomic_energies);
    parcel.add(local(found.latent), latent);
    if (has_noise_head()) parcel.add(local(found.noise_features), noise_features);
  }
  parcel.send();
  const auto unpack = [&](Features &features, std::vector<double> &values, const at::Tensor &like) {
    if (values.empty()) return;
    features.n_trunks = like.size(0);
    features.n_atoms = graph.n_local;
    const auto plain = at::from_blob(values.data(), {like.size(0), graph.n_local, like.size(2)}, at::kDouble);
    put_features(features, plain.to(like.scalar_type()), 0, nullptr);
  };
  unpack(result.latent, latent, found.latent);
  unpack(result.noise_features, noise_features, found.noise_features);
  result.n_edges = cut.edge_index.size(1);
  result.shortest_square = graph.centres.numel() ? shortest.front() : r_max * r_max;
  return result;
}

}  // namespace mollifield
