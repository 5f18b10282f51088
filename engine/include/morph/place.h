// Where this build lies: what comes with it (pipelines, the starter pack's manifest) is found relative to the library
// that holds the engine, so that it works in a program, in a Python module and after an installation alike.
#pragma once

#include <filesystem>

namespace morph {

/// The file that holds the engine: a program that it is linked into, or the shared library.
std::filesystem::path library_file();

/// Folder with pipelines/ and assets/: $MORPH_SHARE, else ../share/morph of the library's folder, else the source tree
/// it was built from.
std::filesystem::path share_folder();

}  // namespace morph
