// Walks everything this build registers: a stage that declares itself badly is found without a test of its own.
#include <catch2/catch.hpp>
#include <cctype>
#include <set>

#include "graph/endpoint.h"
#include "graph/params.h"
#include "morph/registry.h"

using namespace morph;

namespace {

bool modality_name(const std::string& name) {
  for (const char c : name)
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '/' && c != '-') return false;
  return !name.empty();
}

void check_ports(const std::vector<PortSpec>& ports, bool input) {
  std::set<std::string> names;
  for (const PortSpec& port : ports) {
    INFO("port " << port.name);
    CHECK(valid_name(port.name));
    CHECK(names.insert(port.name).second);
    CHECK_FALSE(port.help.empty());
    CHECK_FALSE(port.formats.empty());
    CHECK((input || !port.optional));
    for (const FormatPattern& pattern : port.formats) CHECK(modality_name(pattern.type));
  }
}

void check_param(const ParamSpec& param) {
  INFO("parameter " << param.name);
  CHECK(valid_name(param.name));
  CHECK_FALSE(param.help.empty());
  CHECK((!param.min || !param.max || *param.min <= *param.max));
  CHECK((!param.required || std::holds_alternative<std::monostate>(param.default_value)));
  if (!std::holds_alternative<std::monostate>(param.default_value)) CHECK(why_not(param, param.default_value) == "");
}

}  // namespace

TEST_CASE("every registered stage declares itself well", "[unit]") {
  Registry registry;
  register_everything(registry);
  CHECK_FALSE(registry.stages().empty());
  for (const auto& [name, spec] : registry.stages()) {
    INFO("stage " << name);
    CHECK(valid_path_name(name));
    CHECK_FALSE(spec.help.empty());
    CHECK(spec.max_batch >= 1);
    CHECK_FALSE(spec.devices.empty());
    CHECK((!spec.inputs.empty() || !spec.outputs.empty()));
    check_ports(spec.inputs, true);
    check_ports(spec.outputs, false);
    std::set<std::string> names;
    for (const ParamSpec& param : spec.params) {
      CHECK(names.insert(param.name).second);
      check_param(param);
    }
    if (spec.converter) {
      CHECK(spec.inputs.size() == 1);
      CHECK(spec.outputs.size() == 1);
      for (const ParamSpec& param : spec.params) CHECK_FALSE(param.required);
    }
    if (!spec.source_of.empty()) CHECK(spec.inputs.empty());
    if (!spec.sink_of.empty()) CHECK_FALSE(spec.inputs.empty());
    for (const std::string& suffix : spec.suffixes) {
      CHECK(suffix.size() > 1);
      CHECK(suffix[0] == '.');
      for (const char c : suffix) CHECK_FALSE(std::isupper(static_cast<unsigned char>(c)));
    }
  }
}

TEST_CASE("every registered family can recognise and verify", "[unit]") {
  Registry registry;
  register_everything(registry);
  for (const auto& [name, family] : registry.families()) {
    INFO("family " << name);
    CHECK_FALSE(family.help.empty());
    CHECK(modality_name(family.job));
    CHECK(((family.create && family.describe && family.estimate) || name == "whisper"));
    REQUIRE(family.recognise);
    CHECK(family.verify);
    CHECK_FALSE(family.recognise("/no/such/folder"));
  }
}

TEST_CASE("there is a CPU", "[unit]") {
  Registry registry;
  register_everything(registry);
  const std::vector<DeviceInfo> devices = registry.devices();
  REQUIRE_FALSE(devices.empty());
  CHECK(devices[0].id == "cpu");
  CHECK(devices[0].total_bytes > 0);
  std::set<std::string> ids;
  for (const DeviceInfo& device : devices) CHECK(ids.insert(device.id).second);
}
