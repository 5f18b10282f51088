// The OpenVINO delegate on models written by the test, and on the starter pack's where that is there ([weights]).
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "delegates/openvino/delegate.h"
#include "delegates/openvino/onnx_file.h"
#include "delegates/openvino/seeded_noise.h"
#include "engine/delegates/openvino/tiny_onnx.h"
#include "morph/registry.h"

using namespace morph;
using namespace morph::openvino;
using morph::testing::tiny_onnx;

namespace {

/// A folder that goes away with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "morph-onnx-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

std::string add_model() {
  return tiny_onnx({{"Add", {"a", "b"}, {"sum"}}}, {"a", "b"}, {"sum"}, {{"character", "x\ny"}, {"stage", "rec"}});
}

std::string noise_model() {
  return tiny_onnx({{"RandomNormalLike", {"a"}, {"z"}}, {"Add", {"a", "z"}, {"noisy"}}}, {"a"}, {"noisy"});
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    INFO(error.what());
    CHECK_FALSE(error.message().empty());
    return error.code();
  }
  FAIL("expected an error");
  return ErrorCode::internal;
}

const OnnxOptions kUncached{.cache_compiled = false};

}  // namespace

TEST_CASE("a model is described and run with dynamic shapes", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto model = OnnxModel::load(store, folder.write("add.onnx", add_model()), kUncached);
  REQUIRE(model->inputs().size() == 2);
  CHECK(model->inputs()[0].name == "a");
  CHECK(model->inputs()[0].shape == std::vector<std::int64_t>{-1});
  CHECK(model->inputs()[0].type == OnnxType::f32);
  CHECK(model->outputs().at(0).name == "sum");
  CHECK(model->metadata().at("character") == "x\ny");
  CHECK(model->metadata().at("stage") == "rec");
  const auto session = model->create_session();
  for (const std::size_t n : {3u, 5u, 1u}) {
    std::vector<float> a(n), b(n);
    std::iota(a.begin(), a.end(), 1.0f);
    std::iota(b.begin(), b.end(), 10.0f);
    const auto shape = std::vector<std::int64_t>{static_cast<std::int64_t>(n)};
    const auto outputs = session->run({{"a", OnnxTensor::f32(shape, a)}, {"b", OnnxTensor::f32(shape, b)}});
    const auto sum = outputs.at("sum").values<float>();
    REQUIRE(sum.size() == n);
    for (std::size_t i = 0; i < n; ++i) CHECK(sum[i] == a[i] + b[i]);
  }
}

TEST_CASE("the same file and options load once", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto file = folder.write("add.onnx", add_model());
  const auto first = OnnxModel::load(store, file, kUncached);
  CHECK(OnnxModel::load(store, file, kUncached) == first);
  CHECK(OnnxModel::load(store, file, {.n_threads = 2, .cache_compiled = false}) != first);
}

TEST_CASE("wrong inputs are named", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto session = OnnxModel::load(store, folder.write("add.onnx", add_model()), kUncached)->create_session();
  const std::vector<float> three{1, 2, 3};
  const std::vector<std::int64_t> whole{1, 2, 3};
  const OnnxTensor good = OnnxTensor::f32({3}, three);
  CHECK(code_of([&] { session->run({{"a", good}}); }) == ErrorCode::internal);
  CHECK(code_of([&] { session->run({{"a", good}, {"b", good}, {"c", good}}); }) == ErrorCode::internal);
  CHECK(code_of([&] { session->run({{"a", good}, {"b", OnnxTensor::i64({3}, whole)}}); }) == ErrorCode::internal);
  CHECK(code_of([&] { session->run({{"a", good}, {"b", OnnxTensor::f32({1, 3}, three)}}); }) == ErrorCode::internal);
  CHECK(code_of([&] {
          session->run({{"a", good}, {"b", OnnxTensor{OnnxType::f32, {4}, good.data}}});
        }) == ErrorCode::internal);
  CHECK(code_of([&] { OnnxTensor::f32({2}, three); }) == ErrorCode::internal);
  CHECK(code_of([&] { good.values<std::int64_t>(); }) == ErrorCode::internal);
  CHECK_NOTHROW(session->run({{"a", good}, {"b", good}}));
}

