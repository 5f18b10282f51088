// Loaded weights by key, and where checkpoints lie.
#include "morph/model.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "base/nearest.h"
#include "morph/error.h"

namespace morph {
namespace {

std::filesystem::path environment_path(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::filesystem::path() : std::filesystem::path(value);
}

std::vector<std::string> names_in(const std::vector<std::filesystem::path>& roots) {
  std::vector<std::string> names;
  for (const std::filesystem::path& root : roots) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(root, error), end; !error && at != end; at.increment(error))
      names.push_back(at->path().filename().string());
  }
  return names;
}

}  // namespace

std::shared_ptr<const Model> ModelStore::get(const std::string& key, const Loader& load) {
  std::promise<std::shared_ptr<const Model>> promise;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (const auto found = loaded_.find(key); found != loaded_.end()) {
      if (std::shared_ptr<const Model> model = found->second.lock()) return model;
      loaded_.erase(found);
    }
    if (const auto found = loading_.find(key); found != loading_.end()) {
      const std::shared_future<std::shared_ptr<const Model>> other = found->second;
      lock.unlock();
      return other.get();
    }
    loading_.emplace(key, promise.get_future().share());
  }
  try {
    std::shared_ptr<const Model> model = load();
    if (model == nullptr) throw Error(ErrorCode::internal, key, "the loader returned no model");
    const std::lock_guard<std::mutex> lock(mutex_);
    loaded_[key] = model;
    loading_.erase(key);
    promise.set_value(model);
    return model;
  } catch (...) {  // an edge: whatever the loader throws goes to every waiter
    const std::lock_guard<std::mutex> lock(mutex_);
    loading_.erase(key);
    promise.set_exception(std::current_exception());
    throw;
  }
}

void ModelStore::clash(const std::string& key, const std::type_info& asked, const std::type_info& held) {
  throw Error(
      ErrorCode::internal, key,
      fmt::format("two stages load different things under this key: expected {}, found {}; the key must name the "
                  "family",
                  asked.name(), held.name()));
}

void ModelStore::forget(const std::filesystem::path& path) {
  std::error_code error;
  const std::string given = path.lexically_normal().string(),
                    real = std::filesystem::weakly_canonical(path, error).string();
  const auto names = [](const std::string& key, const std::string& text) {
    for (std::size_t at = text.empty() ? key.npos : key.find(text); at != key.npos; at = key.find(text, at + 1)) {
      const char next = at + text.size() < key.size() ? key[at + text.size()] : '/';
      // Not the beginning of a longer name. A suffix belongs to a name: "voice" is not in "voice.onnx".
      if (std::isalnum(static_cast<unsigned char>(next)) == 0 && next != '_' && next != '-' && next != '.') return true;
    }
    return false;
  };
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(loaded_, [&](const auto& entry) { return names(entry.first, given) || names(entry.first, real); });
}

std::filesystem::path cache_folder() {
  if (std::filesystem::path folder = environment_path("MORPH_CACHE"); !folder.empty()) return folder;
  if (std::filesystem::path folder = environment_path("XDG_CACHE_HOME"); !folder.empty()) return folder / "morph";
  if (std::filesystem::path folder = environment_path("HOME"); !folder.empty()) return folder / ".cache" / "morph";
  throw Error(ErrorCode::config, "cache", "expected $MORPH_CACHE, $XDG_CACHE_HOME or $HOME, found none set; set one");
}

ModelLocator::ModelLocator() {
  if (const char* list = std::getenv("MORPH_MODELS")) {
    std::string_view rest = list;
    while (!rest.empty()) {
      const std::size_t colon = rest.find(':');
      if (const std::string_view root = rest.substr(0, colon); !root.empty()) roots_.emplace_back(root);
      rest = colon == rest.npos ? std::string_view() : rest.substr(colon + 1);
    }
  }
  roots_.push_back(cache_folder() / "models");
}

std::filesystem::path ModelLocator::find(const std::string& name_or_path) const {
  if (name_or_path.empty()) throw Error(ErrorCode::weights, "model", "expected a model's name or path, found \"\"");
  std::error_code error;
  const std::filesystem::path asked(name_or_path);
  std::string looked;
  if (!asked.is_absolute()) {
    for (const std::filesystem::path& root : roots_) {
      if (std::filesystem::exists(root / asked, error)) return root / asked;
      looked += (looked.empty() ? "" : ", ") + root.string();
    }
  }
  // A bare word is a name first; anything else may be a path of its own.
  if (std::filesystem::exists(asked, error)) return asked;
  const bool is_name = !asked.is_absolute() && name_or_path.find('/') == std::string::npos;
  if (!is_name)
    throw Error(ErrorCode::weights, name_or_path,
                "there is no such file or folder" + (looked.empty() ? "" : ", nor in " + looked) +
                    "; give another path, or fetch a published model with `morph pull hf:org/name`");
  const std::vector<std::string> near = nearest_names(name_or_path, names_in(roots_));
  std::string hint = near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near.front());
  throw Error(ErrorCode::weights, name_or_path,
              fmt::format("there is no model of this name in {}{}; run `morph pull {}` (`morph pull starter` fetches "
                          "the whole starter pack), or give the path of a checkpoint",
                          looked.empty() ? "any folder" : looked, hint, name_or_path));
}

}  // namespace morph
