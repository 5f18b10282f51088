// Provenance records. See morph/provenance.h.
#include "morph/provenance.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "base/byte_file.h"
#include "base/digest.h"
#include "host/file_records.h"
#include "morph/json_limits.h"
#include "morph/log.h"
#include "morph/output_file.h"
#include "morph/regular_file.h"

namespace morph {
namespace {

constexpr std::string_view kMarker = "morph-provenance:1:";
constexpr std::uintmax_t kMaxRecord = 4u << 20;

std::string hash_file(const std::filesystem::path& file) { return file_digest(file, Digest::sha256); }

constexpr JsonLimits kRecordLimits{kMaxRecord, 64, 1u << 18};

/// Discarded when it is beyond the limits or no JSON.
nlohmann::json parse_limited(std::string_view text, const JsonLimits& limits) {
  if (!json_excess(text, limits).empty()) return nlohmann::json(nlohmann::json::value_t::discarded);
  return nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
}

/// Discarded when there is no such file, or none that can be understood.
nlohmann::json read_json(const std::filesystem::path& file, const JsonLimits& limits) {
  if (!other_than_file(file).empty()) return nlohmann::json(nlohmann::json::value_t::discarded);
  return parse_limited(read_regular_file(file, limits.bytes, ErrorCode::format), limits);
}

bool is_utf8(const std::string& text) {
  // What can be shown as it is, but for its control characters, is UTF-8.
  try {
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

nlohmann::json text_to_json(const std::string& text) {
  if (is_utf8(text)) return text;
  std::string hex;
  for (const char byte : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return {{"bytes", hex}};
}

nlohmann::json to_json_value(const Value& value) {
  return std::visit(
      [](const auto& v) -> nlohmann::json {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::monostate>)
          return nullptr;
        else if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
          return text_to_json(v);
        else
          return v;
      },
      value);
}

nlohmann::json to_json_params(const Params& params) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, value] : params.values())
    if (name != "provenance") object[name] = to_json_value(value);
  return object;
}

/// The record that `bytes` hold somewhere.
std::optional<nlohmann::json> find_record(std::string_view bytes, const std::string& where) {
  const std::size_t at = bytes.find(kMarker);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t number = at + kMarker.size();
  const std::size_t colon = bytes.find(':', number);
  std::uintmax_t length = 0;
  bool digits = colon != std::string::npos && colon > number && colon - number < 10;
  for (std::size_t i = number; digits && i < colon; ++i) {
    digits = bytes[i] >= '0' && bytes[i] <= '9';
    length = length * 10 + static_cast<std::uintmax_t>(bytes[i] - '0');
  }
  if (!digits || length == 0 || length > kMaxRecord || colon + 1 + length > bytes.size())
    throw Error(ErrorCode::format, where, "its provenance record is cut short; the file was altered");
  nlohmann::json record = parse_limited(bytes.substr(colon + 1, length), kRecordLimits);
  if (record.is_discarded())
    throw Error(ErrorCode::format, where, "its provenance record is damaged; the file was altered");
  return record;
}

void leave_out(nlohmann::json& record) {
  nlohmann::json names = nlohmann::json::array();
  const auto is_private = [](const nlohmann::json& value) {  // what a person wrote, not the name of a choice
    return value.is_object() ||
           (value.is_string() && value.get_ref<const std::string&>().find_first_of(" \n\t") != std::string::npos);
  };
  const auto clear = [&](nlohmann::json& params, const std::string& prefix) {
    for (auto& [name, value] : params.items()) {
      const bool is_place = value.is_string() && value.get_ref<const std::string&>().starts_with('/');
      if (name == "path" && value.is_string()) {
        value = std::filesystem::path(value.get<std::string>()).filename().string();
      } else if (is_place) {
        value = std::filesystem::path(value.get<std::string>()).filename().string();
        names.push_back(prefix + name);
      } else if (name == "text" || is_private(value)) {
        value = nullptr;
        names.push_back(prefix + name);
      }
    }
  };
  clear(record["params"], "");
  for (nlohmann::json& binding : record["bindings"]) clear(binding["params"], binding["port"].get<std::string>() + ".");
  if (!names.empty()) record["left_out"] = std::move(names);
}

}  // namespace

