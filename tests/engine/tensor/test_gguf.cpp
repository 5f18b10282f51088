// The GGUF reader: files written by ggml's own writer, every kind of damage, split models, quantised types.
#include <gguf.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/tensor/gguf_bytes.h"
#include "engine/tensor/safetensors_bytes.h"
#include "morph/error.h"
#include "morph/log.h"
#include "tensor/handles.h"
#include "tensor/weights/gguf.h"
#include "tensor/weights/name_table.h"
#include "tensor/weights/weight_set.h"

namespace fs = std::filesystem;

namespace morph::tensor {
namespace {

using morph::testing::GgufBytes;

struct FreeGguf {
  void operator()(gguf_context* gguf) const { gguf_free(gguf); }
};
using GgufHandle = std::unique_ptr<gguf_context, FreeGguf>;

std::string message_of(std::span<const std::byte> bytes) {
  try {
    parse_gguf(bytes, "f.gguf");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::weights);
    CHECK(error.where().starts_with("f.gguf"));
    return error.what();
  }
  return "accepted";
}

/// Does ggml's own reader take these bytes? It reads descriptions only: data that are missing don't trouble it.
bool ggml_takes(std::span<const std::byte> bytes) {
  load_modules();  // its messages go where ours go
  const LogLevel before = log_level();
  set_log_level(LogLevel::off);
  const GgufHandle gguf(gguf_init_from_buffer(bytes.data(), bytes.size(), {true, nullptr}));
  set_log_level(before);
  return gguf != nullptr;
}

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() / ("morph-gguf-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path write(const std::string& name, std::span<const std::byte> bytes) const {
    std::ofstream(path_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// A file as ggml writes it.
std::vector<std::byte> written(const GgufHandle& gguf, const Folder& folder) {
  const fs::path file = folder.path() / "written.gguf";
  REQUIRE(gguf_write_to_file(gguf.get(), file.c_str(), false));
  std::ifstream in(file, std::ios::binary);
  const std::vector<char> chars((std::istreambuf_iterator<char>(in)), {});
  const auto bytes = std::as_bytes(std::span(chars));
  return {bytes.begin(), bytes.end()};
}

std::vector<float> waves(std::size_t n) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = std::sin(static_cast<float>(i) * 0.7f) * 2.0f;
  return values;
}

TEST_CASE("gguf: metadata of every type as ggml writes it", "[unit]") {
  const Folder folder;
  const GgufHandle gguf(gguf_init_empty());
  gguf_set_val_u8(gguf.get(), "u8", 200);
  gguf_set_val_i8(gguf.get(), "i8", -100);
  gguf_set_val_u16(gguf.get(), "u16", 60000);
  gguf_set_val_i16(gguf.get(), "i16", -30000);
  gguf_set_val_u32(gguf.get(), "u32", 4000000000u);
  gguf_set_val_i32(gguf.get(), "i32", -2000000000);
  gguf_set_val_f32(gguf.get(), "f32", 1.5f);
  gguf_set_val_u64(gguf.get(), "u64", std::numeric_limits<std::uint64_t>::max());
  gguf_set_val_i64(gguf.get(), "i64", std::numeric_limits<std::int64_t>::min());
  gguf_set_val_f64(gguf.get(), "f64", -0.1);
  gguf_set_val_bool(gguf.get(), "bool", true);
  gguf_set_val_str(gguf.get(), "string", "na\xC3\xAFve");
  const char* words[] = {"a", "", "long enough not to be short"};
  gguf_set_arr_str(gguf.get(), "words", words, 3);
  const std::int32_t numbers[] = {1, -2, 3};
  gguf_set_arr_data(gguf.get(), "numbers", GGUF_TYPE_INT32, numbers, 3);
  const float floats[] = {0.5f, -0.25f};
  gguf_set_arr_data(gguf.get(), "floats", GGUF_TYPE_FLOAT32, floats, 2);
  const std::int8_t flags[] = {1, 0};
  gguf_set_arr_data(gguf.get(), "flags", GGUF_TYPE_BOOL, flags, 2);
  gguf_set_arr_data(gguf.get(), "nothing", GGUF_TYPE_UINT16, nullptr, 0);

  const std::vector<std::byte> bytes = written(gguf, folder);
  const GgufContents contents = parse_gguf(bytes, "f.gguf");
  const auto at = [&](const char* key) { return contents.metadata.at(key); };
  CHECK(contents.version == 3);
  CHECK(contents.metadata.size() == 17);
  CHECK(contents.tensors.empty());
  CHECK(at("u8").integer() == 200);
  CHECK(at("i8").integer() == -100);
  CHECK(at("u16").integer() == 60000);
  CHECK(at("i16").integer() == -30000);
  CHECK(at("u32").integer() == 4000000000);
  CHECK(at("i32").integer() == -2000000000);
  CHECK(at("i64").integer() == std::numeric_limits<std::int64_t>::min());
  CHECK_FALSE(at("u64").integer());
  CHECK(at("u64").number() == 18446744073709551615.0);
  CHECK(at("f32").number() == 1.5);
  CHECK(at("f64").number() == -0.1);
  CHECK_FALSE(at("f32").integer());
  CHECK(at("bool").integer() == 1);
  CHECK_FALSE(at("bool").number());
  CHECK(at("string").text() == "na\xC3\xAFve");
  CHECK_FALSE(at("u8").text());
  CHECK(at("words").texts() == std::vector<std::string_view>{"a", "", "long enough not to be short"});
  CHECK(at("string").texts() == std::vector<std::string_view>{"na\xC3\xAFve"});
  CHECK_FALSE(at("numbers").texts());
  CHECK(at("numbers").integers() == std::vector<std::int64_t>{1, -2, 3});
  CHECK(at("u8").integers() == std::vector<std::int64_t>{200});
  CHECK(at("numbers").numbers() == std::vector<double>{1, -2, 3});
  CHECK(at("floats").numbers() == std::vector<double>{0.5, -0.25});
  CHECK_FALSE(at("floats").integers());
  CHECK(at("flags").integers() == std::vector<std::int64_t>{1, 0});
  CHECK(at("nothing").integers() == std::vector<std::int64_t>{});
  CHECK(at("words").items().at(2).text() == "long enough not to be short");
  CHECK(at("numbers").items().at(1).integer() == -2);
  CHECK(at("words").type() == GgufType::array);
  CHECK(at("words").element_type() == GgufType::string);
}

TEST_CASE("gguf: arrays of arrays, and version 2", "[unit]") {
  GgufBytes made;
  made.version = 2;
  made.array("nested", 9, 2);
  made.put<std::uint32_t>(8).put<std::uint64_t>(2).text("x").text("yy");
  made.put<std::uint32_t>(0).put<std::uint64_t>(3).put<std::uint8_t>(7).put<std::uint8_t>(8).put<std::uint8_t>(9);
  made.key("after", 4).put<std::uint32_t>(5);
  const auto bytes = made.bytes();
  const GgufContents contents = parse_gguf(bytes, "f.gguf");
  CHECK(contents.version == 2);
  CHECK(contents.metadata.at("after").integer() == 5);
  const std::vector<GgufValue> items = contents.metadata.at("nested").items();
  REQUIRE(items.size() == 2);
  CHECK(items[0].texts() == std::vector<std::string_view>{"x", "yy"});
  CHECK(items[1].integers() == std::vector<std::int64_t>{7, 8, 9});
}

TEST_CASE("gguf: tensors of every type that ggml can read back", "[unit]") {
  const Folder folder;
  constexpr std::int64_t kRow = 512, kRows = 3;
  const std::vector<float> values = waves(kRow * kRows), importance(kRow, 1.0f);
  int n_types = 0;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    const ggml_type_traits* traits = ggml_get_type_traits(type);
    if (!traits->is_quantized || traits->to_float == nullptr || traits->blck_size == 0) continue;
    INFO(traits->type_name);
    std::vector<std::byte> packed(ggml_row_size(type, kRow) * kRows);
    if (traits->from_float_ref != nullptr || ggml_quantize_requires_imatrix(type))
      REQUIRE(ggml_quantize_chunk(type, values.data(), packed.data(), 0, kRows, kRow, importance.data()) ==
              packed.size());
    std::vector<float> want(values.size());
    traits->to_float(packed.data(), want.data(), kRow * kRows);

    const ContextHandle context = make_context(2);
    const GgufHandle gguf(gguf_init_empty());
    ggml_tensor* tensor = ggml_new_tensor_2d(context.get(), type, kRow, kRows);
    ggml_set_name(tensor, "w");
    tensor->data = packed.data();
    gguf_add_tensor(gguf.get(), tensor);
    const fs::path file = folder.write("w.gguf", written(gguf, folder));
    const Checkpoint checkpoint = Checkpoint::open(file);
    const StoredTensor& stored = checkpoint.at("w");
    CHECK(stored.type == StoredType::blocks);
    CHECK(type_text(stored) == traits->type_name);
    CHECK(stored.shape == std::vector<std::int64_t>{kRows, kRow});
    CHECK(std::equal(packed.begin(), packed.end(), stored.data.begin(), stored.data.end()));
    CHECK(to_f32(stored) == want);
    std::vector<float> part(301);  // begins and ends inside blocks
    unpack(stored, 77, 301, part.data());
    CHECK(std::equal(part.begin(), part.end(), want.begin() + 77));
    CHECK_THROWS_WITH(unpack(stored, kRow * kRows - 1, 2, part.data()), Catch::Contains("expected elements"));
    CHECK_THROWS_WITH(to_i64(stored), Catch::Contains("whole numbers"));
    ++n_types;
  }
  CHECK(n_types >= 20);
}

TEST_CASE("gguf: plain types and alignment", "[unit]") {
  GgufBytes made;
  made.key("general.alignment", 4).put<std::uint32_t>(8);
  made.tensor("f32", {1, 3}, GGML_TYPE_F32, 0)
      .tensor("i8", {3}, GGML_TYPE_I8, 16)
      .tensor("bf16", {2}, GGML_TYPE_BF16, 24);
  made.tensor("i64", {}, GGML_TYPE_I64, 32)
      .tensor("none", {4, 0}, GGML_TYPE_F16, 40)
      .tensor("q", {32}, GGML_TYPE_Q8_0, 40);
  const auto bytes = made.bytes(40 + 34, 8);
  CHECK(ggml_takes(bytes));
  const GgufContents contents = parse_gguf(bytes, "f.gguf");
  REQUIRE(contents.tensors.size() == 6);
  CHECK(contents.alignment == 8);
  CHECK(contents.tensors[0].shape == std::vector<std::int64_t>{3, 1});
  CHECK(to_i64(contents.tensors[1]) == std::vector<std::int64_t>{16, 17, 18});
  CHECK(contents.tensors[2].type == StoredType::bf16);
  CHECK(contents.tensors[3].shape.empty());
  CHECK(to_i64(contents.tensors[3]).size() == 1);
  CHECK(to_f32(contents.tensors[4]).empty());
  CHECK(to_f32(contents.tensors[5]).size() == 32);
}

TEST_CASE("gguf: damage is named", "[unit]") {
  const auto of = [](const GgufBytes& made, std::size_t n_data = 0) {
    const auto bytes = made.bytes(n_data);
    const std::string message = message_of(bytes);
    if (message.find("a file that holds") == std::string::npos)
      CHECK(ggml_takes(bytes) == (message == "accepted"));  // nothing is refused that libllama would load
    return message;
  };
  CHECK_THAT(message_of({}), Catch::Contains("GGUF"));
  CHECK_THAT(message_of(morph::testing::safetensors_bytes("{}", 0)), Catch::Contains("another kind of file"));
  const auto with_version = [&](std::uint32_t version) {
    GgufBytes made;
    made.version = version;
    return of(made);
  };
  CHECK(with_version(3) == "accepted");
  CHECK(with_version(2) == "accepted");
  CHECK_THAT(with_version(1), Catch::Contains("version 1"));
  CHECK_THAT(with_version(4), Catch::Contains("version 4"));
  CHECK_THAT(with_version(0x03000000u), Catch::Contains("big-endian"));
  const auto counts = [&](std::uint64_t n_tensors, std::uint64_t n_keys) {
    GgufBytes made;
    made.n_tensors = n_tensors;
    made.n_keys = n_keys;
    return of(made);
  };
  CHECK_THAT(counts(~0ull, 0), Catch::Contains("tensors"));
  CHECK_THAT(counts(1, 0), Catch::Contains("truncated"));
  CHECK_THAT(counts(0, ~0ull / 2), Catch::Contains("keys"));
  CHECK_THAT(counts(0, 1), Catch::Contains("truncated"));

  const auto one_key = [&](const auto& fill) {
    GgufBytes made;
    fill(made);
    return of(made);
  };
  CHECK_THAT(one_key([](GgufBytes& g) { g.key("a", 13).put<std::uint64_t>(0); }), Catch::Contains("0 to 12"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.key("", 4).put<std::uint32_t>(0); }), Catch::Contains("empty"));
  CHECK_THAT(message_of(GgufBytes().key(std::string(70000, 'k'), 0).put<std::uint8_t>(0).bytes()),
             Catch::Contains("at most 65535 bytes"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.key("a", 0).put<std::uint8_t>(0).key("a", 0).put<std::uint8_t>(0); }),
             Catch::Contains("twice"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.key("a", 8).put<std::uint64_t>(1ull << 63); }), Catch::Contains("truncated"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.array("a", 8, 1ull << 61); }), Catch::Contains("elements of string"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.array("a", 12, 1ull << 61); }), Catch::Contains("elements of f64"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.array("a", 9, ~0ull); }), Catch::Contains("elements of array"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.array("a", 99, 0); }), Catch::Contains("0 to 12"));
  CHECK_THAT(one_key([](GgufBytes& g) {
               g.array("a", 9, 1);
               for (int i = 0; i < 50; ++i) g.put<std::uint32_t>(9).put<std::uint64_t>(1);
               g.put<std::uint32_t>(0).put<std::uint64_t>(0);
             }),
             Catch::Contains("nested"));
  CHECK_THAT(message_of(GgufBytes().key("a", 7).put<std::uint8_t>(2).put<std::uint32_t>(0).bytes()),
             Catch::Contains("0 or 1"));
  for (const std::uint32_t alignment : {0u, 3u, 48u})
    CHECK_THAT(one_key([&](GgufBytes& g) {
                 g.key("general.alignment", 4).put(alignment).tensor("w", {1}, 0, 0).put<std::uint64_t>(0);
               }),
               Catch::Contains("power of two"));
  CHECK_THAT(one_key([](GgufBytes& g) { g.key("general.alignment", 10).put<std::uint64_t>(32); }),
             Catch::Contains("a u32"));

  const auto tensor = [&](const std::string& name, const std::vector<std::int64_t>& ne, std::uint32_t type,
                          std::uint64_t offset, std::size_t n_data) {
    GgufBytes made;
    return of(made.tensor(name, ne, type, offset), n_data);
  };
  CHECK(tensor("w", {2, 2}, 0, 0, 16) == "accepted");
  CHECK_THAT(tensor("w", {2, 2}, 0, 0, 15), Catch::Contains("truncated"));
  CHECK_THAT(tensor("w", {2, 2}, 0, 0, 0), Catch::Contains("truncated"));
  CHECK_THAT(tensor("w", {2, 2}, 0, 32, 64), Catch::Contains("offset 0"));
  CHECK_THAT(tensor("w", {2, 2}, 0, ~0ull, 64), Catch::Contains("found offset"));
  CHECK_THAT(tensor("w", {1, 1, 1, 1, 1}, 0, 0, 16), Catch::Contains("at most 4 dimensions"));
  CHECK_THAT(tensor("w", {-2}, 0, 0, 16), Catch::Contains("dimension of -2"));
  CHECK_THAT(tensor("w", {1ll << 40, 1ll << 40}, 0, 0, 16), Catch::Contains("2^48"));
  CHECK_THAT(tensor("w", {std::numeric_limits<std::int64_t>::max(), 4, 4}, 0, 0, 16), Catch::Contains("2^48"));
  CHECK_THAT(message_of(GgufBytes().tensor("w", {0, 1ll << 40, 1ll << 40}, 0, 0).bytes(1)), Catch::Contains("2^48"));
  CHECK_THAT(tensor("w", {2}, 4, 0, 16), Catch::Contains("number 4"));  // a type that ggml once had
  CHECK_THAT(tensor("w", {2}, 0x7fffffff, 0, 16), Catch::Contains("number 2147483647"));
  CHECK_THAT(tensor("w", {33}, GGML_TYPE_Q8_0, 0, 64), Catch::Contains("whole blocks of 32"));
  CHECK_THAT(tensor(std::string(2000, 'n'), {2}, 0, 0, 16), Catch::Contains("at most 1024 bytes"));
  GgufBytes twice;
  twice.tensor("w", {8}, 0, 0).tensor("w", {8}, 0, 32);
  CHECK_THAT(of(twice, 64), Catch::Contains("twice"));
  GgufBytes overlapping;
  overlapping.tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 0);
  CHECK_THAT(of(overlapping, 64), Catch::Contains("b: ") && Catch::Contains("offset 32"));
}

