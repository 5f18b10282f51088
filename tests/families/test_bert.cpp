// BERT as a sentence embedder: against NumPy's numbers, padded and alone, through the stage and its sink; damaged
// copies; the published all-MiniLM-L6-v2 against sentence-transformers' vectors where it is fetched.
#include <cmath>
#include <cstring>

#include "families/family_folder.h"
#include "morph/text.h"
#include "testing/stage_harness.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

using testing::FolderCopy;
using testing::own_golden;

struct Fixture {
  Fixture() { register_everything(registry); }
  const FamilySpec& bert() const {
    const FamilySpec* found = registry.find_family("bert");
    REQUIRE(found != nullptr);
    return *found;
  }
  /// A vector for each text.
  std::vector<std::vector<float>> embed(const std::string& model, const std::vector<std::string>& texts) const {
    testing::StageHarness harness(*registry.find_stage("text/embed"), Params({{"model", model}}));
    for (const std::string& utf8 : texts) {
      Text text;
      text.utf8 = utf8;
      harness.feed("text", text);
    }
    harness.end("text");
    REQUIRE(harness.run() == StepStatus::done);
    std::vector<std::vector<float>> vectors;
    for (const TensorPayload& tensor : harness.take_as<TensorPayload>("embedding")) {
      CHECK(tensor.type == TensorPayload::Type::f32);
      REQUIRE(tensor.shape.size() == 1);
      std::vector<float> values(tensor.data.size() / sizeof(float));
      std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
      vectors.push_back(std::move(values));
    }
    n_cut = harness.metric("tokens_cut");
    return vectors;
  }
  Registry registry;
  mutable double n_cut = 0;
};

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

TEST_CASE("BERT matches NumPy, padded texts too", "[unit]") {
  const Fixture fixture;
  CHECK(fixture.bert().recognise(own_golden("bert")));
  CHECK_FALSE(fixture.bert().recognise(own_golden("vits")));
  testing::check_verified(fixture.bert(), own_golden("bert"), 1e-10);
}

TEST_CASE("text/embed gives each text its vector, alone or beside others", "[unit]") {
  const Fixture fixture;
  const std::string model = own_golden("bert").string();
  const std::string longest = "the cat sat on the mat, the dog sat on the cat, the mat sat on the dog";
  const auto together = fixture.embed(model, {"The cat sat.", longest, "dog"});
  CHECK(fixture.n_cut > 0);  // max_seq_length is 16
  REQUIRE(together.size() == 3);
  for (const auto& vector : together) {
    CHECK(vector.size() == 18);
    CHECK(std::abs(cosine(vector, vector) - 1.0) < 1e-9);
  }
  const auto alone = fixture.embed(model, {"the cat sat."});  // lower case is the tokenizer's
  for (std::size_t i = 0; i < alone[0].size(); ++i) CHECK(std::abs(alone[0][i] - together[0][i]) < 1e-5f);
  CHECK(cosine(together[0], together[2]) < 0.9999);
}

TEST_CASE("BERT refuses damaged checkpoints by name", "[unit]") {
  const Fixture fixture;
  const auto damaged = [&](const std::string& file, const std::string& from, const std::string& to) -> std::string {
    const FolderCopy copy(own_golden("bert"));
    copy.change(file, from, to);
    try {
      fixture.bert().verify(copy.path(), "cpu");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::weights);
      return error.what();
    }
    return "";
  };
  CHECK_THAT(damaged("model.safetensors", "encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bIas"),
             Catch::Contains("missing: encoder.layer.1.output.dense.bias"));
  CHECK_THAT(damaged("config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"),
             Catch::Contains("unknown"));
  CHECK_THAT(damaged("config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"cube\""),
             Catch::Contains("config.json/hidden_act") && Catch::Contains("cube"));
  CHECK_THAT(damaged("1_Pooling/config.json", "true", "false"), Catch::Contains("1_Pooling/config.json"));
  CHECK_THAT(damaged("modules.json", "\"1_Pooling\"", "\"../1_Pooling\""), Catch::Contains("modules.json/1/path"));
}

TEST_CASE("tensor/write stacks rows into NumPy's and safetensors files", "[unit]") {
  const Fixture fixture;
  const FolderCopy copy(own_golden("bert"));
  const auto write = [&](const std::string& name, const std::vector<std::vector<std::int64_t>>& shapes) {
    testing::StageHarness harness(*fixture.registry.find_stage("tensor/write"),
                                  Params({{"path", (copy.path() / name).string()}}));
    float next = 1;
    for (const auto& shape : shapes) {
      auto tensor = std::make_shared<TensorPayload>();
      tensor->shape = shape;
      std::vector<float> values(static_cast<std::size_t>(shape[0]));
      for (float& value : values) value = next++;
      tensor->data.resize(values.size() * sizeof(float));
      std::memcpy(tensor->data.data(), values.data(), tensor->data.size());
      harness.feed("tensor", Packet::data(std::shared_ptr<const TensorPayload>(tensor)));
    }
    harness.end("tensor");
    const StepStatus status = harness.run();  // may throw
    CHECK(status == StepStatus::done);
    std::ifstream in(copy.path() / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const auto floats = [](const std::string& bytes, std::size_t n) {
    std::vector<float> values(n);
    REQUIRE(bytes.size() >= n * sizeof(float));
    std::memcpy(values.data(), bytes.data() + bytes.size() - n * sizeof(float), n * sizeof(float));
    return values;
  };
  const std::string npy = write("a.npy", {{3}, {3}});
  CHECK(npy.starts_with("\x93NUMPY"));
  CHECK(npy.find("'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }") != std::string::npos);
  CHECK((npy.size() - 6 * sizeof(float)) % 64 == 0);
  CHECK(floats(npy, 6) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(write("one.npy", {{3}}).find("'shape': (3,), }") != std::string::npos);
  const std::string tensors = write("a.safetensors", {{2}, {2}});
  CHECK(tensors.find(R"("shape":[2,2],"data_offsets":[0,16])") != std::string::npos);
  CHECK(floats(tensors, 4) == std::vector<float>{1, 2, 3, 4});
  CHECK_THROWS_WITH(write("b.npy", {{3}, {2}}), Catch::Contains("one shape"));
  CHECK(write("c.json", {{3}, {2}}).find(R"({"shape":[2],"values":[4.0,5.0]})") != std::string::npos);
}

TEST_CASE("all-MiniLM-L6-v2 gives the vectors of sentence-transformers", "[weights]") {
  const Fixture fixture;
  try {
    ModelLocator().find("all-minilm-l6-v2");
  } catch (const Error&) {
    return testing::skipped("all-minilm-l6-v2 is not fetched");
  }
  // First numbers of each vector and the likeness of two texts, from the published folder under NumPy in float64.
  const auto vectors = fixture.embed("all-minilm-l6-v2", {"This is an example sentence", "Each sentence is converted"});
  REQUIRE(vectors.size() == 2);
  REQUIRE(vectors[0].size() == 384);
  const std::vector<float> first{0.0676569f, 0.0634959f, 0.0487131f, 0.0793050f, 0.0374481f, 0.0026528f},
      second{0.0864386f, 0.1027626f, 0.0053945f, 0.0020444f, -0.0099634f, 0.0253855f};
  for (std::size_t i = 0; i < first.size(); ++i) {
    CHECK(std::abs(vectors[0][i] - first[i]) < 1e-5f);
    CHECK(std::abs(vectors[1][i] - second[i]) < 1e-5f);
  }
  CHECK(std::abs(cosine(vectors[0], vectors[1]) - 0.4045592) < 1e-5);
}

}  // namespace
}  // namespace morph