TEST_CASE("damaged and foreign files are refused as weights", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const std::string whole = add_model();
  const auto load = [&](const std::string& name, const std::string& bytes) {
    return code_of([&] { OnnxModel::load(store, folder.write(name, bytes), kUncached); });
  };
  CHECK(load("empty.onnx", "") == ErrorCode::weights);
  CHECK(load("text.onnx", "this is not a model at all, it is a sentence") == ErrorCode::weights);
  CHECK(load("half.onnx", whole.substr(0, whole.size() / 2)) == ErrorCode::weights);
  CHECK(load("short.onnx", whole.substr(0, whole.size() - 1)) == ErrorCode::weights);
  CHECK(load("model.gguf", whole) == ErrorCode::weights);
  CHECK(load("broken.xml", "<net><layers></net>") == ErrorCode::weights);
  CHECK(load("unknown_op.onnx", tiny_onnx({{"NoSuchOp", {"a"}, {"b"}}}, {"a"}, {"b"})) == ErrorCode::weights);
  CHECK(code_of([&] { OnnxModel::load(store, "/nowhere/model.onnx"); }) == ErrorCode::weights);
  CHECK(code_of([&] { estimate_onnx("/nowhere/model.onnx"); }) == ErrorCode::weights);
}

TEST_CASE("every truncation of a model is noticed by the file reader", "[unit][openvino]") {
  const std::string whole = add_model();
  const auto parse = [](const std::string& bytes) {
    return parse_onnx(std::as_bytes(std::span(bytes.data(), bytes.size())), "m.onnx");
  };
  CHECK(parse(whole).metadata.size() == 2);
  std::size_t n_accepted = 0;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    try {
      parse(whole.substr(0, n));
      ++n_accepted;  // cut exactly between two top-level fields
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::weights);
    }
  }
  CHECK(n_accepted <= 3);
}

TEST_CASE("weights are counted by the shapes in the file, integers of convolutions apart", "[unit][openvino]") {
  const auto field = [](int number, const std::string& bytes) {  // length-delimited, shorter than 128 bytes
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
  };
  const auto tensor = [&](const std::string& name, char type, const std::string& dims) {
    return field(1, dims) + std::string{2 << 3, type} + field(8, name) + field(9, "raw");
  };
  const std::string graph = field(5, tensor("real", 1, "\x0a\x14")) +                               // 10 x 20
                            field(5, std::string{1 << 3, 5, 1 << 3, 6} + std::string{2 << 3, 3}) +  // 5 x 6, unpacked
                            field(5, tensor("w", 2, "\x07\x07")) + field(5, tensor("index", 7, "\x64")) +
                            field(1, field(1, "x") + field(1, "w") + field(4, "ConvInteger")) +
                            field(1, field(4, "Constant") + field(5, field(5, tensor("c", 10, "\x03"))));
  REQUIRE(graph.size() < 128 * 128);
  const std::string size{static_cast<char>((graph.size() & 0x7f) | 0x80), static_cast<char>(graph.size() >> 7)};
  const std::string model = std::string{7 << 3 | 2} + size + graph;
  const OnnxWeights counted = count_onnx_weights(std::as_bytes(std::span(model.data(), model.size())), "m.onnx");
  CHECK(counted.real == 203);
  CHECK(counted.integer == 30);
  CHECK(counted.unfolded == 49);
}

TEST_CASE("a device that is absent is an error that names it", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto file = folder.write("add.onnx", add_model());
  CHECK(code_of([&] { OnnxModel::load(store, file, {.device = "cuda:0"}); }) == ErrorCode::device);
  CHECK(code_of([&] { OnnxModel::load(store, file, {.device = "gpu:x"}); }) == ErrorCode::device);
  Registry registry;
  register_openvino_devices(registry);
  for (const std::string kind : {"gpu", "npu"}) {
    bool present = false;
    for (const DeviceInfo& device : registry.devices()) present = present || device.kind == kind;
    if (present) continue;
    try {
      OnnxModel::load(store, file, {.device = kind});
      FAIL("loaded on an absent device");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::device);
      CHECK(error.message().find(kind) != std::string::npos);
    }
  }
}

TEST_CASE("seeded noise repeats and is normal", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto model = OnnxModel::load(store, folder.write("noise.onnx", noise_model()),
                                     {.seeded_noise = true, .cache_compiled = false});
  CHECK(model->inputs().size() == 1);
  CHECK(model->outputs().size() == 1);
  const auto sample = [&](OnnxSession& session, std::int64_t n) {
    const auto outputs = session.run({{"a", OnnxTensor::zeros(OnnxType::f32, {n})}});
    const auto values = outputs.at("noisy").values<float>();
    return std::vector<float>(values.begin(), values.end());
  };
  const auto one = model->create_session(), two = model->create_session();
  one->set_noise_seed(7);
  two->set_noise_seed(7);
  const auto first = sample(*one, 20000);
  CHECK(first == sample(*two, 20000));
  CHECK(first != sample(*one, 20000));  // the second run goes on
  one->set_noise_seed(7);
  CHECK(first == sample(*one, 20000));
  two->set_noise_seed(8);
  CHECK(first != sample(*two, 20000));
  double sum = 0, squares = 0;
  for (const float x : first) {
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += double(x) * x;
  }
  CHECK(std::abs(sum / 20000) < 0.03);
  CHECK(squares / 20000 == Approx(1.0).margin(0.04));
}

