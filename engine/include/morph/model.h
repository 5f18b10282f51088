// ModelStore: loaded weights, shared by everyone who asks with the same key; ModelLocator: where checkpoints lie.
#pragma once

#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>
#include <vector>

namespace morph {

/// Base of immutable loaded weights.
class Model {
 public:
  virtual ~Model() = default;
};

/// Process-wide map from key (family, path, device, quantisation) to a loaded model. A model lives as long as someone
/// holds it; asking again while it lives returns the same object; two threads that ask at once load once.
/// Thread-safe.
class ModelStore {
 public:
  using Loader = std::function<std::shared_ptr<const Model>()>;
  /// Throws what the loader throws (to every waiter).
  std::shared_ptr<const Model> get(const std::string& key, const Loader& load);

  /// The next request for a model whose key names this file or folder loads it anew; whoever holds the old one keeps
  /// it.
  void forget(const std::filesystem::path& path);

  /// get() for one type of model. Throws Error{internal} when the key already belongs to another type.
  template <class M>
  std::shared_ptr<const M> get_as(const std::string& key, const std::function<std::shared_ptr<const M>()>& load) {
    const std::shared_ptr<const Model> model = get(key, [&]() -> std::shared_ptr<const Model> { return load(); });
    auto typed = std::dynamic_pointer_cast<const M>(model);
    if (!typed) clash(key, typeid(M), typeid(*model));
    return typed;
  }

 private:
  /// Throws Error{internal} that names the key and both types.
  [[noreturn]] static void clash(const std::string& key, const std::type_info& asked, const std::type_info& held);

  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const Model>> loaded_;
  std::map<std::string, std::shared_future<std::shared_ptr<const Model>>> loading_;
};

/// Finds a checkpoint by path or by name in the models folders ($MORPH_MODELS, then <cache>/models).
class ModelLocator {
 public:
  /// Default folders from the environment.
  ModelLocator();
  explicit ModelLocator(std::vector<std::filesystem::path> roots) : roots_(std::move(roots)) {}

  /// Folder (or file) of the model. Throws Error{weights}: names what was looked for and where, and
  /// "run `morph pull starter`" when the name is one of the starter pack's.
  std::filesystem::path find(const std::string& name_or_path) const;
  const std::vector<std::filesystem::path>& roots() const { return roots_; }

 private:
  std::vector<std::filesystem::path> roots_;
};

/// ${MORPH_CACHE}, else ${XDG_CACHE_HOME}/morph, else ~/.cache/morph.
std::filesystem::path cache_folder();

}  // namespace morph
