// The whisper family against its parity set, from safetensors and from GGUF, and against damaged copies of it.
#include <gguf.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "morph/error.h"
#include "morph/registry.h"
#include "skipped.h"
#include "tensor/handles.h"
#include "tensor/weights/checkpoint.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

fs::path golden() { return testing::own_golden_set("whisper"); }

const FamilySpec& family(Registry& registry) {
  register_everything(registry);
  const FamilySpec* found = registry.find_family("whisper");
  REQUIRE(found != nullptr);
  return *found;
}

void check_parity(const fs::path& set) {
  Registry registry;
  const FamilySpec& whisper = family(registry);
  CHECK(whisper.recognise(set));
  const std::vector<VerifyRow> rows = whisper.verify(set, "cpu");
  REQUIRE(rows.size() == 2);
  for (const VerifyRow& row : rows) {
    CAPTURE(row.name, row.note, row.nmse, row.max_abs);
    CHECK(row.status == "pass");
    CHECK(row.nmse <= 1e-9);
  }
}

TEST_CASE("whisper matches its parity set", "[parity]") { check_parity(golden()); }

TEST_CASE("whisper matches the parity set of the published library", "[parity]") {
  const std::optional<fs::path> set = testing::golden_set("whisper");
  if (!set) return;
  check_parity(*set);
}

TEST_CASE("whisper does not take another family's checkpoint for its own", "[parity]") {
  const std::optional<fs::path> other = testing::golden_set("qwen3");
  if (!other) return;
  Registry registry;
  CHECK_FALSE(family(registry).recognise(*other));
}

/// A copy of the parity set in which `from` became `to` (of equal length) in one file.
class Damaged {
 public:
  Damaged(const std::string& file, const std::string& from, const std::string& to)
      : folder_(fs::temp_directory_path() / "morph-test-whisper") {
    fs::remove_all(folder_);
    fs::copy(golden(), folder_, fs::copy_options::recursive);
    fs::permissions(folder_ / file, fs::perms::owner_write, fs::perm_options::add);
    std::string bytes;
    {
      std::ifstream in(folder_ / file, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(in), {});
    }
    const std::size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    bytes.replace(at, from.size(), to);
    std::ofstream(folder_ / file, std::ios::binary) << bytes;
  }
  ~Damaged() { fs::remove_all(folder_); }
  const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
};

/// The checkpoint's tensors as a GGUF file written by ggml, under the same names. Matrices become `type`.
void write_gguf(const tensor::Checkpoint& checkpoint, ggml_type type, const fs::path& file) {
  const tensor::ContextHandle context = tensor::make_context(checkpoint.tensors().size());
  const std::unique_ptr<gguf_context, decltype(&gguf_free)> gguf(gguf_init_empty(), gguf_free);
  std::vector<std::vector<std::byte>> kept;
  for (const auto& [name, stored] : checkpoint.tensors()) {
    const std::vector<float> values = tensor::to_f32(stored);
    const std::vector<std::int64_t> ne(stored.shape.rbegin(), stored.shape.rend());
    const bool matrix = ne.size() == 2 && ne[0] % ggml_blck_size(type) == 0;
    ggml_tensor* made =
        ggml_new_tensor(context.get(), matrix ? type : GGML_TYPE_F32, static_cast<int>(ne.size()), ne.data());
    ggml_set_name(made, name.c_str());
    kept.emplace_back(ggml_nbytes(made));
    ggml_quantize_chunk(made->type, values.data(), kept.back().data(), 0, ggml_nrows(made), ne[0], nullptr);
    made->data = kept.back().data();
    gguf_add_tensor(gguf.get(), made);
  }
  REQUIRE(gguf_write_to_file(gguf.get(), file.c_str(), false));
}

TEST_CASE("whisper loads from GGUF with the same numbers", "[parity]") {
  Registry registry;
  const FamilySpec& whisper = family(registry);
  const fs::path folder = fs::temp_directory_path() / "morph-test-whisper-gguf";
  fs::remove_all(folder);
  fs::copy(golden(), folder, fs::copy_options::recursive);
  fs::remove(folder / "model.safetensors");
  const tensor::Checkpoint original = tensor::Checkpoint::open(golden());
  const auto worst = [&](ggml_type type) {
    write_gguf(original, type, folder / "model.gguf");
    const std::vector<VerifyRow> rows = whisper.verify(folder, "cpu");
    CHECK(rows.size() == 2);
    double nmse = 0;
    for (const VerifyRow& row : rows) nmse = std::max(nmse, row.nmse);
    return nmse;
  };
  CHECK(worst(GGML_TYPE_F32) <= 1e-9);
  const double quantised = worst(GGML_TYPE_Q8_0);
  CHECK(quantised > 1e-9);  // it was read from there
  CHECK(quantised <= 1e-3);
  fs::remove_all(folder);
}

TEST_CASE("whisper refuses damaged checkpoints by name", "[parity]") {
  Registry registry;
  const FamilySpec& whisper = family(registry);
  {
    const Damaged one("model.safetensors", "model.encoder.conv1.bias", "model.encoder.conv1.bIas");
    CHECK_THROWS_WITH(whisper.verify(one.folder(), "cpu"), Catch::Contains("missing: model.encoder.conv1.bias") &&
                                                               Catch::Contains("unknown: model.encoder.conv1.bIas"));
  }
  {
    const Damaged one("config.json", "\"d_model\": 64", "\"d_model\": 96");
    CHECK_THROWS_WITH(whisper.verify(one.folder(), "cpu"), Catch::Contains("misshapen"));
  }
  {
    const Damaged one("config.json", "\"encoder_attention_heads\": 4", "\"encoder_attention_heads\": 5");
    CHECK_THROWS_WITH(whisper.verify(one.folder(), "cpu"), Catch::Contains("config.json/encoder_attention_heads"));
  }
  {
    const Damaged one("golden/outputs.safetensors", "logits", "LOGITS");
    const std::vector<VerifyRow> rows = whisper.verify(one.folder(), "cpu");
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].status == "skip");
    CHECK(rows[1].status == "pass");
  }
  CHECK_THROWS_WITH(whisper.verify(golden(), "warp:7"), Catch::Contains("warp:7"));
}

}  // namespace
}  // namespace morph
