// Every finding of the compiler: what is reported, where, with which code; and what is not reported twice.
#include <catch2/catch.hpp>

#include "engine/graph/compile_fixture.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {
const std::string kReadHear =
    R"("read": {"stage": "sound/read"}, "hear": {"stage": "sound/hear", "params": {"model": "m"}})";
const std::string kOut = R"("outputs": {"words": {"type": "words", "from": "hear.words"}}, )";
const std::string kLink = R"("read.out -> hear.sound")";
}  // namespace

TEST_CASE("unknown stages, ports and link ends name the nearest", "[unit]") {
  Compiler compiler;
  const CompileResult result = compiler.compile(
      document(kReadHear + R"(, "x": {"stage": "sound/heer"})",
               kLink + R"(, "reed.out -> hear.hint", "read.ot -> hear.hint", "read.out -> hear.words")", kOut));
  const std::string text = text_of(result);
  CHECK(result.plan == nullptr);
  CHECK_THAT(text,
             Contains("[pipeline] sound-to-words/test/x: unknown stage \"sound/heer\"; did you mean \"sound/hear\""));
  CHECK_THAT(text, Contains("there is no stage \"reed\"; did you mean \"read\"?"));
  CHECK_THAT(text, Contains("has no output \"ot\"; did you mean \"out\"?"));
  CHECK_THAT(text, Contains("has no input \"words\", that is an output"));
  CHECK(count_errors(result) == 4);
}

TEST_CASE("an unknown stage does not make its links findings too", "[unit]") {
  Compiler compiler;
  const CompileResult result = compiler.compile(document(
      R"("read": {"stage": "sound/reed"}, "hear": {"stage": "sound/hear", "params": {"model": "m"}})", kLink, kOut));
  CHECK(count_errors(result) == 1);
}

TEST_CASE("parameters: unknown, missing, mistyped, out of range, not a choice", "[unit]") {
  Compiler compiler;
  const CompileResult result = compiler.compile(document(
      R"("read": {"stage": "sound/read", "params": {"rate": "fast", "chanels": 1}},
         "hear": {"stage": "sound/hear", "params": {"beams": 65, "precision": "q9"}},
         "rewrite": {"stage": "words/rewrite", "params": {"heat": 1.5}})",
      kLink + R"(, "hear.words -> rewrite.in")",
      R"("outputs": {"words": {"type": "words", "from": "rewrite.out"}}, )"));
  const std::string text = text_of(result);
  CHECK_THAT(text, Contains("[config] sound-to-words/test/read/rate: expected an integer, found string \"fast\""));
  CHECK_THAT(text, Contains("read/chanels: sound/read has no such parameter; did you mean \"channels\"?"));
  CHECK_THAT(text, Contains("hear/model: this string parameter of sound/hear is required"));
  CHECK_THAT(text, Contains("hear/beams: expected a value from 1 to 64, found 65"));
  CHECK_THAT(text, Contains("hear/precision: expected one of f32, q8, q4, found \"q9\"; did you mean"));
  CHECK_THAT(text, Contains("rewrite/heat: expected a value from 0 to 1, found 1.5"));
  CHECK(count_errors(result) == 6);
}

TEST_CASE("a stage's own validation is asked once its parameters are right", "[unit]") {
  Compiler compiler;
  const std::string stages = R"("rewrite": {"stage": "words/rewrite", "params": {"style": "grand", "heat": 0}})";
  const CompileResult result = compiler.compile(document(
      stages, "",
      R"("inputs": {"in": {"type": "words", "to": "rewrite.in"}}, "outputs": {"out": {"type": "words", "from": "rewrite.out"}}, )"));
  CHECK(text_of(result) == "[config] sound-to-words/test/rewrite/heat: grand needs heat\n");
}

TEST_CASE("an input is fed once, and required ones are", "[unit]") {
  Compiler compiler;
  CompileResult result = compiler.compile(
      document(kReadHear + R"(, "read2": {"stage": "sound/read"})", kLink + R"(, "read2.out -> hear.sound")", kOut));
  CHECK_THAT(text_of(result), Contains("input \"hear.sound\" is fed twice, by \"read.out\" and by \"read2.out\""));
  CHECK(count_errors(result) == 1);
  result = compiler.compile(document(kReadHear, "", kOut));
  CHECK(
      text_of(result) ==
      "[pipeline] sound-to-words/test/hear/sound: required input \"hear.sound\" of sound/hear is not connected; add a "
      "link to it or make it a pipeline input\n");
}

TEST_CASE("a cycle is named by its path, and a delay link is none", "[unit]") {
  Compiler compiler;
  const std::string stages = R"("join": {"stage": "words/join"}, "rewrite": {"stage": "words/rewrite"})";
  const std::string ends =
      R"("inputs": {"in": {"type": "words", "to": "join.a"}}, "outputs": {"out": {"type": "words", "from": "rewrite.out"}}, )";
  const CompileResult result =
      compiler.compile(document(stages, R"("join.out -> rewrite.in", "rewrite.out -> join.b")", ends));
  CHECK(count_errors(result) == 1);
  CHECK_THAT(text_of(result), Contains("cycle: join.out -> rewrite.in, rewrite.out -> join.b") ||
                                  Contains("cycle: rewrite.out -> join.b, join.out -> rewrite.in"));
  const auto plan = compiler.plan(
      document(stages, R"("join.out -> rewrite.in", {"from": "rewrite.out", "to": "join.b", "delay": true})", ends));
  CHECK(names_of(*plan) == "in join rewrite out");
  CHECK(node_of(*plan, "join").inputs[1] == Format{"words/plain", {}});
}

