// See pdf_pages.h. pdftoppm writes its pages to a pipe as binary PPM, one after the other, and waits while it is full.
#include "io/pdf_pages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>
#include <vector>

#include "morph/error.h"

extern char** environ;  // NOLINT: POSIX names it

namespace morph::image {
namespace {

constexpr int kDotsPerInch = 200;
constexpr double kMostSide = 10000;  // pixels
constexpr int kTimeoutMs = 60000;
constexpr rlim_t kMemory = rlim_t{2} << 30;
constexpr std::size_t kMostComplaint = 4096;

/// A running program whose standard input is a file and whose outputs are pipes. Killed and reaped with the object.
class Program {
 public:
  Program(const std::vector<std::string>& words, int input, const std::string& where) : where_(where) {
    std::array<int, 2> out{-1, -1}, err{-1, -1};
    if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) {
      for (const int handle : out) ::close(handle);
      throw Error(ErrorCode::resource, where, fmt::format("cannot make a pipe ({})", std::strerror(errno)));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int failed = ::posix_spawnp(&id_, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    ::close(err[1]);
    out_ = out[0];
    err_ = err[0];
    if (failed == 0) {
      const rlimit memory{kMemory, kMemory};
      ::prlimit(id_, RLIMIT_AS, &memory, nullptr);
      return;
    }
    id_ = -1;
    close_pipes();
    if (failed == ENOENT)
      throw Error(ErrorCode::config, where,
                  fmt::format("reading PDF files needs the program {}; install it (Debian: poppler-utils)", words[0]));
    throw Error(ErrorCode::resource, where, fmt::format("{} cannot be started ({})", words[0], std::strerror(failed)));
  }
  ~Program() {
    if (id_ > 0) ::kill(id_, SIGKILL);
    wait();
    close_pipes();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Up to `n` bytes of its standard output; fewer only at its end.
  std::size_t read(char* to, std::size_t n) {
    std::size_t done = 0;
    while (done < n) {
      std::array<pollfd, 2> waits{{{out_, POLLIN, 0}, {err_, POLLIN, 0}}};
      const int ready = ::poll(waits.data(), waits.size(), kTimeoutMs);
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0)
        throw Error(ErrorCode::resource, where_,
                    fmt::format("the PDF reader did not answer within {} s; it was stopped", kTimeoutMs / 1000));
      if (waits[1].revents != 0) listen();
      if (waits[0].revents == 0) continue;
      const ssize_t got = ::read(out_, to + done, n - done);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  /// Waits for its end. True when it says that all went well.
  bool succeeded() {
    while (err_ >= 0) listen();
    return wait() == 0;
  }
  /// The first line that it complained with.
  std::string complaint() const { return complaint_.substr(0, complaint_.find('\n')); }

 private:
  void listen() {
    std::array<char, 1024> block{};
    const ssize_t got = ::read(err_, block.data(), block.size());
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) {
      ::close(std::exchange(err_, -1));
    } else if (complaint_.size() < kMostComplaint) {
      complaint_.append(block.data(), static_cast<std::size_t>(got));
    }
  }
  int wait() {
    while (id_ > 0) {
      if (::waitpid(id_, &status_, 0) < 0 && errno == EINTR) continue;
      id_ = -1;
    }
    return status_;
  }
  void close_pipes() {
    if (out_ >= 0) ::close(std::exchange(out_, -1));
    if (err_ >= 0) ::close(std::exchange(err_, -1));
  }

  std::string where_, complaint_;
  pid_t id_ = -1;
  int out_ = -1, err_ = -1, status_ = 0;
};

/// What pdfinfo says: pages, and the longest side of any in points.
struct Outline {
  int pages = 0;
  double longest = 0;
};

Outline parse_outline(const std::string& text) {
  Outline outline;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Pages:")) outline.pages = std::atoi(line.c_str() + 6);
    const std::size_t size = line.find(" size:");
    if (!line.starts_with("Page") || size == std::string::npos) continue;
    double width = 0, height = 0;
    char x = 0;
    std::istringstream numbers(line.substr(size + 6));
    if (numbers >> width >> x >> height) outline.longest = std::max({outline.longest, width, height});
  }
  return outline;
}

}  // namespace

struct PdfPages::Impl {
  std::string where;
  int file = -1;
  Outline outline;
  std::unique_ptr<Program> painter;
  int page = 0;

