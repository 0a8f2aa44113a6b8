// What is made from tensors that stay the same for many calls, such as a model's coupling tables and a neighbour list's
// groups of edges: made once, since on a GPU to read them would wait for all that is under way there.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

namespace mollifield::operators {

template <class Value> class Remembered {
 public:
  // As many values are kept, those that were asked for last.
  explicit Remembered(std::size_t capacity) : capacity_(capacity) {}

  // What `make` gave for these very tensors and this number, or gives now; nothing is remembered of tensors that are
  // gone or were written to since. Inference tensors do not tell of that, so it is made anew for them.
  template <class Make>
  std::shared_ptr<const Value> get(const std::vector<at::Tensor> &tensors, std::int64_t number, Make make)
  {
    for (const at::Tensor &tensor : tensors)
      if (tensor.is_inference()) return std::make_shared<const Value>(make());
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = std::find_if(entries_.begin(), entries_.end(),
                                      [&](const Entry &entry) { return entry.is_of(tensors, number); });
      if (found != entries_.end()) {
        std::rotate(entries_.begin(), found, found + 1);
        return entries_.front().value;
      }
    }
    Entry entry(tensors, number, std::make_shared<const Value>(make()));
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(entries_, [](const Entry &old) { return old.is_gone(); });
    if (entries_.size() == capacity_) entries_.pop_back();
    entries_.insert(entries_.begin(), entry);
    return entry.value;
  }

 private:
  // A tensor at one moment. Moving a module to another device keeps its tensors, with data that lie elsewhere.
  struct Key {
    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> tensor;
    const void *data;
    std::int64_t version;

    explicit Key(const at::Tensor &from) : tensor(from.getIntrusivePtr()), data(address(from)), version(from._version())
    {}
    bool is_of(const at::Tensor &other) const
    {
      return !tensor.expired() && tensor._unsafe_get_target() == other.unsafeGetTensorImpl() &&
             data == address(other) && version == static_cast<std::int64_t>(other._version());
    }
    static const void *address(const at::Tensor &of) { return of.has_storage() ? of.storage().data() : nullptr; }
  };

  struct Entry {
    std::vector<Key> keys;
    std::int64_t number;
    std::shared_ptr<const Value> value;

    Entry(const std::vector<at::Tensor> &tensors, std::int64_t with, std::shared_ptr<const Value> made) :
        keys(tensors.begin(), tensors.end()), number(with), value(std::move(made))
    {}
    bool is_of(const std::vector<at::Tensor> &tensors, std::int64_t with) const
    {
      return number == with && keys.size() == tensors.size() &&
             std::equal(keys.begin(), keys.end(), tensors.begin(),
                        [](const Key &key, const at::Tensor &tensor) { return key.is_of(tensor); });
    }
    bool is_gone() const
    {
      return std::any_of(keys.begin(), keys.end(), [](const Key &key) { return key.tensor.expired(); });
    }
  };

  std::size_t capacity_;
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace mollifield::operators