TEST_CASE("lossy links lead to live sinks only", "[unit]") {
  Compiler compiler;
  const std::string preview = kReadHear + R"(, "preview": {"stage": "sound/preview"})";
  const std::string lossy = R"({"from": "read.out", "to": "preview.in", "policy": "latest", "queue": 5})";
  const auto plan = compiler.plan(document(preview, kLink + ", " + lossy, kOut));
  bool found = false;
  for (const PlanLink& link : plan->links)
    if (link.policy == QueuePolicy::latest) {
      found = true;
      CHECK(link.queue == 1);
    }
  CHECK(found);
  const CompileResult result = compiler.compile(
      document(kReadHear, R"({"from": "read.out", "to": "hear.sound", "policy": "drop_oldest"})", kOut));
  CHECK_THAT(text_of(result), Contains("policy \"drop_oldest\" loses packets") && Contains("\"hear\" (sound/hear)"));
}

TEST_CASE("devices: absent ones and stages that cannot use one are errors that name them", "[unit]") {
  Compiler compiler;
  compiler.options.device = "cuda";
  CHECK_THAT(
      text_of(compiler.compile(document(kReadHear, kLink, kOut))),
      Contains("[device]") && Contains("device \"cuda\" was asked for, but this machine has none; there is only: cpu"));
  compiler.environment.devices.push_back({"cuda:0", "cuda", "GPU", 1 << 30, 1 << 30, "ggml"});
  CHECK(node_of(*compiler.plan(document(kReadHear, kLink, kOut)), "hear").device == "cuda:0");
  CHECK(node_of(*compiler.plan(document(kReadHear, kLink, kOut)), "read").device == "cpu");
  compiler.environment.devices.push_back({"npu", "npu", "NPU", 0, 0, "openvino"});
  compiler.options.device = "npu";
  CHECK_THAT(
      text_of(compiler.compile(document(kReadHear, kLink, kOut))),
      Contains(
          "[device] sound-to-words/test/hear: device \"npu\" was asked for, but sound/hear runs on cpu, cuda only"));
  compiler.options.device = "";
  const std::string pinned = R"("read": {"stage": "sound/read", "executor": "cuda"},
                                "hear": {"stage": "sound/hear", "params": {"model": "m"}, "executor": "cuda:1"})";
  const std::string text = text_of(compiler.compile(document(pinned, kLink, kOut)));
  CHECK_THAT(text, Contains("test/read: executor \"cuda\" was asked for, but sound/read runs on cpu only"));
  CHECK_THAT(text, Contains("test/hear: device \"cuda:1\" was asked for, but this machine has none"));
}

TEST_CASE("a missing model is a finding with the hint how to fetch it", "[unit]") {
  Compiler compiler;
  compiler.options.params["hear.model"] = std::string("missing-base");
  CHECK_THAT(text_of(compiler.compile(document(kReadHear, kLink, kOut))),
             Contains("[weights] sound-to-words/test/hear: missing-base: run `morph pull missing-base`"));
}

TEST_CASE("options that name nothing are findings", "[unit]") {
  Compiler compiler;
  compiler.options.params = {{"modle", Value{std::string("x")}}};
  compiler.options.bindings = {{"sond", "sound/read", {}}, {"sound", "sound/reed", {}}, {"words", "sound/read", {}}};
  compiler.options.unread = {"word"};
  compiler.options.feed_formats = {{"soundd", Format{"sound/pcm", {}}}};
  const std::string text = text_of(compiler.compile(kHear));
  CHECK_THAT(text, Contains("has no parameter \"modle\"; did you mean \"model\"?"));
  CHECK_THAT(text, Contains("has no input or output \"sond\"; did you mean \"sound\"?"));
  CHECK_THAT(text, Contains("unknown stage \"sound/reed\"; did you mean \"sound/read\""));
  CHECK_THAT(text, Contains("sound/read cannot be bound to output \"words\": expected a sink"));
  CHECK_THAT(text, Contains("has no output \"word\"; did you mean \"words\"?"));
  CHECK_THAT(text, Contains("has no input \"soundd\" to feed"));
  compiler.options = {};
  compiler.options.bindings = {{"sound", "sound/read", {}}, {"sound", "sound/read", {}}};
  CHECK_THAT(text_of(compiler.compile(kHear)), Contains("this port is bound twice"));
}

TEST_CASE("a pipeline that nothing reads is refused", "[unit]") {
  Compiler compiler;
  CHECK_THAT(text_of(compiler.compile(document(kReadHear, kLink))), Contains("nothing reads what this pipeline makes"));
}
