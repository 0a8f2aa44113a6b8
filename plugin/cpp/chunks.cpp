#include "chunks.hpp"

#include <algorithm>
#include <numeric>

namespace mollifield {

namespace {

at::Tensor longs(const std::vector<std::int64_t> &values, at::Device device)
{
  return at::tensor(values, at::kLong).to(device);
}

std::vector<std::size_t> chunks_with(const std::vector<std::vector<std::int64_t>> &asked)
{
  std::vector<std::size_t> found;
  for (std::size_t c = 0; c < asked.size(); ++c)
    if (!asked[c].empty()) found.push_back(c);
  return found;
}

}  // namespace

Partition::Partition(const Graph &graph, EdgeStream &stream, const Halo *halo) :
    chunk(graph.n_atoms(), GHOST), row(graph.n_atoms(), 0)
{
  const std::int64_t n_centres = halo ? graph.n_local : graph.n_atoms();
  n_ghosts = graph.n_atoms() - n_centres;
  const std::int64_t n_parts = std::max<std::int64_t>(1, (stream.n_edges() + stream.chunk() - 1) / stream.chunk());
  const auto most = static_cast<std::size_t>(std::max<std::int64_t>(1, (n_centres + n_parts - 1) / n_parts));
  std::vector<char> is_asked(n_centres, 0);
  if (halo)
    for (const std::int64_t node : halo->asked()) is_asked[node] = 1;
  for (const char which : {1, 0}) {
    std::vector<int> nodes;
    for (std::int64_t i = 0; i < n_centres; ++i)
      if (is_asked[i] == which) nodes.push_back(static_cast<int>(i));
    split(nodes, most);
  }
  for (std::int64_t i = 0; i < n_ghosts; ++i) row[n_centres + i] = static_cast<int>(i);
  needs.resize(size());
  n_users.assign(size(), 0);
  first_user.resize(size());
  std::iota(first_user.begin(), first_user.end(), 0);
  last_user = first_user;
  asked.resize(size());
  if (halo)
    for (std::size_t k = 0; k < halo->asked().size(); ++k)
      asked[chunk[halo->asked()[k]]].push_back(static_cast<std::int64_t>(k));
  std::vector<std::size_t> seen_by(size(), size());
  for (std::size_t c = 0; c < size(); ++c) {
    seen_by[c] = c;
    for (const int j : stream.make(centres[c]).neighbour) {
      const int other = chunk[j];
      if (other == GHOST || seen_by[other] == c) continue;
      seen_by[other] = c;
      needs[c].push_back(other);
      ++n_users[other];
      first_user[other] = std::min(first_user[other], c);
      last_user[other] = std::max(last_user[other], c);
    }
  }
}

void Partition::split(const std::vector<int> &nodes, std::size_t most)
{
  for (std::size_t first = 0; first < nodes.size(); first += most) {
    const auto end = nodes.begin() + static_cast<std::ptrdiff_t>(std::min(first + most, nodes.size()));
    const auto &mine = centres.emplace_back(nodes.begin() + static_cast<std::ptrdiff_t>(first), end);
    for (std::size_t k = 0; k < mine.size(); ++k) {
      chunk[mine[k]] = static_cast<int>(centres.size()) - 1;
      row[mine[k]] = static_cast<int>(k);
    }
  }
}

struct ChunkedEvaluation::Chunk {
  // Rows of one other chunk, or of ghosts, that this one's edges reach.
  struct Senders {
    int chunk;
    at::Tensor rows;
  };

  Edges edges;
  std::vector<Senders> senders;
  std::unique_ptr<StagedEvaluation> stages;
  int n_layers_done = 0;
  std::vector<at::Tensor> gradient;  // [S, T, n, K, C] by what it sent to each layer, as far as it is known
  std::vector<int> n_missing;        // parts of it
};

ChunkedEvaluation::ChunkedEvaluation(torch::jit::Module &the_module, int number_of_layers, at::ScalarType its_dtype,
                                     at::Device its_device, const Parts &its_parts, const Seeds &its_seeds,
                                     Sink its_sink) :
    module(the_module), n_layers(number_of_layers), dtype(its_dtype), device(its_device), parts(its_parts),
    seeds(its_seeds), sink(std::move(its_sink)), chunks(parts.partition.size()), ghosts(n_layers),
    ghosts_gradient(n_layers), number(parts.graph.n_atoms(), -1)
{}

ChunkedEvaluation::~ChunkedEvaluation() = default;

void ChunkedEvaluation::run()
{
  if (parts.halo)
    for (int k = 1; k < n_layers; ++k) send_asked(k);
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    forward(c, n_layers - 1);
    chunks[c]->stages->read();
    sink.atoms(parts.partition.centres[c], *chunks[c]->stages);
    chunks[c]->stages->begin_backward();
    pull(c);
  }
  if (parts.halo)
    for (int k = n_layers - 1; k > 0; --k) return_asked(k);
}