TEST_CASE("gguf: every truncation of a file is refused", "[unit]") {
  GgufBytes made;
  made.key("a", 4).put<std::uint32_t>(1).array("words", 8, 2).text("one").text("two");
  made.tensor("w", {2}, 0, 0).tensor("v", {1}, 0, 32);
  const auto bytes = made.bytes(36);
  CHECK(message_of(bytes) == "accepted");
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(message_of(std::span(bytes).first(n)) != "accepted");
}

TEST_CASE("gguf: a changed byte never does harm", "[unit]") {
  GgufBytes made;
  made.key("general.alignment", 4).put<std::uint32_t>(16).array("nested", 9, 1).put<std::uint32_t>(8);
  made.put<std::uint64_t>(1).text("x").tensor("w", {32, 2}, GGML_TYPE_Q4_0, 0).tensor("v", {3}, GGML_TYPE_F16, 48);
  const auto good = made.bytes(54, 16);
  REQUIRE(message_of(good) == "accepted");
  for (std::size_t i = 0; i < good.size() - 54; ++i)
    for (const unsigned flip : {0x01u, 0x02u, 0x80u, 0xffu}) {
      auto bytes = good;
      bytes[i] ^= static_cast<std::byte>(flip);
      try {
        for (const StoredTensor& tensor : parse_gguf(bytes, "f.gguf").tensors) (void)to_f32(tensor);
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::weights);
      }
    }
}

