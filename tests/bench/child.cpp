// Child processes of `morph bench`. See child.h.
#include "bench/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "morph/error.h"
#include "morph/model.h"
#include "morph/place.h"

namespace morph::bench {
namespace {

std::string whole_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Child::Child(const std::vector<std::string>& arguments) : name_(arguments.front()) {
  std::string file = (std::filesystem::temp_directory_path() / "morph-bench-XXXXXX").string();
  const int log = mkstemp(file.data());
  std::array<int, 2> in{-1, -1}, out{-1, -1};
  if (log < 0 || pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0)
    throw Error(ErrorCode::resource, "bench/" + name_, std::string("cannot make pipes: ") + std::strerror(errno));
  stderr_file_ = file;
  in_ = in[1];
  out_ = out[0];
  try {
    process_.emplace(arguments, ChildProcess::Streams{in[0], out[1], log});
  } catch (const Error&) {
    for (const int each : {log, in[0], out[1], in_, out_}) close(each);
    std::filesystem::remove(stderr_file_);
    throw;
  }
  for (const int each : {log, in[0], out[1]}) close(each);
}

Child::~Child() {
  close_input();
  process_->kill();
  process_->wait();
  close(out_);
  std::error_code ignored;
  std::filesystem::remove(stderr_file_, ignored);
}

bool Child::write(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(in_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

void Child::close_input() {
  if (in_ >= 0) close(in_);
  in_ = -1;
}

std::vector<char> Child::read_some(std::size_t most) {
  std::vector<char> bytes(most);
  ssize_t n = 0;
  do n = read(out_, bytes.data(), bytes.size());
  while (n < 0 && errno == EINTR);
  bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return bytes;
}

std::string Child::read_line() {
  for (;;) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    const std::vector<char> more = read_some();
    if (more.empty()) throw Error(ErrorCode::config, "bench/" + name_, "ended early: " + complaints());
    pending_.append(more.begin(), more.end());
  }
}

std::string Child::read_all() {
  for (std::vector<char> more = read_some(); !more.empty(); more = read_some())
    pending_.append(more.begin(), more.end());
  wait();
  return std::exchange(pending_, {});
}

int Child::wait() { return process_->wait(); }

std::uint64_t Child::peak_resident() {
  std::ifstream in(fmt::format("/proc/{}/status", process_->id()));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmHWM:")) peak_ = std::max<std::uint64_t>(peak_, std::stoull(line.substr(6)) * 1024);
  return peak_;
}

std::string Child::complaints() const {
  std::string text = whole_file(stderr_file_);
  if (text.size() > 1200) text = "..." + text.substr(text.size() - 1200);
  return text.empty() ? "it said nothing" : text;
}

std::string morph_binary() {
  if (const char* given = std::getenv("MORPH_BINARY")) return given;
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "morph").string();
}

std::string run_child(const std::vector<std::string>& arguments) {
  Child child(arguments);
  child.close_input();
  std::string text = child.read_all();
  if (const int code = child.wait(); code != 0)
    throw Error(ErrorCode::config, "bench",
                fmt::format("`{:.200}` ended with code {}: {}{}", fmt::format("{}", fmt::join(arguments, " ")), code,
                            child.complaints(), text.substr(text.size() - std::min<std::size_t>(text.size(), 1200))));
  return text;
}

std::string peers_python(bool quiet) {
  const std::filesystem::path list = share_folder() / "tests/bench/peers.txt";
  const std::filesystem::path folder = cache_folder() / "peers", stamp = folder / "peers.txt";
  const std::string python = (folder / "bin/python").string(), wanted = whole_file(list);
  if (wanted.empty())
    throw Error(ErrorCode::config, list.string(), "expected the list of peers, found nothing: set MORPH_SHARE");
  if (std::filesystem::exists(python) && whole_file(stamp) == wanted) return python;
  if (!quiet) fmt::print(stderr, "installing the peers into {} (once; needs the network)\n", folder.string());
  try {
    run_child({"/usr/bin/python3", "-m", "venv", folder.string()});
    run_child({python, "-m", "pip", "install", "--quiet", "-r", list.string()});
  } catch (const Error& error) {
    throw Error(ErrorCode::resource, folder.string(),
                std::string("the peers could not be installed; check the network and that python3-venv is there. ") +
                    error.what());
  }
  std::filesystem::copy_file(list, stamp, std::filesystem::copy_options::overwrite_existing);
  return python;
}

namespace {

std::vector<std::string> peer_command(const std::string& python, const std::string& script,
                                      std::vector<std::string> arguments) {
  const std::filesystem::path file = share_folder() / "tests/bench/peers" / script;
  std::vector<std::string> command = {"/usr/bin/env", "HF_HUB_OFFLINE=1", "PYTHONUNBUFFERED=1", python, file.string()};
  command.insert(command.end(), std::make_move_iterator(arguments.begin()), std::make_move_iterator(arguments.end()));
  return command;
}

}  // namespace

Peer::Peer(const std::string& python, const std::string& script, std::vector<std::string> arguments)
    : child_(peer_command(python, script, std::move(arguments))) {
  child_.read_line();
}

nlohmann::json Peer::go() {
  const std::string line = "go\n";
  child_.write(line);
  return nlohmann::json::parse(child_.read_line());
}

}  // namespace morph::bench
