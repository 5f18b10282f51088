// Name tables with several indices, parts of composites, stacks of experts, kernels of three axes, storage policies,
// weight norm, and readers of published configurations.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "morph/error.h"
#include "tensor/published_config.h"
#include "tensor/weights/weight_norm.h"
#include "tensor/weights/weight_set.h"

namespace fs = std::filesystem;

namespace morph::tensor {
namespace {

struct Folder {
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  fs::path path = fs::temp_directory_path() / ("morph-weights-" + std::to_string(getpid()));
};

struct Made {
  std::string name;
  std::vector<std::int64_t> shape;
  float first = 0;  ///< values first, first + 1, ...
};

/// A safetensors file of F32, F16 or BF16 tensors.
Checkpoint checkpoint_of(const Folder& folder, const std::vector<Made>& tensors, const std::string& dtype = "F32") {
  nlohmann::json header;
  std::string data;
  for (const Made& made : tensors) {
    std::int64_t n = 1;
    for (const std::int64_t d : made.shape) n *= d;
    const std::size_t begin = data.size();
    for (std::int64_t i = 0; i < n; ++i) {
      const float value = made.first + static_cast<float>(i);
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, 4);
      if (dtype == "F16") {
        const ggml_fp16_t half = ggml_fp32_to_fp16(value);
        data.append(reinterpret_cast<const char*>(&half), 2);
      } else {
        data.append(reinterpret_cast<const char*>(&bits) + (dtype == "F32" ? 0 : 2), dtype == "F32" ? 4 : 2);
      }
    }
    header[made.name] = {{"dtype", dtype}, {"shape", made.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // as published files are
  const std::uint64_t n = text.size();
  std::ofstream out(folder.path / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&n), 8);
  out << text << data;
  out.close();
  return Checkpoint::open(folder.path);
}

std::vector<float> values_of(const ggml_tensor* tensor) {
  std::vector<float> values(static_cast<std::size_t>(ggml_nelements(tensor)));
  REQUIRE(tensor->type == GGML_TYPE_F32);
  ggml_backend_tensor_get(tensor, values.data(), 0, ggml_nbytes(tensor));
  return values;
}

TEST_CASE("rows with several indices, whose counts and sizes differ", "[unit]") {
  const Folder folder;
  const Checkpoint checkpoint = checkpoint_of(
      folder, {{"up.0.res.0.w", {4, 2}}, {"up.0.res.1.w", {4, 2}}, {"up.1.res.0.w", {8, 3}}, {"up.1.res.0.skip", {1}}});
  const Dims dims{{"n_up", 2}, {"n_res.0", 2}, {"n_res", 1}, {"ch.0", 4}, {"ch.1", 8}, {"in", 2}, {"in.1.0", 3}};
  const std::vector<TensorRow> rows{
      {"u{n_up}.{n_res}", "up.{n_up}.res.{n_res}.w", "ch in"},
      {"s{n_up}.{n_res}", "up.{n_up}.res.{n_res}.skip", "1", Role::vector, Need::optional}};
  const auto bound = tensor::bind(checkpoint, rows, dims);
  REQUIRE(bound.size() == 4);
  CHECK(bound[0].local == "u0.0");
  CHECK(bound[1].local == "u0.1");
  CHECK(bound[2].local == "u1.0");
  CHECK(bound[3].local == "s1.0");
  Dims wrong = dims;
  wrong["n_res.1"] = 2;
  wrong["ch.0"] = 5;
  CHECK_THROWS_WITH(
      tensor::bind(checkpoint, rows, wrong),
      Catch::Contains("missing: up.1.res.1.w") && Catch::Contains("up.0.res.0.w (expected [5, 2], found [4, 2])"));
  CHECK_THROWS_WITH(tensor::bind(checkpoint, {rows[0]}, dims), Catch::Contains("unknown: up.1.res.0.skip"));
  CHECK(tensor::bind(checkpoint, {rows[0]}, dims, {"up.{n}.res.{n}.s*"}).size() == 3);
}

TEST_CASE("a part of a composite is a checkpoint of its own", "[unit]") {
  const Folder folder;
  std::optional<Checkpoint> part;
  {
    const Checkpoint whole = checkpoint_of(folder, {{"tower.a", {2}, 5}, {"talker.a", {3}, 7}, {"tower.b.c", {1}, 9}});
    part = whole.below("tower.");
    CHECK(whole.below("none.").tensors().empty());
  }
  REQUIRE(part->tensors().size() == 2);  // the files stay open with it
  CHECK(to_f32(part->at("a")) == std::vector<float>{5, 6});
  CHECK(to_f32(part->at("b.c")) == std::vector<float>{9});
  CHECK(part->at("a").where == "model.safetensors/tower.a");
  CHECK_THROWS_WITH(part->at("talker.a"), Catch::Contains("talker.a"));
}

TEST_CASE("experts are stacked, kernels of three axes fit four dimensions", "[unit]") {
  const Folder folder;
  const Checkpoint checkpoint = checkpoint_of(
      folder,
      {{"l.0.e.0.w", {2, 3}, 0}, {"l.0.e.1.w", {2, 3}, 10}, {"l.0.e.2.w", {2, 3}, 20}, {"k", {5, 2, 1, 3, 2}, 100}});
  const Backend backend("cpu", 1);
  const std::vector<TensorRow> rows{{"{n_layer}.experts", "l.{n_layer}.e.[n_expert].w", "f d"},
                                    {"kernel", "k", "5 2 1 3 2", Role::kernel}};
  Dims dims{{"n_layer", 1}, {"n_expert", 3}, {"f", 2}, {"d", 3}};
  const auto bound = tensor::bind(checkpoint, rows, dims);
  REQUIRE(bound.size() == 2);
  CHECK(bound[0].shape() == std::vector<std::int64_t>{3, 2, 3});
  CHECK(weight_bytes(bound, StoragePolicy::exact()) >= (18 + 60) * sizeof(float));
  const WeightSet weights(bound, StoragePolicy::exact(), backend);
  const ggml_tensor* experts = weights.at("0.experts");
  CHECK(experts->ne[0] == 3);
  CHECK(experts->ne[1] == 2);
  CHECK(experts->ne[2] == 3);
  std::vector<float> wanted(18);
  for (std::size_t i = 0; i < 18; ++i) wanted[i] = static_cast<float>(i / 6 * 10 + i % 6);
  CHECK(values_of(experts) == wanted);
  const ggml_tensor* kernel = weights.at("kernel");
  CHECK(kernel->ne[0] == 2);
  CHECK(kernel->ne[1] == 3);
  CHECK(kernel->ne[2] == 1);
  CHECK(kernel->ne[3] == 10);
  CHECK(values_of(kernel).back() == 159.0f);
  dims["n_expert"] = 4;
  CHECK_THROWS_WITH(tensor::bind(checkpoint, rows, dims), Catch::Contains("missing: l.0.e.3.w"));
}

TEST_CASE("weights keep the type that they are stored in, where the policy says so", "[unit]") {
  const Folder folder;
  const Backend backend("cpu", 1);
  const std::vector<TensorRow> rows{{"m", "m", "4 32"},
                                    {"t", "t", "4 32", Role::lookup},
                                    {"k", "k", "4 1 3", Role::kernel},
                                    {"v", "v", "4", Role::vector}};
  for (const auto& [dtype, type] :
       {std::pair{"F16", GGML_TYPE_F16}, {"BF16", GGML_TYPE_BF16}, {"F32", GGML_TYPE_F32}}) {
    INFO(dtype);
    const Checkpoint checkpoint =
        checkpoint_of(folder, {{"m", {4, 32}, 1}, {"t", {4, 32}, 1}, {"k", {4, 1, 3}}, {"v", {4}}}, dtype);
    const auto bound = tensor::bind(checkpoint, rows, {});
    const WeightSet stored(bound, StoragePolicy::stored(), backend), exact(bound, StoragePolicy::exact(), backend);
    CHECK(stored.at("m")->type == type);
    CHECK(stored.at("t")->type == type);
    CHECK(stored.at("k")->type == GGML_TYPE_F32);
    CHECK(stored.at("v")->type == GGML_TYPE_F32);
    CHECK(exact.at("m")->type == GGML_TYPE_F32);
    CHECK(values_of(exact.at("m"))[100] == 101.0f);
    std::vector<std::uint16_t> halves(128);
    if (type != GGML_TYPE_F32) {
      ggml_backend_tensor_get(stored.at("m"), halves.data(), 0, 256);
      CHECK(std::memcmp(halves.data(), checkpoint.at("m").data.data(), 256) == 0);  // bit for bit
    }
  }
  CHECK(StoragePolicy::stored().about() == "stored: matrices f32 or as stored, tables f32 or as stored, kernels f32");
  // A quantised matrix stays quantised when shipped, in the fast policy too, and is F32 when exact.
  StoredTensor block;
  std::vector<std::byte> bytes(ggml_row_size(GGML_TYPE_Q4_0, 32) * 4);
  block.type = StoredType::blocks;
  block.block_type = GGML_TYPE_Q4_0;
  block.shape = {4, 32};
  block.data = bytes;
  block.where = "made";
  const std::vector<BoundTensor> quantised{{"m", &block}};
  CHECK(WeightSet(quantised, StoragePolicy::stored(), backend).at("m")->type == GGML_TYPE_Q4_0);
  CHECK(WeightSet(quantised, StoragePolicy::fast(), backend).at("m")->type == GGML_TYPE_Q4_0);
  CHECK(WeightSet(quantised, StoragePolicy::exact(), backend).at("m")->type == GGML_TYPE_F32);
}

TEST_CASE("weights of the stored type stay in the mapped file, beyond the checkpoint", "[unit]") {
  const Folder folder;
  const Backend backend("cpu", 1);
  const std::vector<TensorRow> rows{{"m", "m", "4 32"}, {"v", "v", "4", Role::vector}};
  std::optional<WeightSet> weights;
  {
    const Checkpoint checkpoint = checkpoint_of(folder, {{"m", {4, 32}, 1}, {"v", {4}, 7}});
    const auto bound = tensor::bind(checkpoint, rows, {});
    weights.emplace(bound, StoragePolicy::stored(), backend);
    CHECK(weights->at("m")->data == checkpoint.at("m").data.data());
    CHECK(weights->mapped_bytes() == (128 + 4) * sizeof(float));
    CHECK(weights->bytes() == 0);
    CHECK(WeightSet(bound, StoragePolicy::exact(), backend).mapped_bytes() == 0);
  }
  CHECK(values_of(weights->at("m"))[100] == 101.0f);
  CHECK(values_of(weights->at("v")) == std::vector<float>{7, 8, 9, 10});
  const Checkpoint halves = checkpoint_of(folder, {{"m", {4, 32}, 1}, {"v", {4}, 7}}, "F16");
  const WeightSet mixed(tensor::bind(halves, rows, {}), StoragePolicy::stored(), backend);
  CHECK(mixed.mapped_bytes() == 256);  // the vector becomes F32
  CHECK(values_of(mixed.at("v")) == std::vector<float>{7, 8, 9, 10});
  const float nan = std::nanf("");
  const Checkpoint damaged = checkpoint_of(folder, {{"m", {4, 32}, nan}, {"v", {4}, 7}});
  CHECK_THROWS_WITH(WeightSet(tensor::bind(damaged, rows, {}), StoragePolicy::stored(), backend),
                    Catch::Contains("NaN"));
}

TEST_CASE("weight norm is folded, both ways of naming it", "[unit]") {
  const Folder folder;
  const Checkpoint checkpoint =
      fold_weight_norm(checkpoint_of(folder, {{"a.weight_g", {2, 1, 1}, 3},
                                              {"a.weight_v", {2, 2, 2}, 1},
                                              {"b.parametrizations.weight.original0", {1, 2, 1}, 1},
                                              {"b.parametrizations.weight.original1", {1, 2, 1}, 4},
                                              {"c.weight", {2}, 8},
                                              {"d.weight_g", {1}, 8}}));
  CHECK(checkpoint.tensors().size() == 4);
  CHECK(checkpoint.find("d.weight_g") != nullptr);  // a length without a direction is no pair
  const auto a = to_f32(checkpoint.at("a.weight"));
  const double first = std::sqrt(1.0 + 4 + 9 + 16), second = std::sqrt(25.0 + 36 + 49 + 64);
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(a[i] == Approx((i < 4 ? 3.0 / first : 4.0 / second) * static_cast<double>(i + 1)));
  const auto b = to_f32(checkpoint.at("b.weight"));
  CHECK(b[0] == Approx(1.0));
  CHECK(b[1] == Approx(2.0));
  CHECK_THROWS_WITH(fold_weight_norm(checkpoint_of(folder, {{"a.weight_g", {3, 1}, 1}, {"a.weight_v", {2, 2}, 1}})),
                    Catch::Contains("a.weight_v"));
}

TEST_CASE("configurations name file, key, what was expected and what was found", "[unit]") {
  const Folder folder;
  const fs::path file = folder.path / "config.json";
  std::ofstream(file) << R"({"n": 3, "x": 0.5, "on": true, "name": "gelu", "list": [1, 2], "lists": [[1], [2, 3]],
    "none": null, "text_config": {"deep": 7}, "num_local_experts": 8, "big": 18446744073709551615})";
  const PublishedConfig config = PublishedConfig::read(file);
  CHECK(config.integer({"n"}, 1, 10) == 3);
  CHECK(config.integer({"num_experts", "num_local_experts"}, 1, 10) == 8);
  CHECK(config.integer({"none"}, 1, 10, 4) == 4);
  CHECK(config.number({"x"}, 0, 1) == 0.5);
  CHECK(config.flag({"on"}, false));
  CHECK(config.text({"name"}) == "gelu");
  CHECK(config.integers({"list"}, 0, 9, 4) == std::vector<std::int64_t>{1, 2});
  CHECK(config.integer_lists({"lists"}, 0, 9, 4) == std::vector<std::vector<std::int64_t>>{{1}, {2, 3}});
  CHECK(config.section({"text_config"}).integer({"deep"}, 0, 9) == 7);
  CHECK_FALSE(config.has({"none"}));
  CHECK_THROWS_WITH(config.integer({"n"}, 4, 10), Catch::Contains("config.json/n") &&
                                                      Catch::Contains("expected a whole number from 4 to 10, found 3"));
  CHECK_THROWS_WITH(config.integer({"m"}, 4, 10), Catch::Contains("config.json/m") && Catch::Contains("found nothing"));
  CHECK_THROWS_WITH(config.integer({"big"}, 0, 10), Catch::Contains("18446744073709551615"));
  CHECK_THROWS_WITH(config.integer({"name"}, 0, 10), Catch::Contains("found \"gelu\""));
  CHECK_THROWS_WITH(config.flag({"n"}, true), Catch::Contains("true or false, found 3"));
  CHECK_THROWS_WITH(config.integers({"lists"}, 0, 9, 4), Catch::Contains("config.json/lists"));
  CHECK_THROWS_WITH(config.section({"text_config"}).integer({"shallow"}, 0, 9),
                    Catch::Contains("config.json/text_config/shallow"));
  CHECK_THROWS_WITH(PublishedConfig::read(folder.path / "none.json"), Catch::Contains("none.json"));
  CHECK(PublishedConfig::read_if_there(folder.path / "none.json").integer({"a"}, 0, 9, 5) == 5);
  CHECK(json_file_says(file, "name", "gelu"));
  CHECK_FALSE(json_file_says(file, "name", "relu"));
  CHECK_FALSE(json_file_says(folder.path, "name", "gelu"));
  std::ofstream(file) << std::string(5000, '[') << std::string(5000, ']');
  CHECK_THROWS_WITH(PublishedConfig::read(file), Catch::Contains("levels"));
  CHECK_FALSE(json_file_says(file, "name", "gelu"));
}

}  // namespace
}  // namespace morph::tensor