  explicit Impl(std::string name) : where(std::move(name)) {
    file = memfd_create("pdf", MFD_CLOEXEC);
    if (file < 0) throw Error(ErrorCode::resource, where, "there is no memory for a copy of it");
  }
  ~Impl() {
    painter.reset();
    if (file >= 0) ::close(file);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void fill(std::span<const std::byte> bytes) const {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(file, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw Error(ErrorCode::resource, where, "there is no memory for a copy of it");
      done += static_cast<std::size_t>(n);
    }
  }

  void look() {
    ::lseek(file, 0, SEEK_SET);
    Program info({"pdfinfo", "-f", "1", "-l", "1000000", "-"}, file, where);
    std::string text;
    std::array<char, 65536> block{};
    for (std::size_t n = 1; n > 0 && text.size() < (std::size_t{64} << 20);)
      text.append(block.data(), n = info.read(block.data(), block.size()));
    outline = parse_outline(text);
    if (!info.succeeded() || outline.pages < 1)
      throw Error(ErrorCode::format, where,
                  fmt::format("expected a PDF file that can be opened, but poppler says: {}",
                              info.complaint().empty() ? "no pages" : info.complaint()));
  }

  void paint() {
    const double fitting = outline.longest > 0 ? kMostSide * 72 / outline.longest : kDotsPerInch;
    const int dots = std::clamp(static_cast<int>(fitting), 1, kDotsPerInch);
    ::lseek(file, 0, SEEK_SET);
    painter =
        std::make_unique<Program>(std::vector<std::string>{"pdftoppm", "-r", std::to_string(dots), "-"}, file, where);
  }

  [[noreturn]] void damaged() const {
    throw Error(ErrorCode::format, where,
                fmt::format("page {} of {} cannot be drawn{}", page + 1, outline.pages,
                            painter->complaint().empty() ? "" : ": " + painter->complaint()));
  }

  /// The next number of a PPM header, and the one byte after it.
  int header_number() {
    std::string digits;
    for (char c = 0; digits.size() < 8;) {
      if (painter->read(&c, 1) != 1) damaged();
      if (c < '0' || c > '9') break;
      digits += c;
    }
    if (digits.empty() || digits.size() >= 8) damaged();
    return std::atoi(digits.c_str());
  }
};

PdfPages::PdfPages(std::span<const std::byte> bytes, std::string where)
    : impl_(std::make_unique<Impl>(std::move(where))) {
  impl_->fill(bytes);
  impl_->look();
}

PdfPages::~PdfPages() = default;

int PdfPages::count() const { return impl_->outline.pages; }

std::shared_ptr<Image> PdfPages::next() {
  Impl& pdf = *impl_;
  if (!pdf.painter) pdf.paint();
  std::array<char, 3> magic{};
  const std::size_t got = pdf.painter->read(magic.data(), magic.size());
  if (got == 0) {
    if (!pdf.painter->succeeded() || pdf.page < pdf.outline.pages) pdf.damaged();
    return nullptr;
  }
  if (got != magic.size() || std::string_view(magic.data(), 3) != "P6\n") pdf.damaged();
  auto image = std::make_shared<Image>();
  image->width = pdf.header_number();
  image->height = pdf.header_number();
  const int most = pdf.header_number();
  if (image->width < 1 || image->height < 1 || image->width > 2 * kMostSide || image->height > 2 * kMostSide ||
      most != 255)
    pdf.damaged();
  image->pixels.resize(static_cast<std::size_t>(image->width) * static_cast<std::size_t>(image->height) * 3);
  if (pdf.painter->read(reinterpret_cast<char*>(image->pixels.data()), image->pixels.size()) != image->pixels.size())
    pdf.damaged();
  ++pdf.page;
  return image;
}

}  // namespace morph::image
