// Pipeline documents: JSON to Pipeline with every finding of the schema at once, and back.
//
// Documents may come from anywhere, so size, nesting and the number of keys are limited before anything is built, and
// a key given twice is a finding (JSON readers disagree on which one counts).
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <set>
#include <utility>

#include "base/json_value.h"
#include "base/nearest.h"
#include "graph/endpoint.h"
#include "morph/pipeline.h"
#include "morph/regular_file.h"

namespace morph {
namespace {

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxKeys = 4096;  // in one object
constexpr std::size_t kMaxQueue = 1 << 16;
constexpr std::size_t kMaxFindings = 50;

using Findings = std::vector<std::string>;

[[noreturn]] void refuse(const std::string& where, const Findings& findings) {
  std::string text;
  for (std::size_t i = 0; i < findings.size() && i < kMaxFindings; ++i) text += (i > 0 ? "\n  " : "") + findings[i];
  if (findings.size() > kMaxFindings) text += fmt::format("\n  and {} more", findings.size() - kMaxFindings);
  if (findings.size() > 1) text = fmt::format("{} findings:\n  {}", findings.size(), text);
  throw Error(ErrorCode::pipeline, where, text);
}

std::string line_and_column(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte == 0 ? 0 : byte - 1, text.size()));
  const std::size_t last_line = before.rfind('\n');
  return fmt::format("line {}, column {}", 1 + std::count(before.begin(), before.end(), '\n'),
                     before.size() - (last_line == before.npos ? 0 : last_line + 1) + 1);
}

/// nlohmann's message without its prefix ("[json.exception...] parse error at line 1, column 2: ").
std::string syntax_message(std::string_view what) {
  const std::size_t column = what.find("column ");
  const std::size_t colon = column == what.npos ? what.npos : what.find(": ", column);
  return std::string(colon == what.npos ? what : what.substr(colon + 2));
}

Json parse_json(std::string_view text, const std::string& where, Findings& findings) {
  if (text.size() > kMaxBytes)
    refuse(where, {fmt::format("expected at most {} bytes, found {}", kMaxBytes, text.size())});
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::array_start:
      case Json::parse_event_t::object_start:
        if (depth >= kMaxDepth)
          refuse(where, {fmt::format("expected at most {} levels of nesting, found more", kMaxDepth)});
        if (event == Json::parse_event_t::object_start) keys.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!keys.back().insert(parsed.get<std::string>()).second)
          findings.push_back(fmt::format("key {} is given twice in one object; keep one", parsed.dump()));
        if (keys.back().size() > kMaxKeys)
          refuse(where, {fmt::format("expected at most {} keys in one object, found more", kMaxKeys)});
        break;
      default:
        break;
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::parse_error& error) {
    refuse(where, {line_and_column(text, error.byte) + ": " + syntax_message(error.what())});
  } catch (const Json::exception& error) {
    refuse(where, {syntax_message(error.what())});
  }
}

/// Reads one JSON object member by member; each read names the path of what it does not like.
class Reader {
 public:
  Reader(const Json& json, std::string path, Findings& findings, std::initializer_list<const char*> keys)
      : json_(json), path_(std::move(path)), findings_(findings) {
    if (!json.is_object()) {
      note("", fmt::format("expected an object, found {}", json.type_name()));
      return;
    }
    const std::vector<std::string> known(keys.begin(), keys.end());
    for (const auto& [key, value] : json.items())
      if (std::find(known.begin(), known.end(), key) == known.end()) note(key, "unknown key" + suggest(key, known));
  }

