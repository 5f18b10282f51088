// OutputFile: whole or not at all, through links, and into what is no file.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "morph/error.h"
#include "morph/output_file.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "morph-output-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }
  std::size_t n_files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(OutputFile& file, std::string_view text) { file.write(std::as_bytes(std::span(text.data(), text.size()))); }

TEST_CASE("an output file appears when it is whole", "[unit]") {
  const Folder folder;
  const fs::path path = folder.path() / "out.txt";
  std::ofstream(path) << "before";
  {
    OutputFile file(path);
    write(file, "half");
    CHECK(text_of(path) == "before");
  }
  CHECK(text_of(path) == "before");
  CHECK(folder.n_files() == 1);
  OutputFile file(path);
  write(file, "whole");
  file.finish();
  CHECK(text_of(path) == "whole");
  CHECK(folder.n_files() == 1);
}

TEST_CASE("an output file replaces what a link leads to, not the link", "[unit]") {
  const Folder folder;
  const fs::path target = folder.path() / "target.txt", link = folder.path() / "link.txt";
  std::ofstream(target) << "before";
  fs::create_symlink("target.txt", link);
  OutputFile file(link);
  write(file, "after");
  file.finish();
  CHECK(fs::is_symlink(link));
  CHECK(text_of(target) == "after");
}

TEST_CASE("an output file that is a pipe is written straight into; a folder is refused", "[unit]") {
  const Folder folder;
  const fs::path pipe = folder.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  {
    OutputFile file(pipe);
    write(file, "through");
    file.finish();
  }
  char bytes[16] = {};
  CHECK(::read(reader, bytes, sizeof(bytes)) == 7);
  CHECK(std::string(bytes) == "through");
  ::close(reader);
  CHECK(fs::is_fifo(pipe));
  CHECK(folder.n_files() == 1);
  CHECK_THROWS_WITH(OutputFile(folder.path()), Catch::Contains("file's name"));
}

TEST_CASE("an output file has no name before it is whole, and keeps the rights of the old one", "[unit]") {
  const Folder folder;
  const fs::path path = folder.path() / "out.txt";
  {
    OutputFile file(path);
    write(file, "half");
    CHECK(folder.n_files() == 0);  // a process that is killed now leaves nothing
    file.finish();
  }
  CHECK(folder.n_files() == 1);
  for (const mode_t mode : {0600u, 0640u, 0644u, 0660u}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    OutputFile file(path);
    write(file, "again");
    file.finish();
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777u) == mode);
  }
  CHECK(folder.n_files() == 1);
}

TEST_CASE("an output file makes what a dangling link leads to", "[unit]") {
  const Folder folder;
  fs::create_symlink("second", folder.path() / "first");
  fs::create_symlink("target.txt", folder.path() / "second");
  OutputFile file(folder.path() / "first");
  write(file, "through");
  file.finish();
  CHECK(fs::is_symlink(folder.path() / "first"));
  CHECK(fs::is_symlink(folder.path() / "second"));
  CHECK(text_of(folder.path() / "target.txt") == "through");
}

TEST_CASE("an output that cannot be written is found before the work", "[unit]") {
  const Folder folder;
  const fs::path good = folder.path() / "out.txt";
  std::ofstream(good) << "before";
  CHECK_NOTHROW(check_output_path(good));
  CHECK_NOTHROW(check_output_path(folder.path() / "new.txt"));
  CHECK(text_of(good) == "before");
  CHECK(folder.n_files() == 1);
  const auto refused = [](const fs::path& path) {
    try {
      check_output_path(path);
    } catch (const Error& error) {
      return error.code() == ErrorCode::config && error.where().find(path.filename().string()) != std::string::npos;
    }
    return false;
  };
  CHECK(refused(folder.path() / "no" / "such" / "out.txt"));
  CHECK(refused(folder.path()));
  CHECK(refused(folder.path() / std::string(300, 'n')));
  fs::create_symlink("no/such/out.txt", folder.path() / "link");
  CHECK_THROWS_AS(check_output_path(folder.path() / "link"), Error);
  const fs::path pipe = folder.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_NOTHROW(check_output_path(pipe));  // and does not wait for a reader
}

}  // namespace
}  // namespace morph