TEST_CASE("gguf: a split model is one checkpoint", "[unit]") {
  const Folder folder;
  const auto part = [&](std::uint16_t no, std::uint16_t count, std::int32_t total, const std::string& tensor) {
    GgufBytes made;
    made.key("split.no", 2).put(no).key("split.count", 2).put(count).key("split.tensors.count", 5).put(total);
    return made.tensor(tensor, {2}, GGML_TYPE_I8, 0).bytes(2);
  };
  folder.write("m-00001-of-00002.gguf", part(0, 2, 2, "a"));
  folder.write("m-00002-of-00002.gguf", part(1, 2, 2, "b"));
  folder.write("mmproj-m.gguf", part(0, 1, 1, "p"));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CHECK(checkpoint.is_gguf());
  CHECK(checkpoint.tensors().size() == 2);
  CHECK(checkpoint.files().size() == 2);
  CHECK(to_i64(checkpoint.at("b")) == std::vector<std::int64_t>{0, 1});
  CHECK(checkpoint.metadata().at("split.count").integer() == 2);
  CHECK(checkpoint.file_bytes() == part(0, 2, 2, "a").size() + part(1, 2, 2, "b").size());
  CHECK_THROWS_WITH(Checkpoint::open(folder.path() / "m-00002-of-00002.gguf"), Catch::Contains("first part"));
  folder.write("m-00002-of-00002.gguf", part(0, 2, 2, "b"));
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("part 2 of 2"));
  folder.write("m-00002-of-00002.gguf", part(1, 2, 2, "a"));
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("found it in two"));
  folder.write("m-00001-of-00002.gguf", part(0, 2, 3, "a"));
  folder.write("m-00002-of-00002.gguf", part(1, 2, 3, "b"));
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("expected 3 tensors"));
  fs::remove(folder.path() / "m-00002-of-00002.gguf");
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("m-00002-of-00002.gguf"));
  folder.write("other.gguf", part(0, 1, 1, "p"));
  CHECK_THROWS_WITH(Checkpoint::open(folder.path()), Catch::Contains("several"));
}

