// Hub client on libcurl. See morph/hub.h.
#include "morph/hub.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/digest.h"
#include "morph/error.h"
#include "morph/json_limits.h"
#include "morph/message.h"
#include "morph/provenance.h"

namespace morph {
namespace {

constexpr int kAttempts = 5;
// A listing has some 300 bytes and 10 values for each file.
constexpr JsonLimits kListingLimits{32u << 20, 16, 1u << 19};
constexpr std::size_t kMaxFiles = 50'000;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 50;

struct CurlGlobal {
  CurlGlobal() { curl_global_init(CURL_GLOBAL_DEFAULT); }
};

using Curl = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

Curl make_request(const std::string& url, const std::string& token, Headers& headers) {
  static const CurlGlobal global;  // libcurl asks for one initialisation per process
  Curl curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) throw Error(ErrorCode::internal, url, "libcurl could not start");
  CURL* c = curl.get();
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 20L);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 512L);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 30L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "morph/0.1");
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, url.starts_with("https:") ? "https" : "http,https");
  if (!token.empty()) {  // libcurl drops it when a redirect leaves the host
    headers.reset(curl_slist_append(headers.release(), ("Authorization: Bearer " + token).c_str()));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.get());
  }
  return curl;
}

std::size_t append_to_string(char* data, std::size_t size, std::size_t count, void* user) {
  std::string& text = *static_cast<std::string*>(user);
  if (text.size() + size * count > kListingLimits.bytes) return 0;
  text.append(data, size * count);
  return size * count;
}

/// One transfer into a .part file, from where it stands.
struct Transfer {
  std::FILE* out = nullptr;
  std::uint64_t start = 0;     ///< bytes already there
  std::uint64_t written = 0;   ///< bytes of this transfer
  std::uint64_t expected = 0;  ///< whole file
  bool disk_failed = false;
  bool too_long = false;
  CURL* curl = nullptr;
  bool checked_range = false;
  const HubProgress* progress = nullptr;
  const std::string* what = nullptr;
};

std::size_t write_to_file(char* data, std::size_t size, std::size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const std::size_t bytes = size * count;
  if (!transfer.checked_range) {
    transfer.checked_range = true;
    long status = 0;
    curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer.start > 0 && status == 200) {  // the server ignored the range: begin again
      if (std::freopen(nullptr, "wb", transfer.out) == nullptr) return 0;
      transfer.start = 0;
    }
    if (status >= 400) return 0;
  }
  if (transfer.start + transfer.written + bytes > transfer.expected) {
    transfer.too_long = true;
    return 0;
  }
  if (std::fwrite(data, 1, bytes, transfer.out) != bytes) {
    transfer.disk_failed = true;
    return 0;
  }
  transfer.written += bytes;
  if (*transfer.progress)
    (*transfer.progress)(static_cast<double>(transfer.start + transfer.written) /
                             static_cast<double>(std::max<std::uint64_t>(transfer.expected, 1)),
                         *transfer.what);
  return bytes;
}

/// Empty when the file is what the hub said, else what is wrong.
std::string mismatch(const std::filesystem::path& file, const HubFile& expected) {
  std::error_code failed;
  const std::uint64_t size = std::filesystem::file_size(file, failed);
  if (failed) throw Error(ErrorCode::resource, file.string(), "cannot be read back to check it: " + failed.message());
  if (size != expected.bytes) return fmt::format("expected {} bytes, found {}", expected.bytes, size);
  if (!expected.sha256.empty()) {
    const std::string found = file_digest(file, Digest::sha256);
    if (found != expected.sha256) return fmt::format("expected sha256 {}, found {}", expected.sha256, found);
  } else if (!expected.git_blob_sha1.empty()) {
    const std::string prefix = fmt::format("blob {}", size) + '\0';
    const std::string found = file_digest(file, Digest::sha1, prefix);
    if (found != expected.git_blob_sha1)
      return fmt::format("expected blob {}, found {}", expected.git_blob_sha1, found);
  }
  return {};
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed)
    throw Error(ErrorCode::config, folder.string(),
                "expected a folder that can be written to, found: " + failed.message());
}

std::string escape_path(const std::string& path) {
  std::string escaped;
  for (const char c : path) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) != 0 || std::strchr("-._~/", c) != nullptr)
      escaped += c;
    else
      escaped += fmt::format("%{:02X}", u);
  }
  return escaped;
}

