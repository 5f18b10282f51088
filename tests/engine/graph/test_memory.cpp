// The memory plan's arithmetic, budgets and what they suggest.
#include <catch2/catch.hpp>
#include <stdexcept>
#include <system_error>

#include "base/machine_memory.h"
#include "base/short_of_memory.h"
#include "engine/graph/compile_fixture.h"
#include "graph/memory_plan.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {
const std::string kTwo = document(
    R"("one": {"stage": "sound/hear", "params": {"model": "m"}}, "two": {"stage": "sound/hear", "params": {"model": "m", "beams": 2}},
       "join": {"stage": "words/join"})",
    R"("one.words -> join.a", {"from": "two.words", "to": "join.b", "queue": 2})",
    R"("inputs": {"sound": {"type": "sound", "to": ["one.sound", "two.sound"]}}, "outputs": {"out": {"type": "words", "from": "join.out"}}, )");
}  // namespace

TEST_CASE("weights and libraries count once, sessions and queues each", "[unit]") {
  Compiler compiler;
  compiler.environment.process_memory = 7'000'000;
  const auto plan = compiler.plan(kTwo);
  const MemoryPlan& memory = plan->memory;
  CHECK(memory.process == 7'000'000);
  CHECK(memory.runtimes == 20'000'000);
  CHECK(memory.weights == 400'000'000);
  CHECK(memory.sessions == 8'000'000 + 2'000'000);
  CHECK(memory.scratch == 6'000'000);
  CHECK(memory.links == 8 * 4096 * 3 + 8 * 1000 + 2 * 1000);
  CHECK(memory.load_peak == 10'000'000);
  CHECK(memory.total() == 7'000'000 + 20'000'000 + 400'000'000 + 10'000'000 + 6'000'000 + memory.links);
  CHECK(memory.by_device.empty());
}

TEST_CASE("what a source says of its size reaches the estimates of its kind only", "[unit]") {
  Compiler compiler;
  StageSpec page = declared("page/read");
  page.outputs = {{"out", {FormatPattern{"page/plain", {}}}, "a page", false}};
  page.params = {string_param("path", "/no/such/file"), integer_param("width", 30, 1, 100)};
  page.source_of = "page";
  page.measure = [](const Params& params) {
    const auto width = static_cast<std::uint64_t>(params.get_int("width"));
    return SourceSize{width * 20, {width, 20}};
  };
  compiler.registry.add_stage(page);
  const auto from_context = [](const ResolveContext& context) {
    Estimate estimate;
    estimate.session = context.source_bytes;
    estimate.scratch = context.source_extents.empty() ? 0 : context.source_extents[0];
    estimate.weights = static_cast<std::uint64_t>(context.n_threads);
    return estimate;
  };
  StageSpec both = declared("page/both");
  both.inputs = {{"a", {FormatPattern{"page/plain", {}}}, "a page", false},
                 {"b", {FormatPattern{"page/plain", {}}}, "a page", false}};
  both.outputs = {{"out", {words()}, "text", false}};
  both.estimate = from_context;
  compiler.registry.add_stage(both);
  StageSpec tell = declared("words/tell");
  tell.inputs = {{"in", {words()}, "text", false}};
  tell.sink_of = "words";
  tell.estimate = from_context;
  compiler.registry.add_stage(tell);
  const auto plan = compiler.plan(document(
      R"("small": {"stage": "page/read"}, "large": {"stage": "page/read", "params": {"width": 40}},
         "both": {"stage": "page/both"}, "tell": {"stage": "words/tell"})",
      R"("large.out -> both.a", "small.out -> both.b", "both.out -> tell.in")"));
  CHECK(node_of(*plan, "both").estimate.session == 40 * 20 + 30 * 20);
  CHECK(node_of(*plan, "both").estimate.scratch == 40);
  CHECK(node_of(*plan, "both").estimate.weights == 4);
  CHECK(node_of(*plan, "tell").estimate.session == 0);
  CHECK(node_of(*plan, "tell").estimate.scratch == 0);
}

TEST_CASE("the total is the larger of loading and running", "[unit]") {
  MemoryPlan memory;
  memory.process = 1;
  memory.weights = 10;
  memory.load_peak = 100;
  memory.sessions = 5;
  CHECK(memory.total() == 111);
  memory.load_peak = 2;
  CHECK(memory.total() == 16);
  memory.weights = ~std::uint64_t{0};
  CHECK(memory.total() == ~std::uint64_t{0});
}

TEST_CASE("the two largest loads may be under way at once", "[unit]") {
  StageSpec spec = declared("a");
  Plan plan;
  for (const std::uint64_t peak : {5, 30, 20, 10}) {
    PlanNode node;
    node.spec = &spec;
    node.estimate.load_peak = peak;
    node.estimate.weights_key = std::to_string(peak);
    plan.nodes.push_back(node);
  }
  const Plan* const one[] = {&plan};
  CHECK(plan_memory(one, 0).load_peak == 50);
}

