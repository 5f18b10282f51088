// Layers against plain loops, graph reuse, cancelling.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "morph/error.h"
#include "tensor/graph.h"
#include "tensor/layers/attention.h"
#include "tensor/layers/attention_cached_on_cpu.h"
#include "tensor/layers/attention_on_cpu.h"
#include "tensor/layers/conv_1d.h"
#include "tensor/layers/gelu.h"
#include "tensor/verify.h"

namespace morph::tensor {
namespace {

std::vector<float> noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random()) / 2147483648.0f - 1.0f;
  return values;
}

/// [d_head, n_head, n] each; double precision.
std::vector<float> attention(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
                             int d_head, int n_head, int n_q, int n_kv, float scale) {
  std::vector<float> out(q.size());
  const auto at = [&](int d, int h, int i) { return static_cast<std::size_t>((i * n_head + h) * d_head + d); };
  for (int h = 0; h < n_head; ++h)
    for (int i = 0; i < n_q; ++i) {
      std::vector<double> p(static_cast<std::size_t>(n_kv));
      double sum = 0;
      for (int j = 0; j < n_kv; ++j) {
        double score = 0;
        for (int d = 0; d < d_head; ++d) score += static_cast<double>(q[at(d, h, i)]) * k[at(d, h, j)];
        sum += p[static_cast<std::size_t>(j)] = std::exp(score * scale);
      }
      for (int d = 0; d < d_head; ++d) {
        double mixed = 0;
        for (int j = 0; j < n_kv; ++j) mixed += p[static_cast<std::size_t>(j)] / sum * v[at(d, h, j)];
        out[at(d, h, i)] = static_cast<float>(mixed);
      }
    }
  return out;
}

TEST_CASE("attention of all, fused and plain, at odd sizes", "[unit]") {
  Backend backend("cpu", 2);
  for (const auto& [d_head, n_head, n_q, n_kv] :
       {std::array{16, 3, 1, 1}, std::array{48, 2, 53, 97}, std::array{64, 4, 50, 31}, std::array{20, 2, 7, 9}}) {
    const auto count = [&, d = d_head, h = n_head](int n) { return static_cast<std::size_t>(d * h * n); };
    const auto q = noise(count(n_q), 1), k = noise(count(n_kv), 2), v = noise(count(n_kv), 3);
    const auto wanted = attention(q, k, v, d_head, n_head, n_q, n_kv, 0.7f);
    for (const bool on_cpu : {true, false}) {
      Graph graph(backend, 256, [&, d = d_head, h = n_head, nq = n_q, nk = n_kv](GraphBuilder& g) {
        ggml_tensor* tq = g.input("q", GGML_TYPE_F32, {d, h, nq});
        ggml_tensor* tk = g.input("k", GGML_TYPE_F32, {d, h, nk});
        ggml_tensor* tv = g.input("v", GGML_TYPE_F32, {d, h, nk});
        CHECK(can_attend_on_cpu(tq, tk, tv) == (d % 16 == 0));
        g.output("out", attend_all(g.ctx, tq, tk, tv, 0.7f, on_cpu, 32));
      });
      for (int again = 0; again < 2; ++again) {
        graph.set("q", q);
        graph.set("k", k);
        graph.set("v", v);
        graph.run();
        CAPTURE(d_head, n_q, n_kv, on_cpu);
        CHECK(difference(graph.get_f32("out"), wanted).nmse < 1e-11);
      }
    }
  }
}

TEST_CASE("attention of few over cached halves, masked, of several at once", "[unit]") {
  Backend backend("cpu", 2);
  const float shut = -INFINITY;
  for (const auto& [d_head, n_head, n_q, n_kv, n_batch] : {std::array{64, 3, 1, 70, 2}, std::array{64, 2, 5, 33, 3},
                                                           std::array{32, 2, 3, 1, 1}, std::array{80, 1, 8, 19, 2}}) {
    const auto count = [&, d = d_head, h = n_head, b = n_batch](int n) {
      return static_cast<std::size_t>(d * h * n * b);
    };
    const auto q = noise(count(n_q), 1);
    const auto halves = [](const std::vector<float>& from) {
      std::vector<ggml_fp16_t> made(from.size());
      ggml_fp32_to_fp16_row(from.data(), made.data(), static_cast<std::int64_t>(from.size()));
      return made;
    };
    auto k = noise(count(n_kv), 2), v = noise(count(n_kv), 3);
    k[0] = 1e-6f;  // a subnormal half
    const auto k16 = halves(k), v16 = halves(v);
    ggml_fp16_to_fp32_row(k16.data(), k.data(), static_cast<std::int64_t>(k.size()));
    ggml_fp16_to_fp32_row(v16.data(), v.data(), static_cast<std::int64_t>(v.size()));
    // Query i of text b does not see key j where (i + j + b) % 3 == 1, but for the first.
    const auto seen = [](int i, int j, int b) { return j == 0 || (i + j + b) % 3 != 1; };
    for (const bool masked : {false, true}) {
      std::vector<ggml_fp16_t> mask;
      for (int b = 0; b < n_batch; ++b)
        for (int i = 0; i < n_q; ++i)
          for (int j = 0; j < n_kv; ++j) mask.push_back(ggml_fp32_to_fp16(seen(i, j, b) ? 0.0f : shut));
      std::vector<float> wanted(q.size());  // [d_head, n_head, n_q, n_batch]
      for (int b = 0; b < n_batch; ++b)
        for (int i = 0; i < n_q; ++i)
          for (int h = 0; h < n_head; ++h) {
            const auto index = [&, d = d_head, heads = n_head](int x, int row, int rows) {
              return static_cast<std::size_t>(((b * heads + h) * rows + row) * d + x);  // [d, rows, heads, batch]
            };
            std::vector<double> weights;
            double sum = 0;
            for (int j = 0; j < n_kv; ++j) {
              double dot = 0;
              for (int x = 0; x < d_head; ++x)
                dot += static_cast<double>(q[index(x, i, n_q)]) * static_cast<double>(k[index(x, j, n_kv)]);
              weights.push_back(masked && !seen(i, j, b) ? 0.0 : std::exp(0.7 * dot));
              sum += weights.back();
            }
            for (int x = 0; x < d_head; ++x) {
              double mixed = 0;
              for (int j = 0; j < n_kv; ++j)
                mixed += weights[static_cast<std::size_t>(j)] / sum * static_cast<double>(v[index(x, j, n_kv)]);
              wanted[static_cast<std::size_t>(((b * n_q + i) * n_head + h) * d_head + x)] = static_cast<float>(mixed);
            }
          }
      Graph graph(backend, 64, [&, d = d_head, h = n_head, nq = n_q, nk = n_kv, b = n_batch](GraphBuilder& g) {
        ggml_tensor* tq = g.input("q", GGML_TYPE_F32, {d, nq, h, b});
        ggml_tensor* tk = g.input("k", GGML_TYPE_F16, {d, nk, h, b});
        ggml_tensor* tv = g.input("v", GGML_TYPE_F16, {d, nk, h, b});
        ggml_tensor* tm = masked ? g.input("mask", GGML_TYPE_F16, {nk, nq, 1, b}) : nullptr;
        CHECK(can_attend_cached_on_cpu(tq, tk, tv));
        g.output("out", attend_cached_on_cpu(g.ctx, tq, tk, tv, tm, 0.7f));
      });
      graph.set("q", q);
      graph.set("k", k16);
      graph.set("v", v16);
      if (masked) graph.set("mask", mask);
      graph.run();
      CAPTURE(d_head, n_q, n_kv, masked);
      CHECK(difference(graph.get_f32("out"), wanted).nmse < 1e-11);
    }
  }
}