void pause_before_retry(int attempt) { std::this_thread::sleep_for(std::chrono::milliseconds(200 << attempt)); }

bool is_own_record(const std::string& path) { return path == "morph.json" || path == kHubRecord; }

bool worth_retrying(CURLcode code, long status) { return code != CURLE_OK || status >= 500 || status == 429; }

}  // namespace

HubModel parse_hub_listing(std::string_view body, const std::string& where) {
  const auto bad = [&](const std::string& why) -> Error {
    return Error(ErrorCode::format, where, "the listing is not what a hub sends: " + why);
  };
  if (const std::string excess = json_excess(body, kListingLimits); !excess.empty()) throw bad(excess);
  const nlohmann::json listing = nlohmann::json::parse(body.begin(), body.end(), nullptr, false);
  if (!listing.is_object() || !listing.contains("siblings") || !listing["siblings"].is_array())
    throw bad("expected an object with \"siblings\"");
  if (listing["siblings"].size() > kMaxFiles)
    throw bad(fmt::format("expected at most {} files, found {}", kMaxFiles, listing["siblings"].size()));
  const auto text_of = [&](const nlohmann::json& object, const char* key, const std::string& whose) -> std::string {
    if (!object.contains(key) || object[key].is_null()) return {};
    if (!object[key].is_string()) throw bad(fmt::format("expected text as \"{}\" of {}, found other", key, whose));
    return object[key].get<std::string>();
  };
  const auto hash_of = [&](const nlohmann::json& object, const char* key, std::size_t digits,
                           const std::string& whose) {
    std::string hash = text_of(object, key, whose);
    if (!hash.empty() && (hash.size() != digits || hash.find_first_not_of("0123456789abcdef") != hash.npos))
      throw bad(fmt::format("expected {} hexadecimal digits as \"{}\" of {}", digits, key, whose));
    return hash;
  };
  HubModel model;
  model.commit = text_of(listing, "sha", "the model");
  if (model.commit.empty() || model.commit.size() > 64 ||
      !std::all_of(model.commit.begin(), model.commit.end(), [](unsigned char c) { return std::isalnum(c) != 0; }))
    throw bad("expected the commit as \"sha\"");
  std::uint64_t total = 0;
  std::set<std::string> paths;
  for (const nlohmann::json& entry : listing["siblings"]) {
    if (!entry.is_object()) throw bad("expected an object for each file");
    HubFile file;
    file.path = text_of(entry, "rfilename", "a file");
    check_relative_path(file.path);
    const std::string shown = '"' + shown_text(file.path) + '"';
    if (!paths.insert(file.path).second) throw bad(shown + " is listed twice");
    const bool large = entry.contains("lfs") && entry["lfs"].is_object();
    const nlohmann::json& about = large ? entry["lfs"] : entry;
    const nlohmann::json size = about.value("size", nlohmann::json());
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > kMaxFileBytes)
      throw bad(fmt::format("expected the size of {} in bytes, found {}", shown, size.dump().substr(0, 40)));
    file.bytes = size.get<std::uint64_t>();
    total += file.bytes;  // 2^50 bytes for each of some 2^16 files at most
    if (total > kMaxFileBytes) throw bad("expected less than a pebibyte in all files together");
    file.sha256 = large ? hash_of(about, "sha256", 64, shown) : "";
    file.git_blob_sha1 = large ? "" : hash_of(entry, "blobId", 40, shown);
    model.files.push_back(std::move(file));
  }
  return model;
}

void check_relative_path(const std::string& path) {
  const auto bad = [&](const char* why) {
    throw Error(ErrorCode::format, "hub listing", fmt::format("refuses the path \"{}\": {}", shown_text(path), why));
  };
  if (path.empty() || path.size() > 512) bad("empty or too long");
  if (path.front() == '/' || path.find('\\') != std::string::npos) bad("not a relative path");
  if (shown_text(path) != path) bad("control characters, or not UTF-8");
  for (const auto& part : std::filesystem::path(path))
    if (part.native().size() > 200) bad("a name of more than 200 bytes");
  for (const auto& part : std::filesystem::path(path))
    if (part == ".." || part == "." || part.empty()) bad("leaves the folder");
}

bool is_downloaded(const std::filesystem::path& file, const HubFile& expected) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) return false;
  if (std::filesystem::file_size(file, failed) != expected.bytes || failed) return false;
  if (!expected.sha256.empty()) return file_sha256(file, true) == expected.sha256;
  return mismatch(file, expected).empty();
}