TEST_CASE("noise beyond the first pool neither repeats nor depends on the pool", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto model = OnnxModel::load(store, folder.write("noise.onnx", noise_model()),
                                     {.seeded_noise = true, .cache_compiled = false});
  const auto session = model->create_session();
  constexpr std::int64_t kMany = 300000;
  const auto large = session->run({{"a", OnnxTensor::zeros(OnnxType::f32, {kMany})}});
  const auto values = large.at("noisy").values<float>();
  REQUIRE(values.size() == kMany);
  CHECK(std::memcmp(values.data(), values.data() + (1 << 18), 1000 * sizeof(float)) != 0);
  const auto fresh = model->create_session()->run({{"a", OnnxTensor::zeros(OnnxType::f32, {1000})}});
  CHECK(std::memcmp(values.data(), fresh.at("noisy").data.data(), 1000 * sizeof(float)) == 0);
}

TEST_CASE("uniform numbers stay inside (0, 1) and are spread evenly", "[unit][openvino]") {
  std::vector<float> values(1 << 16), longer(1 << 17);
  fill_uniform(3, 1, values);
  fill_uniform(3, 1, longer);
  CHECK(std::equal(values.begin(), values.end(), longer.begin()));
  std::vector<int> bins(16);
  for (const float x : values) {
    REQUIRE(x > 0.0f);
    REQUIRE(x < 1.0f);
    ++bins[static_cast<std::size_t>(x * 16)];
  }
  for (const int n : bins) CHECK(std::abs(n - 4096) < 300);
}

TEST_CASE("products with integer weights are exact, also where two share them", "[unit][openvino]") {
  // y = MatMulInteger(quantised a, W, its zero point, [1, -2]), z = the same weights on y quantised again.
  const std::string weights = {'\x80', '\x01', '\x7f', '\xfe'};  // [2, 2]: -128 1 / 127 -2
  const std::string zeros = {'\x01', '\xfe'};
  const std::string bytes = tiny_onnx({{"DynamicQuantizeLinear", {"a"}, {"q", "scale", "zero"}},
                                       {"MatMulInteger", {"q", "w", "zero", "w_zero"}, {"i"}},
                                       {"Cast", {"i"}, {"y"}, "to", 1},
                                       {"DynamicQuantizeLinear", {"y"}, {"q2", "scale2", "zero2"}},
                                       {"MatMulInteger", {"q2", "w", "zero2", "w_zero"}, {"i2"}},
                                       {"Cast", {"i2"}, {"z"}, "to", 1}},
                                      {"a"}, {"y", "z"}, {}, {{"w", 3, {2, 2}, weights}, {"w_zero", 3, {2}, zeros}});
  const ScratchFolder folder;
  ModelStore store;
  const auto model = OnnxModel::load(store, folder.write("product.onnx", bytes), kUncached);
  // Scale 1, zero point 55: 200 - 55 = 145 is no 8-bit integer of one sign and -55 none of the other.
  const std::vector<float> a = {-55.0f, 200.0f};
  const auto out = model->create_session()->run({{"a", OnnxTensor::f32({2}, a)}});
  const auto y = out.at("y").values<float>();
  REQUIRE(y.size() == 2);
  CHECK(y[0] == -55.0f * (-128 - 1) + 200.0f * (127 - 1));
  CHECK(y[1] == -55.0f * (1 + 2) + 200.0f * (-2 + 2));
  // y = 32295, -165: a step of 32460 / 255; 255 - 1 above the zero point (of 1) and 1 below it.
  const auto z = out.at("z").values<float>();
  REQUIRE(z.size() == 2);
  CHECK(z[0] == 254.0f * (-128 - 1) - 1.0f * (127 - 1));
  CHECK(z[1] == 254.0f * (1 + 2) - 1.0f * (-2 + 2));
}

TEST_CASE("sessions of one model run at once", "[unit][openvino]") {
  const ScratchFolder folder;
  ModelStore store;
  const auto model = OnnxModel::load(store, folder.write("add.onnx", add_model()), kUncached);
  std::vector<int> wrong(2);
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      const auto session = model->create_session();
      for (int i = 1; i <= 200; ++i) {
        const std::vector<float> a(static_cast<std::size_t>(i), static_cast<float>(t)), b(a.size(), 1.0f);
        const auto out = session->run({{"a", OnnxTensor::f32({i}, a)}, {"b", OnnxTensor::f32({i}, b)}});
        for (const float x : out.at("sum").values<float>()) wrong[static_cast<std::size_t>(t)] += x != t + 1.0f;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong[0] + wrong[1] == 0);
}