  void note(const std::string& key, const std::string& message) {
    findings_.push_back(path_ + (key.empty() ? "" : "." + key) + ": " + message);
  }
  const Json* find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  std::string string(const char* key, bool required = false) {
    const Json* json = find(key);
    if (json == nullptr) {
      if (required && json_.is_object()) note(key, "expected a string, found nothing; add it");
      return "";
    }
    if (json->is_string()) return json->get<std::string>();
    note(key, fmt::format("expected a string, found {}", json->type_name()));
    return "";
  }
  bool boolean(const char* key) {
    const Json* json = find(key);
    if (json == nullptr) return false;
    if (json->is_boolean()) return json->get<bool>();
    note(key, fmt::format("expected true or false, found {}", json->type_name()));
    return false;
  }
  /// "a.b" or ["a.b", "c.d"].
  std::vector<std::string> endpoints(const char* key) {
    std::vector<std::string> result;
    const Json* json = find(key);
    if (json == nullptr) {
      if (json_.is_object()) note(key, "expected \"stage.name\", found nothing; add it");
      return result;
    }
    const Json list = json->is_array() ? *json : Json::array({*json});
    if (list.empty()) note(key, "expected \"stage.name\", found an empty list");
    for (const Json& item : list) {
      if (item.is_string() && split_endpoint(item.get<std::string>()))
        result.push_back(item.get<std::string>());
      else
        note(key, "expected \"stage.name\", found " + dump_json(item));
    }
    return result;
  }
  Params params(const char* key) {
    Params result;
    const Json* json = find(key);
    if (json == nullptr) return result;
    if (!json->is_object()) {
      note(key, fmt::format("expected an object of parameters, found {}", json->type_name()));
      return result;
    }
    for (const auto& [name, item] : json->items()) {
      if (std::optional<Value> value = from_json_value(item))
        result.set(name, std::move(*value));
      else
        note(std::string(key) + "." + name,
             "expected null, true, false, a number (integers of 64 bits), a string or a list of strings, found " +
                 std::string(item.type_name()));
    }
    return result;
  }
  std::size_t queue() {
    const Json* json = find("queue");
    if (json == nullptr) return 0;
    if (json->is_number_integer() && *json >= 1 && *json <= kMaxQueue) return json->get<std::size_t>();
    note("queue", fmt::format("expected an integer from 1 to {}, found {}", kMaxQueue, dump_json(*json)));
    return 0;
  }

 private:
  const Json& json_;
  std::string path_;
  Findings& findings_;
};

/// Calls `use(name, value, path)` for each member of `$.<key>`.
template <class Use>
void each_member(const Json& document, const char* key, Findings& findings, const Use& use) {
  const auto found = document.find(key);
  if (found == document.end()) return;
  const std::string path = std::string("$.") + key;
  if (!found->is_object()) {
    findings.push_back(fmt::format("{}: expected an object, found {}", path, found->type_name()));
    return;
  }
  for (const auto& [name, value] : found->items()) {
    const std::string inner = path + "." + name;
    if (!valid_name(name))
      findings.push_back(inner + ": expected a name of letters, digits, '_' and '-' (at most 64)");
    else
      use(name, value, inner);
  }
}

std::vector<PipelinePort> parse_ports(const Json& document, const char* key, bool input, Findings& findings) {
  std::vector<PipelinePort> ports;
  each_member(document, key, findings, [&](const std::string& name, const Json& json, const std::string& path) {
    Reader reader = input ? Reader(json, path, findings, {"type", "to", "help", "optional"})
                          : Reader(json, path, findings, {"type", "from", "help"});
    PipelinePort port;
    port.name = name;
    port.type = reader.string("type", true);
    port.endpoints = reader.endpoints(input ? "to" : "from");
    if (!input && port.endpoints.size() > 1) reader.note("from", "expected one \"stage.port\", found a list");
    port.help = reader.string("help");
    port.optional = input && reader.boolean("optional");
    ports.push_back(std::move(port));
  });
  return ports;
}

std::vector<PipelineParam> parse_params(const Json& document, Findings& findings) {
  std::vector<PipelineParam> params;
  each_member(document, "params", findings, [&](const std::string& name, const Json& json, const std::string& path) {
    Reader reader(json, path, findings, {"to", "default", "help"});
    PipelineParam param;
    param.name = name;
    param.targets = reader.endpoints("to");
    if (const Json* value = reader.find("default")) {
      if (std::optional<Value> parsed = from_json_value(*value))
        param.default_value = std::move(*parsed);
      else
        reader.note("default", fmt::format("expected a parameter's value, found {}", value->type_name()));
    }
    param.help = reader.string("help");
    params.push_back(std::move(param));
  });
  return params;
}