HubName parse_hub_name(const std::string& text) {
  const auto bad = [&](const char* what) {
    throw Error(ErrorCode::config, "hf:" + text, fmt::format("expected hf:ORG/NAME or hf:ORG/NAME@REVISION, {}", what));
  };
  HubName parsed{"", "", "main"};
  std::string model = text;
  if (const std::size_t at = model.find('@'); at != std::string::npos) {
    parsed.revision = model.substr(at + 1);
    model.resize(at);
  }
  const auto is_word = [](const std::string& word, const char* others) {
    return !word.empty() && word.size() <= 128 && word.front() != '-' && word.find("..") == std::string::npos &&
           word != "." && std::all_of(word.begin(), word.end(), [&](const char c) {
             return std::isalnum(static_cast<unsigned char>(c)) != 0 || (c != 0 && std::strchr(others, c) != nullptr);
           });
  };
  const std::size_t slash = model.find('/');
  if (slash == std::string::npos) bad("found no slash");
  parsed.organisation = model.substr(0, slash);
  parsed.name = model.substr(slash + 1);
  if (!is_word(parsed.organisation, "._-")) bad("the organisation is empty or has other than letters, digits, . _ -");
  if (!is_word(parsed.name, "._-")) bad("the name is empty or has other than letters, digits, . _ -");
  if (!is_word(parsed.revision, "._-/+") || parsed.revision.front() == '/')
    bad("the revision is no branch, tag or commit");
  return parsed;
}

namespace {

/// "host" of "http://host:port/..."; brackets of IPv6 included.
std::string host_of(const std::string& address) {
  std::string rest = address.substr(address.find("://") + 3);
  rest = rest.substr(0, rest.find('/'));
  if (const std::size_t at = rest.rfind('@'); at != rest.npos) rest = rest.substr(at + 1);
  return rest.starts_with('[') ? rest.substr(0, rest.find(']') + 1) : rest.substr(0, rest.find(':'));
}

bool is_this_machine(const std::string& host) {
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos);
}

}  // namespace

HubClient::HubClient(std::string base, std::string token) : base_(std::move(base)), token_(std::move(token)) {
  while (!base_.empty() && base_.back() == '/') base_.pop_back();
  if (!base_.starts_with("http://") && !base_.starts_with("https://"))
    throw Error(ErrorCode::config, "MORPH_HUB",
                "expected an address that begins with https:// or http://, found \"" + base_ + "\"");
  if (!token_.empty() && base_.starts_with("http://") && !is_this_machine(host_of(base_)))
    throw Error(
        ErrorCode::config, "HF_TOKEN",
        "a token is not sent over plain http, where everyone on the way could read it; unset it, or name the hub "
        "by https:// in MORPH_HUB");
}

HubModel HubClient::list(const std::string& name, const std::string& revision) {
  const std::string url =
      fmt::format("{}/api/models/{}/revision/{}?blobs=true", base_, escape_path(name), escape_path(revision));
  std::string body;
  long status = 0;
  CURLcode code = CURLE_OK;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) pause_before_retry(attempt);
    body.clear();
    Headers headers(nullptr, curl_slist_free_all);
    const Curl curl = make_request(url, token_, headers);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append_to_string);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
    code = curl_easy_perform(curl.get());
    if (code == CURLE_WRITE_ERROR)
      throw Error(ErrorCode::format, url,
                  fmt::format("the listing is not what a hub sends (more than {} bytes)", kListingLimits.bytes));
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (!worth_retrying(code, status)) break;
  }
  if (code != CURLE_OK)
    throw Error(ErrorCode::resource, base_,
                fmt::format("cannot be reached ({}); check the network, or set MORPH_HUB to a mirror",
                            curl_easy_strerror(code)));
  if (status == 401 || status == 403)
    throw Error(ErrorCode::config, name, "the hub refuses access; set HF_TOKEN to a token that may read it");
  if (status == 404) throw Error(ErrorCode::config, name, "the hub has no such model or revision (" + revision + ")");
  if (status != 200) throw Error(ErrorCode::resource, base_, fmt::format("answered with HTTP status {}", status));
  HubModel model = parse_hub_listing(body, url);
  model.name = name;
  model.revision = revision;
  return model;
}

