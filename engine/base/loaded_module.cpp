// Loading of modules by dlopen. See loaded_module.h.
#include "base/loaded_module.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/short_of_memory.h"
#include "morph/error.h"
#include "morph/place.h"

namespace morph {
namespace {

std::vector<std::filesystem::path> folders() {
  std::vector<std::filesystem::path> list;
  if (const char* chosen = std::getenv("MORPH_MODULES")) list.emplace_back(chosen);
  const std::filesystem::path folder = library_file().parent_path();
  list.push_back(folder / "modules");
  list.push_back(folder / "morph");
  list.push_back(folder.parent_path() / MORPH_LIBRARY_FOLDER / "morph");
  return list;
}

}  // namespace

std::filesystem::path find_beside_modules(const std::string& file) {
  std::string looked;
  for (const auto& folder : folders()) {
    std::error_code failed;
    if (std::filesystem::exists(folder / file, failed)) return folder / file;
    looked += (looked.empty() ? "" : ", ") + folder.string();
  }
  throw Error(ErrorCode::config, file, "was not found in " + looked + "; build all targets, or set MORPH_MODULES");
}

LoadedModule::LoadedModule(const std::string& name) : name_(name) {
  const std::filesystem::path file = find_beside_modules("libmorph_" + name + ".so");
  handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ != nullptr) return;
  const std::string why = dlerror();
  throw Error(says_short_of_memory(why) ? ErrorCode::resource : ErrorCode::config, file.string(),
              "cannot be loaded: " + why);
}

LoadedModule::~LoadedModule() = default;  // libraries with threads of their own do not survive dlclose

void* LoadedModule::address(const std::string& symbol) const {
  void* found = dlsym(handle_, symbol.c_str());
  if (found == nullptr) throw Error(ErrorCode::internal, name_, "the module lacks " + symbol);
  return found;
}

}  // namespace morph