std::string text_as_json(const std::string& text) { return text_to_json(text).dump(); }

std::optional<std::string> from_hexadecimal(const std::string& digits) {
  if (digits.size() % 2 != 0 || digits.find_first_not_of("0123456789abcdef") != digits.npos) return {};
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string file_sha256(const std::filesystem::path& file, bool remember) {
  if (!remember) return hash_file(file);
  std::error_code failed;
  const auto size = std::filesystem::file_size(file, failed);
  const auto time = failed ? 0 : std::filesystem::last_write_time(file, failed).time_since_epoch().count();
  if (failed) throw Error(ErrorCode::resource, file.string(), "cannot be read to compute its sha256");
  const std::string place = std::filesystem::absolute(file).string() + "|";
  const std::string key = fmt::format("{}{}|{}", place, size, time);
  const std::filesystem::path store = cache_folder() / "hashes.json";
  nlohmann::json known = read_json(store, JsonLimits{16u << 20, 4, 1u << 18});
  if (!known.is_object()) known = nlohmann::json::object();
  if (known.contains(key) && known[key].is_string()) return known[key];
  const std::string hash = hash_file(file);
  for (auto at = known.begin(); at != known.end();)  // forgets what the file was before
    at = at.key().starts_with(place) ? known.erase(at) : std::next(at);
  known[key] = hash;
  // A lost update only costs a hash next time, so a plain rename is enough.
  std::filesystem::create_directories(store.parent_path(), failed);
  const std::string text = known.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
  try {
    OutputFile out(store);
    out.write(std::as_bytes(std::span(text)));
    out.finish();
  } catch (const Error& error) {
    log(LogLevel::warning, "engine/hashes", fmt::format("{}; it is computed again next time", error.what()));
  }
  return hash;
}

std::string make_provenance(const Engine& engine, const Plan& plan, std::uint64_t seed, Provenance extent) {
  nlohmann::json record;
  record["morph"] = MORPH_VERSION;
  record["seed"] = seed;
  record["threads"] = engine.n_threads();
  record["pipeline"] = nlohmann::json::parse(to_json(plan.source));
  record["params"] = to_json_params(Params(plan.options.params));
  if (!plan.options.device.empty()) record["device"] = plan.options.device;
  nlohmann::json bindings = nlohmann::json::array();
  for (const Binding& binding : plan.options.bindings) {
    nlohmann::json entry = {
        {"port", binding.port}, {"stage", binding.stage}, {"params", to_json_params(binding.params)}};
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    if (spec != nullptr && !spec->sink_of.empty()) entry["params"].erase("path");  // where it lies is not what it is
    if (spec != nullptr && !spec->source_of.empty() && binding.params.has("path")) {
      const std::filesystem::path file = binding.params.get_string("path");
      if (is_byte_file(file.string())) {  // bytes that had no name: only what they were
        entry["sha256"] = file_sha256(file, false);
        entry["params"]["path"] = "-";
      } else if (std::filesystem::is_regular_file(file)) {
        entry["params"]["path"] = text_to_json(std::filesystem::absolute(file).lexically_normal().string());
        entry["sha256"] = file_sha256(file, false);
      }
    }
    bindings.push_back(std::move(entry));
  }
  record["bindings"] = std::move(bindings);
  nlohmann::json weights = nlohmann::json::array();
  const auto find_model = [&engine](const std::string& model) { return engine.locator().find(model); };
  for (const auto& [name, file] : weight_files(plan, find_model))
    weights.push_back({{"file", text_to_json(file.parent_path().filename().string() + "/" + file.filename().string())},
                       {"sha256", file_sha256(file, true)}});
  record["weights"] = std::move(weights);
  if (extent == Provenance::discreet) leave_out(record);
  return record.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

RecordedPlan record_plan(const Engine& engine, const std::shared_ptr<const Plan>& plan, std::uint64_t seed,
                         Provenance extent) {
  RecordedPlan recorded{nullptr, make_provenance(engine, *plan, seed, extent)};
  const std::string text = embed_provenance(recorded.record);
  const auto takes = [](const StageSpec* spec) {
    return spec != nullptr && std::any_of(spec->params.begin(), spec->params.end(),
                                          [](const ParamSpec& param) { return param.name == "provenance"; });
  };
  Plan copy = *plan;
  for (PlanNode& node : copy.nodes)
    if (takes(node.spec)) node.params.set("provenance", text);
  for (Binding& binding : copy.options.bindings)
    if (takes(engine.registry().find_stage(binding.stage))) binding.params.set("provenance", text);
  recorded.plan = engine.adopt(std::move(copy));
  return recorded;
}

void keep_provenance(const std::string& path, const std::string& record) {
  if (!other_than_file(path).empty()) return;  // a pipe or a device: it is gone, and nothing lies beside it
  const std::string beside = path + ".provenance.json";
  std::error_code failed;
  std::filesystem::remove(beside, failed);  // of an older output
  if (failed) throw Error(ErrorCode::config, beside, "an older output's record cannot be removed: " + failed.message());
  if (record.empty() || read_provenance(path)) return;
  const std::string text = record + '\n';
  OutputFile out(beside);
  out.write(std::as_bytes(std::span(text)));
  out.finish();
}

std::string embed_provenance(const std::string& record) {
  const std::string json = nlohmann::json::parse(record).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return fmt::format("{}{}:{}", kMarker, json.size(), json);
}

std::optional<std::string> read_provenance(const std::filesystem::path& file) {
  const std::filesystem::path beside = file.string() + ".provenance.json";
  if (std::filesystem::exists(beside)) {
    if (const std::string other = other_than_file(beside); !other.empty())
      throw Error(ErrorCode::format, beside.string(), "expected a record of provenance, found " + other);
    nlohmann::json record = read_json(beside, kRecordLimits);
    if (record.is_discarded()) throw Error(ErrorCode::format, beside.string(), "is not JSON; the record is damaged");
    return record.dump(2);
  }
  if (const std::string other = other_than_file(file); !other.empty())
    throw Error(ErrorCode::format, file.string(), "expected an output of morph, found " + other);
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorCode::format, file.string(), "cannot be read; give the path of an output of morph");
  // Metadata is at the beginning or the end of every container written here, but a whole read is simple and outputs
  // are small next to memory; very large ones are read from both ends.
  constexpr std::streamoff kEnd = 8 << 20;
  in.seekg(0, std::ios::end);
  const std::streamoff size = in.tellg();
  std::string bytes;
  const auto append = [&](std::streamoff from, std::streamoff count) {
    const std::size_t old = bytes.size();
    bytes.resize(old + static_cast<std::size_t>(count));
    in.seekg(from);
    in.read(bytes.data() + old, count);
  };
  if (size <= 2 * kEnd) {
    append(0, size);
  } else {
    append(0, kEnd);
    append(size - kEnd, kEnd);
  }
  return find_provenance(bytes, file.string());
}

std::optional<std::string> find_provenance(std::string_view bytes, const std::string& where) {
  // In JSON the text is a string, with escapes of its own.
  std::string inner;
  if (const nlohmann::json document = parse_limited(bytes, JsonLimits{16u << 20, 64, 1u << 20});
      document.is_object() && document.contains("provenance") && document["provenance"].is_string()) {
    inner = document["provenance"].get<std::string>();
    bytes = inner;
  }
  const std::optional<nlohmann::json> record = find_record(bytes, where);
  return record ? std::optional(record->dump(2)) : std::nullopt;
}

}  // namespace morph
