// See morph/place.h. The dynamic linker knows which file an address of ours came from.
#include "morph/place.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <system_error>

namespace morph {

std::filesystem::path library_file() {
  std::error_code failed;
  Dl_info info{};
  link_map* map = nullptr;
  const bool found =
      dladdr1(reinterpret_cast<void*>(&library_file), &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) != 0;
  // The program itself has no name there, and argv[0] is anyone's.
  if (!found || map == nullptr || map->l_name == nullptr || map->l_name[0] == '\0')
    return std::filesystem::read_symlink("/proc/self/exe", failed);
  std::filesystem::path file = std::filesystem::canonical(map->l_name, failed);
  return failed ? std::filesystem::path(map->l_name) : file;
}

std::filesystem::path share_folder() {
  if (const char* share = std::getenv("MORPH_SHARE")) return share;
  std::error_code failed;
  const std::filesystem::path prefix = library_file().parent_path().parent_path();
  // A library may lie one folder deeper (lib/x86_64-linux-gnu).
  for (const std::filesystem::path& each : {prefix, prefix.parent_path()})
    if (std::filesystem::exists(each / "share" / "morph" / "pipelines", failed)) return each / "share" / "morph";
  return MORPH_SOURCE_FOLDER;
}

}  // namespace morph