std::vector<PipelineStage> parse_stages(const Json& document, Findings& findings) {
  std::vector<PipelineStage> stages;
  each_member(document, "stages", findings, [&](const std::string& name, const Json& json, const std::string& path) {
    Reader reader(json, path, findings, {"stage", "pipeline", "params", "executor"});
    PipelineStage stage;
    stage.name = name;
    stage.stage = reader.string("stage");
    stage.pipeline = reader.string("pipeline");
    if (json.is_object() && stage.stage.empty() == stage.pipeline.empty())
      reader.note("", "expected either \"stage\" (a stage type) or \"pipeline\" (a nested pipeline's name)");
    stage.params = reader.params("params");
    stage.executor = reader.string("executor");
    if (!stage.executor.empty() && !stage.pipeline.empty())
      reader.note("executor", "a nested pipeline's stages have executors of their own; remove it here");
    stages.push_back(std::move(stage));
  });
  if (stages.empty() && findings.empty()) findings.push_back("$.stages: expected at least one stage, found none");
  return stages;
}

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  return first == text.npos ? "" : std::string(text.substr(first, last - first + 1));
}

PipelineLink parse_link(const Json& json, const std::string& path, Findings& findings) {
  PipelineLink link;
  if (json.is_string()) {
    const std::string text = json.get<std::string>();
    const std::size_t arrow = text.find("->");
    if (arrow != text.npos) {
      link.from = trimmed(std::string_view(text).substr(0, arrow));
      link.to = trimmed(std::string_view(text).substr(arrow + 2));
    }
    if (!split_endpoint(link.from) || !split_endpoint(link.to))
      findings.push_back(path + ": expected \"stage.port -> stage.port\", found " + dump_json(json));
    return link;
  }
  Reader reader(json, path, findings, {"from", "to", "queue", "policy", "delay"});
  const auto one = [&](const char* key) {
    const std::vector<std::string> ends = reader.endpoints(key);
    if (ends.size() > 1) reader.note(key, "expected one \"stage.port\", found a list; write one link for each");
    return ends.empty() ? std::string() : ends.front();
  };
  link.from = one("from");
  link.to = one("to");
  link.queue = reader.queue();
  link.delay = reader.boolean("delay");
  const std::string policy = reader.string("policy");
  bool known = policy.empty();
  for (const QueuePolicy each : {QueuePolicy::block, QueuePolicy::drop_oldest, QueuePolicy::latest}) {
    if (policy != to_string(each)) continue;
    link.policy = each;
    known = true;
  }
  if (!known)
    reader.note("policy", "unknown policy \"" + policy + "\"" + suggest(policy, {"block", "drop_oldest", "latest"}));
  return link;
}

std::vector<PipelineLink> parse_links(const Json& document, Findings& findings) {
  std::vector<PipelineLink> links;
  const auto found = document.find("links");
  if (found == document.end()) return links;
  if (!found->is_array()) {
    findings.push_back(fmt::format("$.links: expected a list, found {}", found->type_name()));
    return links;
  }
  for (std::size_t i = 0; i < found->size(); ++i)
    links.push_back(parse_link((*found)[i], fmt::format("$.links[{}]", i), findings));
  return links;
}

Json one_or_list(const std::vector<std::string>& texts) {
  return texts.size() == 1 ? Json(texts.front()) : Json(texts);
}

Json ports_to_json(const std::vector<PipelinePort>& ports, const char* end) {
  Json json = Json::object();
  for (const PipelinePort& port : ports) {
    Json& out = json[port.name] = {{"type", port.type}, {end, one_or_list(port.endpoints)}};
    if (!port.help.empty()) out["help"] = port.help;
    if (port.optional) out["optional"] = true;
  }
  return json;
}