TEST_CASE("a budget is refused before anything loads, with the needs and what would fit", "[unit]") {
  Compiler compiler;
  compiler.options.memory_budget = 200'000'000;
  const CompileResult result = compiler.compile(kHear);
  CHECK(result.plan == nullptr);
  const std::string text = text_of(result);
  CHECK_THAT(text, Contains("[resource]") && Contains("the memory budget is 191 MiB"));
  CHECK_THAT(text, Contains("hear: 392 MiB (weights 381 MiB, session 7.6 MiB, scratch 2.9 MiB)"));
  CHECK_THAT(text, Contains("What would fit: a budget of at least 431") && Contains("hear.precision=\"q8\""));
  compiler.options.params = {{"hear.precision", Value{std::string("q8")}}};
  CHECK(compiler.compile(kHear).plan != nullptr);
  compiler.options = {};
  compiler.environment.memory_limit = 100'000'000;
  CHECK_THAT(text_of(compiler.compile(kHear)), Contains("what this machine has available is 95 MiB"));
}

TEST_CASE("a device's memory is its own", "[unit]") {
  Compiler compiler;
  compiler.environment.devices.push_back({"cuda:0", "cuda", "GPU", 1 << 30, 1 << 30, "ggml"});
  const auto plan = compiler.plan(kHear);
  CHECK(plan->memory.weights == 0);
  CHECK(plan->memory.by_device.at("cuda:0") == 400'000'000 + 8'000'000 + 3'000'000);
  compiler.environment.devices.back().free_bytes = 1000;
  CHECK_THAT(text_of(compiler.compile(kHear)), Contains("needs 392 MiB on device cuda:0 (GPU), which has 1000 B free"));
}

TEST_CASE("bytes print in few digits", "[unit]") {
  CHECK(to_bytes_text(0) == "0");
  CHECK(to_bytes_text(1000) == "1000 B");
  CHECK(to_bytes_text(1536) == "1.5 KiB");
  CHECK(to_bytes_text(std::uint64_t{20} << 30) == "20 GiB");
}

namespace {

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * 1024;
const char* const kNewKernel =
    "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    9000 kB\nBuffers:          500 kB\n"
    "Cached:          4000 kB\nShmem:            700 kB\nHugePages_Total:       0\n";
const char* const kOldKernel =
    "MemTotal:       16000 kB\nMemFree:         1000 kB\nBuffers:          500 kB\nCached:          4000 kB\n"
    "SwapCached:         9 kB\nShmem:            700 kB\n";

}  // namespace

TEST_CASE("available memory is the kernel's word, or is made of what old kernels say", "[unit]") {
  TemporaryFolder root;
  CHECK(available_memory(root.path()) == 0);  // unknown
  CHECK(total_memory(root.path()) == 0);
  root.write("proc/meminfo", kNewKernel);
  CHECK(available_memory(root.path()) == 9000 * kKiB);
  CHECK(total_memory(root.path()) == 16000 * kKiB);
  root.write("proc/meminfo", kOldKernel);
  CHECK(available_memory(root.path()) == (1000 + 500 + 4000 - 700) * kKiB);
  root.write("proc/meminfo", "MemTotal: 16000 kB\nMemFree: 1000 kB\n");
  CHECK(available_memory(root.path()) == 1000 * kKiB);
  root.write("proc/meminfo", "MemTotal: 16000 kB\n");
  CHECK(available_memory(root.path()) == 0);
  root.write("proc/meminfo", "rubbish\n");
  CHECK(available_memory(root.path()) == 0);
}

TEST_CASE("a control group's limit counts, and that of every group above it", "[unit]") {
  TemporaryFolder root;
  root.write("proc/meminfo", "MemTotal: 102400 kB\nMemFree: 51200 kB\n");
  SECTION("version 2") {
    root.write("proc/self/cgroup", "0::/box/inner\n");
    root.write("sys/fs/cgroup/box/inner/memory.max", "max\n");
    CHECK(available_memory(root.path()) == 50 * kMiB);
    root.write("sys/fs/cgroup/box/inner/memory.max", "41943040\n");
    CHECK(available_memory(root.path()) == 40 * kMiB);  // its usage is not known
    root.write("sys/fs/cgroup/box/inner/memory.current", "31457280\n");
    CHECK(available_memory(root.path()) == 10 * kMiB);
    root.write("sys/fs/cgroup/box/inner/memory.stat", "anon 1\ninactive_file 4194304\nactive_file 1048576\n");
    CHECK(available_memory(root.path()) == 15 * kMiB);
    CHECK(total_memory(root.path()) == 40 * kMiB);
    root.write("sys/fs/cgroup/box/memory.max", "20971520\n");
    root.write("sys/fs/cgroup/box/memory.current", "18874368\n");
    CHECK(available_memory(root.path()) == 2 * kMiB);
    CHECK(total_memory(root.path()) == 20 * kMiB);
  }
  SECTION("version 1") {
    root.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
    // In a container the group's own path is not there; its limit is at the root.
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "31457280\n");
    root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "29360128\n");
    CHECK(available_memory(root.path()) == 2 * kMiB);
    root.write("sys/fs/cgroup/memory/memory.stat",
               "inactive_file 4194304\nactive_file 0\ntotal_inactive_file 5242880\ntotal_active_file 1048576\n");
    CHECK(available_memory(root.path()) == 8 * kMiB);
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");  // how it says: none
    CHECK(available_memory(root.path()) == 50 * kMiB);
  }
  SECTION("a full group has nothing, which is not the same as unknown") {
    root.write("proc/self/cgroup", "0::/\n");
    root.write("sys/fs/cgroup/memory.max", "1048576\n");
    root.write("sys/fs/cgroup/memory.current", "2097152\n");
    CHECK(available_memory(root.path()) == 1);
  }
  SECTION("without /proc/meminfo the group's limit is all there is") {
    std::filesystem::remove(root.path() / "proc/meminfo");
    root.write("proc/self/cgroup", "0::/\n");
    root.write("sys/fs/cgroup/memory.max", "1048576\n");
    CHECK(available_memory(root.path()) == kMiB);
    CHECK(total_memory(root.path()) == kMiB);
  }
}

