#include "bench/bench.h"
namespace morph::command {
BenchRows bench_voice(const BenchOptions&) { return {}; }
BenchRows bench_memory(const BenchOptions&) { return {}; }
}  // namespace morph::command
