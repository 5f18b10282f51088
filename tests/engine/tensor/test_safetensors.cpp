// The safetensors reader: honest files, every kind of damage, shards, element types, name tables.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/tensor/safetensors_bytes.h"
#include "morph/error.h"
#include "tensor/weights/checkpoint.h"
#include "tensor/weights/name_table.h"
#include "tensor/weights/safetensors.h"
#include "tensor/weights/weight_set.h"

namespace fs = std::filesystem;

namespace morph::tensor {
namespace {

using morph::testing::safetensors_bytes;

std::string message_of(std::span<const std::byte> bytes) {
  try {
    parse_safetensors(bytes, "f.safetensors");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::weights);
    CHECK(error.where().starts_with("f.safetensors"));
    return error.what();
  }
  return "accepted";
}

std::string damage(const std::string& header, std::size_t n_data, std::int64_t claimed = -1) {
  return message_of(safetensors_bytes(header, n_data, claimed));
}

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() /
              ("morph-safetensors-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const std::string& name, std::span<const std::byte> bytes) const {
    std::ofstream(path_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path_ / name) << text; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST_CASE("safetensors: an honest file", "[unit]") {
  auto bytes = safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})",
      12);
  const float values[2] = {1.5f, -2.0f};
  std::memcpy(bytes.data() + bytes.size() - 12, values, 8);
  const std::uint16_t halves[2] = {0x3C00, 0xC000};
  std::memcpy(bytes.data() + bytes.size() - 4, halves, 4);
  const auto tensors = parse_safetensors(bytes, "f.safetensors");
  REQUIRE(tensors.size() == 2);
  CHECK(tensors[0].name == "a");
  CHECK(tensors[0].shape == std::vector<std::int64_t>{1, 2});
  CHECK(to_f32(tensors[0]) == std::vector<float>{1.5f, -2.0f});
  CHECK(to_f32(tensors[1]) == std::vector<float>{1.0f, -2.0f});
  CHECK_THROWS_AS(to_i64(tensors[0]), Error);
}

TEST_CASE("safetensors: damage is named", "[unit]") {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  CHECK(damage(good, 8) == "accepted");
  CHECK_THAT(message_of(std::vector<std::byte>(5)), Catch::Contains("at least 8 bytes"));
  CHECK_THAT(damage(good, 8, 1 << 30), Catch::Contains("found a length of"));
  CHECK_THAT(damage(good, 8, std::numeric_limits<std::int64_t>::max()), Catch::Contains("found a length of"));
  CHECK_THAT(damage(good, 7), Catch::Contains("truncated"));
  CHECK_THAT(damage(good, 9), Catch::Contains("1 bytes behind"));
  CHECK_THAT(damage("{\"a\":", 8), Catch::Contains("UTF-8 JSON"));
  CHECK_THAT(damage("{\"\xff\xfe\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
             Catch::Contains("UTF-8 JSON"));
  CHECK_THAT(damage("[]", 0), Catch::Contains("JSON object"));
  CHECK_THAT(damage(std::string(1000, '['), 0), Catch::Contains("nested"));
  CHECK_THAT(
      damage(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          8),
      Catch::Contains("twice"));
  CHECK_THAT(
      damage(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
          12),
      Catch::Contains("overlap"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12), Catch::Contains("gap"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
             Catch::Contains("expected 12 bytes"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8),
             Catch::Contains("overflows"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[4611686018427387904,0,4],"data_offsets":[0,0]}})", 0),
             Catch::Contains("overflows"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8), Catch::Contains("whole numbers"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), Catch::Contains("offsets 8 to 0"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8),
             Catch::Contains("whole numbers"));
  CHECK_THAT(damage(R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}})", 8), Catch::Contains("dtype"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32"}})", 8), Catch::Contains("data_offsets"));
  CHECK_THAT(damage(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})", 8),
             Catch::Contains("dimensions"));
}

TEST_CASE("safetensors: every truncation of a file is refused", "[unit]") {
  const auto bytes = safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(message_of(std::span(bytes).first(n)) != "accepted");
}