TEST_CASE("pages of mapped files are not counted twice", "[unit]") {
  TemporaryFolder root;
  const auto limit = [&] { return process_memory_limit(root.path()).bytes; };
  CHECK(limit() == 0);  // unknown
  root.write("proc/meminfo", "MemTotal: 102400 kB\nMemAvailable: 51200 kB\n");
  CHECK(limit() == 50 * kMiB);
  root.write("proc/self/status",
             "Name:\tmorph (odd) 5\nVmSize:\t  81920 kB\nVmRSS:\t  30720 kB\nRssAnon:\t  10240 kB\n"
             "RssFile:\t  19456 kB\nRssShmem:\t  1024 kB\nVmData:\t  20480 kB\n");
  CHECK(resident_memory(root.path()) == 30 * kMiB);
  CHECK(unreclaimable_memory(root.path()) == 11 * kMiB);
  CHECK(limit() == 61 * kMiB);  // 19 MiB of files are available already
  root.write("proc/self/status", "VmSize: 81920 kB\nVmRSS: 30720 kB\n");
  CHECK(limit() == 80 * kMiB);  // an old kernel, which does not tell files apart
}

TEST_CASE("limits of address space and of data bound what a process may hold", "[unit]") {
  TemporaryFolder root;
  root.write("proc/meminfo", "MemTotal: 10240000 kB\nMemAvailable: 5120000 kB\n");
  root.write("proc/self/status", "VmSize: 204800 kB\nVmRSS: 30720 kB\nRssAnon: 10240 kB\nVmData: 20480 kB\n");
  CHECK(address_space_left(root.path()) == ~std::uint64_t{0});
  CHECK_FALSE(process_memory_limit(root.path()).by_address_space);
  root.write("proc/self/limits",
             "Limit                     Soft Limit           Hard Limit           Units\n"
             "Max data size             unlimited            unlimited            bytes\n"
             "Max address space         838860800            unlimited            bytes\n");
  CHECK(address_space_left(root.path()) == 600 * kMiB);
  CHECK(process_memory_limit(root.path()).by_address_space);
  CHECK(process_memory_limit(root.path()).bytes == (30 + 200) * kMiB);
  CHECK(address_space_for(230 * kMiB, root.path()) == 800 * kMiB);
  root.write("proc/self/limits", "Max data size             152043520            unlimited            bytes\n");
  CHECK(process_memory_limit(root.path()).bytes == 30 * kMiB + 25 * kMiB * 2 / 5);
  root.write("proc/self/limits", "Max address space         1            1            bytes\n");
  CHECK(process_memory_limit(root.path()).bytes == 30 * kMiB);  // it has what it has, and gets no more
}

TEST_CASE("a failed allocation, mapping or thread is known for what it is", "[unit]") {
  CHECK(is_short_of_memory(std::bad_alloc()));
  CHECK(is_short_of_memory(std::system_error(EAGAIN, std::generic_category())));
  CHECK(is_short_of_memory(std::system_error(ENOMEM, std::generic_category())));
  CHECK(is_short_of_memory(std::runtime_error("Exception from src/inference: std::bad_alloc")));
  CHECK(is_short_of_memory(std::runtime_error("mmap failed: Cannot allocate memory")));
  CHECK_FALSE(is_short_of_memory(std::runtime_error("unknown layer")));
  CHECK_FALSE(is_short_of_memory(std::system_error(ENOENT, std::generic_category())));
  CHECK_FALSE(no_room_for(0));
  CHECK(no_room_for(~std::uint64_t{0}));
}

TEST_CASE("this machine says what it has", "[unit]") {
  CHECK(total_memory() > 64 * kMiB);
  CHECK(available_memory() > kMiB);
  CHECK(available_memory() <= total_memory());
}