TEST_CASE("the vectorised GELU", "[unit]") {
  std::vector<float> x;
  for (float value = -12.0f; value <= 12.0f; value += 0.01f) x.push_back(value);
  x.push_back(0.0f);
  x.push_back(-1e30f);
  x.push_back(1e30f);
  std::vector<float> out(x.size());
  gelu(x.data(), out.data(), static_cast<long>(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double wanted = 0.5 * x[i] * std::erfc(-static_cast<double>(x[i]) / std::sqrt(2.0));
    CAPTURE(x[i], out[i], wanted);
    CHECK(std::fabs(out[i] - wanted) <= 3e-7 * std::max(1.0, std::fabs(wanted)));
  }
}

TEST_CASE("one-dimensional convolution keeps F32", "[unit]") {
  Backend backend("cpu", 1);
  const int width = 3, d_in = 5, d_out = 4, n = 11, stride = 2;
  const auto kernel = noise(width * d_in * d_out, 4), x = noise(n * d_in, 5);
  Graph graph(backend, 16, [&](GraphBuilder& g) {
    g.output("y", conv_1d(g.ctx, g.input("kernel", GGML_TYPE_F32, {width, d_in, d_out}), nullptr,
                          g.input("x", GGML_TYPE_F32, {n, d_in}), stride, 1));
  });
  graph.set("kernel", kernel);
  graph.set("x", x);
  graph.run();
  std::vector<float> wanted;
  for (int t = 0; t < (n + 2 - width) / stride + 1; ++t)
    for (int o = 0; o < d_out; ++o) {
      double sum = 0;
      for (int c = 0; c < d_in; ++c)
        for (int w = 0; w < width; ++w) {
          const int at = t * stride + w - 1;
          if (at >= 0 && at < n)
            sum += static_cast<double>(kernel[static_cast<std::size_t>((o * d_in + c) * width + w)]) *
                   x[static_cast<std::size_t>(c * n + at)];
        }
      wanted.push_back(static_cast<float>(sum));
    }
  const auto found = graph.get_f32("y");
  REQUIRE(found.size() == wanted.size());
  CHECK(difference(found, wanted).nmse < 1e-12);
}

TEST_CASE("graphs check their inputs and stop on request", "[unit]") {
  Backend backend("cpu", 1);
  Graph graph(backend, 16, [](GraphBuilder& g) { g.output("y", ggml_sqr(g.ctx, g.input("x", GGML_TYPE_F32, {4}))); });
  CHECK_THROWS_AS(graph.set("x", std::vector<float>(3)), Error);
  CHECK_THROWS_AS(graph.set("z", std::vector<float>(4)), Error);
  graph.set("x", std::vector<float>{1, 2, 3, 4});
  backend.set_abort([] { return true; });
  CHECK_THROWS_WITH(graph.run(), Catch::Contains("stopped on request"));
  backend.set_abort({});
  graph.set("x", std::vector<float>{1, 2, 3, 4});  // a run may overwrite its inputs
  graph.run();
  CHECK(graph.get_f32("y") == std::vector<float>{1, 4, 9, 16});
  CHECK_THROWS_WITH(Backend("warp:0", 1), Catch::Contains("cpu"));
}

TEST_CASE("the pool of threads is shared by size", "[unit]") {
  const auto one = shared_threadpool(2), two = shared_threadpool(2), other = shared_threadpool(1);
  CHECK(one == two);
  CHECK(one != other);
  CHECK(one->n_threads() == 2);
}

TEST_CASE("differences count NaN as wrong", "[unit]") {
  const std::vector<float> a{1, std::nanf("")}, b{1, 2};
  CHECK_FALSE(difference(a, b).nmse <= 1.0);
  CHECK(difference(b, b).nmse == 0.0);
}

}  // namespace
}  // namespace morph::tensor
