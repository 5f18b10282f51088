// The thread budget holds inside OpenVINO: a model that may use one thread computes on its caller's alone, while
// compiling, too. Processor time is compared with processor time, so a busy machine changes nothing.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "delegates/openvino/delegate.h"
#include "engine/delegates/openvino/tiny_onnx.h"

using namespace morph;
using namespace morph::openvino;
using namespace morph::testing;

namespace {

double seconds(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace

TEST_CASE("a model with one thread computes on its caller's alone", "[unit][openvino]") {
  std::string name = (std::filesystem::temp_directory_path() / "morph-threads-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  const std::filesystem::path folder = name, file = folder / "long.onnx";
  std::vector<TinyNode> nodes;
  std::string last = "a";
  for (int i = 0; i < 12; ++i) {  // not to be fused into one cheap pass
    const std::string next = "x" + std::to_string(i);
    nodes.push_back({i % 2 == 0 ? "Sin" : "Softsign", {last}, {next}});
    last = next;
  }
  std::ofstream(file, std::ios::binary) << tiny_onnx(nodes, {"a"}, {last});
  ModelStore store;
  const double all_before = seconds(RUSAGE_SELF), own_before = seconds(RUSAGE_THREAD);
  const auto model = OnnxModel::load(store, file, {.n_threads = 1, .cache_compiled = false});
  const auto session = model->create_session();
  const OnnxTensors inputs{{"a", OnnxTensor::f32({1 << 21}, std::vector<float>(1 << 21, 0.5f))}};
  double own = 0.0;
  for (int i = 0; i < 200 && own < 0.5; ++i) {  // enough for the clock's grain
    session->run(inputs);
    own = seconds(RUSAGE_THREAD) - own_before;
  }
  const double others = seconds(RUSAGE_SELF) - all_before - own;
  std::filesystem::remove_all(folder);
  INFO("this thread " << own << " s, all others " << others << " s");
  CHECK(own > 0.1);
  CHECK(others < 0.2 * own);
}