// Whether chunk `c` has so long to wait that others should have its memory.
bool ChunkedEvaluation::is_long(std::size_t c, std::size_t from, std::size_t to) const
{
  constexpr std::size_t FEW = 16;
  const std::size_t n = chunks.size();
  return n_layers > 1 && n > FEW && (!parts.partition.asked[c].empty() || to - from > n / 2);
}

ChunkedEvaluation::Chunk &ChunkedEvaluation::open(std::size_t c)
{
  if (chunks[c]) return *chunks[c];
  const auto &partition = parts.partition;
  const auto &centres = partition.centres[c];
  chunks[c] = std::make_unique<Chunk>();
  Chunk &chunk = *chunks[c];
  chunk.edges = parts.stream.make(centres);
  const auto n = centres.size();
  for (std::size_t k = 0; k < n; ++k) number[centres[k]] = static_cast<int>(k);
  std::vector<int> others;
  for (const int j : chunk.edges.neighbour)
    if (number[j] < 0) {
      number[j] = 0;
      others.push_back(j);
    }
  std::sort(others.begin(), others.end(), [&](int a, int b) {
    return std::pair(partition.chunk[a], partition.row[a]) < std::pair(partition.chunk[b], partition.row[b]);
  });
  std::vector<std::int64_t> types, rows, index;
  for (const int i : centres) types.push_back(parts.graph.types[i]);
  for (std::size_t k = 0; k < others.size(); ++k) {
    number[others[k]] = static_cast<int>(n + k);
    types.push_back(parts.graph.types[others[k]]);
    rows.push_back(partition.row[others[k]]);
    const int sender = partition.chunk[others[k]];
    if (k + 1 < others.size() && partition.chunk[others[k + 1]] == sender) continue;
    chunk.senders.push_back({sender, longs(rows, device)});
    rows.clear();
  }
  for (const auto *ends : {&chunk.edges.centre, &chunk.edges.neighbour})
    for (const int i : *ends) index.push_back(number[i]);
  for (const int i : centres) number[i] = -1;
  for (const int i : others) number[i] = -1;

  const auto n_edges = static_cast<std::int64_t>(chunk.edges.size());
  StageInputs inputs;
  inputs.edge_vectors = torch::from_blob(chunk.edges.vectors.data(), {1, n_edges, 3}, at::kDouble)
                            .to(device, dtype, false, true)
                            .requires_grad_(true);
  inputs.edge_index = longs(index, device).view({2, n_edges});
  inputs.types = longs(types, device);
  inputs.n_centres = static_cast<std::int64_t>(n);
  inputs.n_local = std::count_if(centres.begin(), centres.end(), [this](int i) { return i < parts.graph.n_local; });
  chunk.stages = std::make_unique<StagedEvaluation>(module, n_layers, inputs, seeds);
  chunk.gradient.resize(n_layers);
  chunk.n_missing.assign(n_layers, 1 + partition.n_users[c] + (partition.asked[c].empty() ? 0 : 1));
  return chunk;
}

// Runs the layers of a chunk up to layer k, and what they need of other chunks.
void ChunkedEvaluation::forward(std::size_t c, int k)
{
  Chunk &chunk = open(c);
  for (; chunk.n_layers_done <= k; ++chunk.n_layers_done) {
    const int layer = chunk.n_layers_done;
    if (layer == 0) {
      chunk.stages->begin();
      if (k == 0 && is_long(c, parts.partition.first_user[c], c)) chunk.stages->forget();
      continue;
    }
    for (const int other : parts.partition.needs[c]) forward(other, layer - 1);
    chunk.stages->recall();
    chunk.stages->advance(gather(chunk, layer));
  }
}

