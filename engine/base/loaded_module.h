// Modules: shared libraries of ours that are loaded when first needed, because what they link (Debian's OpenCV codecs
// with GDAL, FFmpeg with its hundred libraries) is slow to start and large. A module exports C functions only.
#pragma once

#include <filesystem>
#include <string>

namespace morph {

/// A file that is installed beside the modules, such as a program that this library starts. Throws Error{config} that
/// says where it was looked for.
std::filesystem::path find_beside_modules(const std::string& file);

/// A module that stays loaded until the object dies. Looked for in $MORPH_MODULES, then relative to the library that
/// holds the engine (morph/place.h): in modules/ and morph/ beside it, and where an installation puts it.
class LoadedModule {
 public:
  /// `name` such as "image_codecs" (file libmorph_image_codecs.so). Throws Error{config} that says where it was looked
  /// for and why it cannot be loaded.
  explicit LoadedModule(const std::string& name);
  ~LoadedModule();
  LoadedModule(const LoadedModule&) = delete;
  LoadedModule& operator=(const LoadedModule&) = delete;

  /// An exported function; throws Error{internal} when the module does not have it.
  template <class Function>
  Function* function(const std::string& symbol) const {
    return reinterpret_cast<Function*>(address(symbol));
  }

 private:
  void* address(const std::string& symbol) const;
  void* handle_ = nullptr;
  std::string name_;
};

}  // namespace morph