TEST_CASE("safetensors: shards", "[unit]") {
  const Folder folder;
  folder.write("model-1.safetensors", safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  folder.write("model-2.safetensors", safetensors_bytes(R"({"b":{"dtype":"I64","shape":[],"data_offsets":[0,8]}})", 8));
  const auto index = [&](const std::string& map) {
    folder.write("model.safetensors.index.json", "{\"weight_map\":" + map + "}");
  };
  index(R"({"a":"model-1.safetensors","b":"model-2.safetensors"})");
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CHECK(checkpoint.tensors().size() == 2);
  CHECK(to_i64(checkpoint.at("b")) == std::vector<std::int64_t>{0});
  CHECK_THROWS_WITH(checkpoint.at("c"), Catch::Contains("expected this tensor"));
  index(R"({"a":"model-1.safetensors","c":"model-2.safetensors"})");
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("that the index lists"));
  index(R"({"a":"../model-1.safetensors"})");
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("same folder"));
  index(R"({"a":"model-3.safetensors"})");
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("model-3.safetensors"));
  folder.write("model-2.safetensors", safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  index(R"({"a":"model-1.safetensors","b":"model-2.safetensors"})");
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("found it in two"));
}

TEST_CASE("stored tensors: F8 values and block scales", "[unit]") {
  const std::byte codes[6] = {std::byte{0x38}, std::byte{0xB8}, std::byte{0x7E},
                              std::byte{0x01}, std::byte{0x00}, std::byte{0x7F}};
  const StoredTensor tensor{"w", StoredType::f8_e4m3, {2, 3}, codes, "f/w"};
  const std::vector<float> plain = to_f32(tensor);
  CHECK(plain[0] == 1.0f);
  CHECK(plain[1] == -1.0f);
  CHECK(plain[2] == 448.0f);
  CHECK(plain[3] == std::ldexp(1.0f, -9));
  CHECK(plain[4] == 0.0f);
  CHECK(std::isnan(plain[5]));
  const float scales[2] = {2.0f, 10.0f};  // blocks of 2: columns 0-1 and 2
  const StoredTensor scale{"s", StoredType::f32, {1, 2}, std::as_bytes(std::span(scales)), "f/s"};
  const std::vector<float> scaled = unpack_block_fp8(tensor, scale, 2);
  CHECK(scaled[0] == 2.0f);
  CHECK(scaled[1] == -2.0f);
  CHECK(scaled[2] == 4480.0f);
  CHECK_THROWS_WITH(unpack_block_fp8(tensor, scale, 1), Catch::Contains("F8_E4M3"));
}

TEST_CASE("name tables report every difference at once", "[unit]") {
  const Folder folder;
  folder.write(
      "model.safetensors",
      safetensors_bytes(
          R"({"l.0.w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"l.1.w":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"odd":{"dtype":"U8","shape":[1],"data_offsets":[16,17]},"seen.7":{"dtype":"U8","shape":[1],"data_offsets":[17,18]}})",
          18));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  const std::vector<TensorRow> rows{{"l.{n}.w", "l.{n}.w", "d", Role::vector},
                                    {"x", "absent", "d", Role::vector},
                                    {"y", "maybe", "d", Role::vector, Need::optional}};
  CHECK_THROWS_WITH(bind(checkpoint, rows, {{"n", 2}, {"d", 2}}, {"seen.{i}"}),
                    Catch::Contains("missing: absent") &&
                        Catch::Contains("misshapen: l.1.w (expected [2], found [1, 2])") &&
                        Catch::Contains("unknown: odd") && !Catch::Contains("seen") && !Catch::Contains("maybe"));
  const auto bound =
      bind(checkpoint, {{"l.{n}.w", "l.{n}.w", "d | 1 d", Role::vector}}, {{"n", 2}, {"d", 2}}, {"odd", "seen.{i}"});
  CHECK(bound.size() == 2);
}

TEST_CASE("weights: types by role, NaN refused", "[unit]") {
  std::vector<float> values(64 * 2);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const StoredTensor stored{"w", StoredType::f32, {2, 64}, std::as_bytes(std::span(values)), "f/w"};
  const Backend backend("cpu", 1);
  const std::vector<BoundTensor> bound{{"a", &stored, nullptr, Role::lookup}, {"b", &stored, nullptr, Role::vector}};
  const WeightSet weights(bound, StoragePolicy::fast(), backend);
  CHECK(weights.at("a")->type == GGML_TYPE_Q8_0);
  CHECK(weights.at("b")->type == GGML_TYPE_F32);
  CHECK(weights.at("b")->ne[0] == 64);
  CHECK(weights.find("c") == nullptr);
  CHECK_THROWS_AS(weights.at("c"), Error);
  values[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(WeightSet(bound, StoragePolicy::fast(), backend), Catch::Contains("NaN"));
}

}  // namespace
}  // namespace morph::tensor