at::Tensor ChunkedEvaluation::gather(const Chunk &chunk, int k)
{
  std::vector<at::Tensor> rows;
  for (const auto &[sender, places] : chunk.senders)
    rows.push_back((sender == Partition::GHOST ? ghosts[k] : chunks[sender]->stages->sent(k)).index_select(1, places));
  return rows.empty() ? at::Tensor() : at::cat(rows, 1);
}

// Which rows of chunk `c` other processes ask for, in the order of Partition::asked.
at::Tensor ChunkedEvaluation::asked_places(std::size_t c) const
{
  std::vector<std::int64_t> places;
  for (const std::int64_t at : parts.partition.asked[c]) places.push_back(parts.partition.row[parts.halo->asked()[at]]);
  return longs(places, device);
}

// What other processes need for layer k goes out, and the rows of ghosts come in.
void ChunkedEvaluation::send_asked(int k)
{
  const auto &asked = parts.partition.asked;
  const auto n_asked = static_cast<std::int64_t>(parts.halo->asked().size());
  at::Tensor rows;
  for (const std::size_t c : chunks_with(asked)) {
    forward(c, k - 1);
    const at::Tensor sent = chunks[c]->stages->sent(k);
    if (!rows.defined()) rows = at::empty({sent.size(0), n_asked, sent.size(2), sent.size(3)}, sent.options());
    rows.index_copy_(1, longs(asked[c], device), sent.index_select(1, asked_places(c)));
  }
  if (!rows.defined()) {
    // Nobody asks: the shape of a row is known from any chunk, if there is one.
    forward(0, k - 1);
    rows = chunks[0]->stages->sent(k).narrow(1, 0, 0);
  }
  ghosts[k] = ghost_rows(*parts.halo, rows, parts.partition.n_ghosts);
}

// The gradients by them come back.
void ChunkedEvaluation::return_asked(int k)
{
  const auto &asked = parts.partition.asked;
  const at::Tensor returned = owners_rows(*parts.halo, ghosts_gradient[k]);
  ghosts[k] = ghosts_gradient[k] = at::Tensor();
  for (const std::size_t c : chunks_with(asked)) {
    add_gradient(c, k, returned.index_select(2, longs(asked[c], device)), asked_places(c));
  }
}

// One layer of a chunk backward, and whatever can follow from it.
void ChunkedEvaluation::pull(std::size_t c)
{
  Chunk &chunk = *chunks[c];
  const int k = --chunk.n_layers_done;
  const at::Tensor found = chunk.stages->pull();
  if (k == 0) {
    chunk.stages->to_edges();
    sink.edges(chunk.edges, *chunk.stages);
    chunks[c].reset();
    return;
  }
  const auto n = static_cast<std::int64_t>(parts.partition.centres[c].size());
  if (parts.halo && !ghosts_gradient[k].defined()) {
    auto shape = found.sizes().vec();
    shape[2] = parts.partition.n_ghosts;
    ghosts_gradient[k] = at::zeros(shape, found.options());
  }
  std::int64_t first = n;
  for (const auto &[sender, places] : chunk.senders) {
    const at::Tensor rows = found.narrow(2, first, places.size(0));
    first += places.size(0);
    if (sender == Partition::GHOST)
      ghosts_gradient[k].index_add_(2, places, rows);
    else
      add_gradient(sender, k, rows, places);
  }
  add_gradient(c, k, found.narrow(2, 0, n), {});
  if (k == 1 && chunks[c] && is_long(c, c, parts.partition.last_user[c])) chunks[c]->stages->forget();
}

// `places` among the chunk's own atoms; undefined: all in order.
void ChunkedEvaluation::add_gradient(std::size_t c, int k, const at::Tensor &rows, const at::Tensor &places)
{
  Chunk &chunk = *chunks[c];
  at::Tensor &sum = chunk.gradient[k];
  if (!sum.defined()) {
    auto shape = rows.sizes().vec();
    shape[2] = static_cast<std::int64_t>(parts.partition.centres[c].size());
    sum = at::zeros(shape, rows.options());
  }
  if (places.defined())
    sum.index_add_(2, places, rows);
  else
    sum.add_(rows);
  if (--chunk.n_missing[k] > 0) return;
  chunk.stages->recall();
  chunk.stages->push(sum);
  sum = at::Tensor();
  pull(c);
}

}  // namespace mollifield
