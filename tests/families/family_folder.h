// Checkpoints for the tests of families: the small golden sets in tests/families/golden/ (made by make_golden.py), and
// copies of them that a test may damage.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "morph/error.h"
#include "morph/registry.h"
#include "skipped.h"

namespace morph::testing {

inline std::filesystem::path own_golden(const std::string& name) {
  const char* source = std::getenv("MORPH_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return std::filesystem::path(source) / "tests" / "families" / "golden" / name;
}

/// A checkpoint of the folder beside the checkout; says so when it is left out.
inline bool shared_golden(const std::string& name, std::filesystem::path& folder) {
  const char* golden = std::getenv("MORPH_GOLDEN_DIR");
  folder = std::filesystem::path(golden == nullptr ? "" : golden) / name;
  const bool there = std::filesystem::exists(folder / "golden");
  if (!there) skipped("there is no parity set " + name + " (MORPH_GOLDEN_DIR)");
  return there;
}

/// A copy that is gone with this object.
class FolderCopy {
 public:
  explicit FolderCopy(const std::filesystem::path& of)
      : path_(std::filesystem::temp_directory_path() /
              ("morph-family-" + of.filename().string() + "-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(of, path_, std::filesystem::copy_options::recursive);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_))
      std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_write,
                                   std::filesystem::perm_options::add);
  }
  ~FolderCopy() { std::filesystem::remove_all(path_); }
  FolderCopy(const FolderCopy&) = delete;
  FolderCopy& operator=(const FolderCopy&) = delete;
  const std::filesystem::path& path() const { return path_; }

  void put(const std::string& file, const std::string& bytes) const {
    std::ofstream(path_ / file, std::ios::binary) << bytes;
  }
  /// The first `from` in a file becomes `to`.
  void change(const std::string& file, const std::string& from, const std::string& to) const {
    std::ifstream in(path_ / file, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    in.close();
    const std::size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    put(file, bytes.replace(at, from.size(), to));
  }

 private:
  std::filesystem::path path_;
};

/// Every row passes, in the exact configuration and in the shipped one, each saying what ran and what was allowed.
inline void check_verified(const FamilySpec& family, const std::filesystem::path& folder, double exact_nmse) {
  const std::vector<VerifyRow> rows = family.verify(folder, "cpu");
  REQUIRE_FALSE(rows.empty());
  std::size_t n_exact = 0;
  for (const VerifyRow& row : rows) {
    CAPTURE(row.name, row.configuration, row.note, row.nmse, row.max_abs);
    CHECK(row.status == "pass");
    CHECK_FALSE(row.configuration.empty());
    CHECK(row.tolerance > 0);
    if (!row.configuration.starts_with("exact")) continue;
    ++n_exact;
    CHECK(row.nmse <= exact_nmse);
  }
  CHECK(n_exact * 2 == rows.size());
}

}  // namespace morph::testing