void HubClient::download(const HubModel& model, const HubFile& file, const std::filesystem::path& folder,
                         const HubProgress& progress) {
  const std::filesystem::path target = folder / file.path;
  const std::filesystem::path part = target.string() + ".part";
  make_folder(target.parent_path());
  const std::string url = fmt::format("{}/{}/resolve/{}/{}", base_, escape_path(model.name), escape_path(model.commit),
                                      escape_path(file.path));
  bool hash_failed_before = false;
  std::string last = "no attempt was made";
  int attempt = 0;
  while (attempt < kAttempts) {
    std::error_code failed;
    std::uint64_t have = std::filesystem::exists(part) ? std::filesystem::file_size(part, failed) : 0;
    if (have > file.bytes) {
      std::filesystem::remove(part);
      have = 0;
    }
    if (have < file.bytes || file.bytes == 0) {
      if (attempt > 0) pause_before_retry(attempt);
      const File out(std::fopen(part.c_str(), have > 0 ? "ab" : "wb"), std::fclose);
      if (!out)
        throw Error(ErrorCode::resource, part.string(), fmt::format("cannot be written: {}", std::strerror(errno)));
      Headers headers(nullptr, curl_slist_free_all);
      const Curl curl = make_request(url, token_, headers);
      Transfer transfer{out.get(), have, 0, file.bytes, false, false, curl.get(), false, &progress, &file.path};
      // Not CURLOPT_RESUME_FROM: with it libcurl fails by itself when a server ignores the range.
      if (have > 0) curl_easy_setopt(curl.get(), CURLOPT_RANGE, fmt::format("{}-", have).c_str());
      curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, write_to_file);
      curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &transfer);
      const CURLcode code = curl_easy_perform(curl.get());
      long status = 0;
      curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
      const bool flushed = std::fflush(out.get()) == 0;
      if (transfer.disk_failed || !flushed)
        throw Error(ErrorCode::resource, part.string(), "the disk is full; what is there is kept and will be resumed");
      if (status == 404 || status == 401 || status == 403)
        throw Error(ErrorCode::config, url, fmt::format("the hub answers {}", status));
      ++attempt;
      if (transfer.too_long) {
        last = "the server sent more than the listing says";
        std::filesystem::remove(part);
        continue;
      }
      if (code != CURLE_OK || status >= 400) {
        last = status >= 400 ? fmt::format("HTTP status {}", status) : std::string(curl_easy_strerror(code));
        continue;
      }
      if (transfer.start + transfer.written < file.bytes) {
        last = fmt::format("the server ended after {} of {} bytes", transfer.start + transfer.written, file.bytes);
        continue;
      }
    }
    const std::string wrong = mismatch(part, file);
    if (wrong.empty()) {
      std::error_code failed;
      std::filesystem::rename(part, target, failed);
      if (failed)
        throw Error(ErrorCode::resource, target.string(),
                    "the finished file cannot take its name: " + failed.message());
      return;
    }
    std::filesystem::remove(part);
    if (hash_failed_before)
      throw Error(ErrorCode::weights, file.path, "what the hub sends is not what its listing says: " + wrong);
    hash_failed_before = true;
  }
  throw Error(
      ErrorCode::resource, file.path,
      fmt::format("could not be fetched after {} attempts ({}); run the command again to resume", kAttempts, last));
}

bool is_checked(const HubFile& file) { return !file.sha256.empty() || !file.git_blob_sha1.empty(); }

std::vector<HubFile> select_files(const HubModel& model, const std::vector<std::string>& include) {
  const auto ends_with = [](const std::string& path, std::initializer_list<const char*> suffixes) {
    return std::any_of(suffixes.begin(), suffixes.end(), [&](const char* suffix) { return path.ends_with(suffix); });
  };
  std::vector<HubFile> chosen;
  for (const HubFile& file : model.files) {
    const bool pickle = ends_with(file.path, {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"});
    const bool foreign = ends_with(file.path, {".h5", ".msgpack", ".tflite", ".mlmodel", ".onnx_data", ".ot"});
    // What this program says of a folder of models is its own to say: its licence, its family, where it came from.
    const bool clutter = file.path == ".gitattributes" || is_own_record(file.path);
    bool wanted = !pickle && !foreign && !clutter;
    if (!include.empty())
      wanted = !pickle && !is_own_record(file.path) &&
               std::any_of(include.begin(), include.end(), [&](const std::string& pattern) {
                 return fnmatch(pattern.c_str(), file.path.c_str(), 0) == 0;
               });
    if (wanted) chosen.push_back(file);
  }
  return chosen;
}

}  // namespace morph
