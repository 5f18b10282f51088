// SegmentFiles: see segment_files.h.
#include "exec/segment_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include "morph/error.h"
#include "morph/output_file.h"

namespace morph::exec {

namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const char* what, int number) {
  const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG || number == EIO;
  throw Error(full ? ErrorCode::resource : ErrorCode::config, file.string(),
              std::string(what) + " (" + std::strerror(number) + ")");
}

/// A descriptor that is closed at the end of its scope.
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

}  // namespace

void write_durably(const std::filesystem::path& file, std::span<const std::byte> head, std::span<const std::byte> body,
                   std::filesystem::path temporary) {
  if (temporary.empty()) {
    temporary = file;
    temporary += ".new";
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) fail(file, "expected a file's name", EISDIR);
  std::filesystem::remove(temporary, ignored);
  {
    const Descriptor out{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
    if (out.number < 0) fail(file, "expected a folder that can be written to", errno);
    int error = write_all(out.number, head);
    if (error == 0) error = write_all(out.number, body);
    if (error == 0 && ::fsync(out.number) != 0) error = errno;
    if (error == 0 && std::rename(temporary.c_str(), file.c_str()) != 0) error = errno;
    if (error != 0) {
      ::unlink(temporary.c_str());
      fail(file, "writing failed", error);
    }
  }
  const std::filesystem::path parent = file.parent_path().empty() ? "." : file.parent_path();
  const Descriptor folder{::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.number >= 0) ::fsync(folder.number);  // the name; not every file system can, and the content is safe
}

SegmentFiles::SegmentFiles(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);
  if (failed)
    throw Error(ErrorCode::config, folder_.string(),
                "expected a folder for what a saved run has made so far; it cannot be made (" + failed.message() + ")");
}

std::filesystem::path SegmentFiles::path_of(std::size_t index) const {
  std::string number = std::to_string(index);
  number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');
  return folder_ / (number + ".segment");
}

void SegmentFiles::add(std::span<const std::byte> bytes) {
  write_durably(path_of(segments_.size()), bytes);
  segments_.push_back({bytes.size(), wire::crc32(bytes)});
}

std::vector<std::byte> SegmentFiles::read(std::size_t index) const {
  const std::filesystem::path path = path_of(index);
  const Segment& segment = segments_.at(index);
  std::error_code failed;
  const std::uintmax_t found = std::filesystem::file_size(path, failed);
  if (failed || found != segment.n_bytes)
    throw Error(ErrorCode::format, path.string(),
                "expected a segment of " + std::to_string(segment.n_bytes) + " bytes that the saved run has made, " +
                    (failed ? std::string("found none") : "found one of " + std::to_string(found)) +
                    "; it belongs beside the checkpoint, start the run anew when it is lost");
  std::vector<std::byte> bytes(static_cast<std::size_t>(segment.n_bytes));
  std::ifstream stream(path, std::ios::binary);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!stream || wire::crc32(bytes) != segment.crc)
    throw Error(ErrorCode::format, path.string(),
                "the segment is damaged: its checksum is not that of what the saved run has made; start the run anew");
  return bytes;
}

void SegmentFiles::save(wire::Writer& writer) const {
  writer.u64(segments_.size());
  for (const Segment& segment : segments_) {
    writer.u64(segment.n_bytes);
    writer.u32(segment.crc);
  }
}

void SegmentFiles::restore(wire::Reader& reader) {
  segments_.resize(reader.count(reader.u64(), 12));
  for (Segment& segment : segments_) {
    segment.n_bytes = reader.u64();
    segment.crc = reader.u32();
  }
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    std::error_code failed;
    if (std::filesystem::file_size(path_of(i), failed) != segments_[i].n_bytes || failed)
      read(i);  // says what is wrong
  }
}

}  // namespace morph::exec