Json link_to_json(const PipelineLink& link) {
  if (link.queue == 0 && link.policy == QueuePolicy::block && !link.delay) return link.from + " -> " + link.to;
  Json json = {{"from", link.from}, {"to", link.to}};
  if (link.queue != 0) json["queue"] = link.queue;
  if (link.policy != QueuePolicy::block) json["policy"] = std::string(to_string(link.policy));
  if (link.delay) json["delay"] = true;
  return json;
}

}  // namespace

std::string_view to_string(QueuePolicy policy) {
  switch (policy) {
    case QueuePolicy::block:
      return "block";
    case QueuePolicy::drop_oldest:
      return "drop_oldest";
    case QueuePolicy::latest:
      return "latest";
  }
  return "block";
}

Pipeline parse_pipeline(std::string_view json, const std::string& where) {
  Findings findings;
  const Json document = parse_json(json, where, findings);
  Pipeline pipeline;
  Reader reader(document, "$", findings,
                {"$schema", "morph", "name", "help", "default", "inputs", "outputs", "params", "stages", "links"});
  if (!document.is_object()) refuse(where, findings);
  if (const Json* version = reader.find("morph"); version == nullptr || !version->is_number_integer() || *version != 1)
    reader.note("morph", "expected 1 (the version of the document's form), found " +
                             (version == nullptr ? "nothing" : dump_json(*version)));
  pipeline.name = reader.string("name", true);
  if (!pipeline.name.empty() && !valid_path_name(pipeline.name))
    reader.note("name",
                "expected names of letters, digits, '_' and '-' joined by '/', found \"" + pipeline.name + "\"");
  pipeline.help = reader.string("help");
  pipeline.is_default = reader.boolean("default");
  pipeline.inputs = parse_ports(document, "inputs", true, findings);
  pipeline.outputs = parse_ports(document, "outputs", false, findings);
  pipeline.params = parse_params(document, findings);
  pipeline.stages = parse_stages(document, findings);
  pipeline.links = parse_links(document, findings);
  if (!findings.empty()) refuse(where, findings);
  return pipeline;
}

Pipeline load_pipeline(const std::filesystem::path& file) {
  Pipeline pipeline = parse_pipeline(read_regular_file(file, kMaxBytes, ErrorCode::pipeline), file.string());
  pipeline.file = file;
  return pipeline;
}

std::string to_json(const Pipeline& pipeline) {
  Json json = {{"morph", 1}, {"name", pipeline.name}};
  if (!pipeline.help.empty()) json["help"] = pipeline.help;
  if (pipeline.is_default) json["default"] = true;
  if (!pipeline.inputs.empty()) json["inputs"] = ports_to_json(pipeline.inputs, "to");
  if (!pipeline.outputs.empty()) json["outputs"] = ports_to_json(pipeline.outputs, "from");
  for (const PipelineParam& param : pipeline.params) {
    Json& out = json["params"][param.name] = {{"to", one_or_list(param.targets)}};
    if (!std::holds_alternative<std::monostate>(param.default_value))
      out["default"] = to_json_value(param.default_value);
    if (!param.help.empty()) out["help"] = param.help;
  }
  json["stages"] = Json::object();
  for (const PipelineStage& stage : pipeline.stages) {
    Json& out = json["stages"][stage.name] = Json::object();
    if (!stage.stage.empty()) out["stage"] = stage.stage;
    if (!stage.pipeline.empty()) out["pipeline"] = stage.pipeline;
    if (!stage.params.values().empty()) out["params"] = to_json_value(stage.params);
    if (!stage.executor.empty()) out["executor"] = stage.executor;
  }
  if (!pipeline.links.empty()) json["links"] = Json::array();
  for (const PipelineLink& link : pipeline.links) json["links"].push_back(link_to_json(link));
  return dump_json(json);
}

}  // namespace morph