TEST_CASE("gguf: name tables and weights load as from safetensors", "[unit]") {
  const Folder folder;
  const std::vector<float> values = waves(64 * 2);
  std::vector<std::byte> packed(ggml_row_size(GGML_TYPE_Q8_0, 64) * 2);
  ggml_quantize_chunk(GGML_TYPE_Q8_0, values.data(), packed.data(), 0, 2, 64, nullptr);
  const ContextHandle context = make_context(4);
  const GgufHandle gguf(gguf_init_empty());
  ggml_tensor* table = ggml_new_tensor_2d(context.get(), GGML_TYPE_Q8_0, 64, 2);
  ggml_set_name(table, "l.0.w");
  table->data = packed.data();
  gguf_add_tensor(gguf.get(), table);
  ggml_tensor* bias = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 64, 1);  // loses its leading one in the file
  ggml_set_name(bias, "l.0.b");
  bias->data = const_cast<float*>(values.data());
  gguf_add_tensor(gguf.get(), bias);
  folder.write("model.gguf", written(gguf, folder));
  fs::remove(folder.path() / "written.gguf");

  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  const std::vector<TensorRow> rows{{"w", "l.0.w", "n d", Role::lookup}, {"b", "l.0.b", "1 d", Role::vector}};
  const auto bound = bind(checkpoint, rows, {{"n", 2}, {"d", 64}});
  CHECK(bound.size() == 2);
  CHECK_THROWS_WITH(bind(checkpoint, rows, {{"n", 3}, {"d", 64}}),
                    Catch::Contains("misshapen: l.0.w (expected [3, 64], found [2, 64])"));
  const Backend backend("cpu", 1);
  const WeightSet exact(bound, StoragePolicy::exact(), backend), fast(bound, StoragePolicy::fast(), backend);
  std::vector<float> got(values.size());
  REQUIRE(exact.at("w")->type == GGML_TYPE_F32);
  ggml_backend_tensor_get(exact.at("w"), got.data(), 0, got.size() * sizeof(float));
  CHECK(got == to_f32(checkpoint.at("l.0.w")));
  REQUIRE(fast.at("w")->type == GGML_TYPE_Q8_0);  // kept as it is, not quantised twice
  std::vector<std::byte> kept(packed.size());
  ggml_backend_tensor_get(fast.at("w"), kept.data(), 0, kept.size());
  CHECK(kept == packed);
}

}  // namespace
}  // namespace morph::tensor
