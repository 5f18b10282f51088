// Convolutions, norms, RoPE, MLPs, mixtures of experts and masked attention against plain loops in double precision.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <random>

#include "tensor/graph.h"
#include "tensor/layers/attention.h"
#include "tensor/layers/conv.h"
#include "tensor/layers/mlp.h"
#include "tensor/layers/norms.h"
#include "tensor/layers/rope.h"
#include "tensor/verify.h"

namespace morph::tensor {
namespace {

using Floats = std::vector<float>;
constexpr double kClose = 1e-11;

Floats noise(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  Floats values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(random()) / 2147483648.0f - 1.0f;
  return values;
}

/// A graph with named F32 inputs filled from `inputs`, run once; its output "y".
struct Input {
  std::string name;
  std::vector<std::int64_t> shape;  ///< innermost first
  Floats values;
};
Floats run(const std::vector<Input>& inputs, const std::function<ggml_tensor*(GraphBuilder&)>& build) {
  Backend backend("cpu", 2);
  Graph graph(backend, 512, [&](GraphBuilder& g) {
    for (const Input& input : inputs) {
      std::array<std::int64_t, 4> ne{1, 1, 1, 1};
      std::copy(input.shape.begin(), input.shape.end(), ne.begin());
      g.input(input.name, GGML_TYPE_F32, {ne[0], ne[1], ne[2], ne[3]});
    }
    g.output("y", build(g));
  });
  for (const Input& input : inputs) graph.set(input.name, input.values);
  graph.run();
  return graph.get_f32("y");
}

void check(const Floats& found, const Floats& wanted, double tolerance = kClose) {
  REQUIRE(found.size() == wanted.size());
  CHECK(difference(found, wanted).nmse < tolerance);
}

double at(const Floats& values, std::int64_t i) { return values[static_cast<std::size_t>(i)]; }

TEST_CASE("convolution over volumes, pictures and time", "[unit]") {
  struct Shape {
    std::int64_t w, h, t, d_in, d_out, kw, kh, kt;
    ConvSteps steps, depth;
  };
  for (const Shape& s : {Shape{7, 5, 4, 3, 2, 3, 3, 3, {1, 1, 1}, {1, 1, 1}},
                         Shape{9, 6, 3, 2, 5, 3, 2, 1, {2, 1, 2}, {}}, Shape{6, 6, 5, 4, 3, 1, 1, 2, {}, {2, 0, 2}}}) {
    const Floats x = noise(s.w * s.h * s.t * s.d_in, 1), kernel = noise(s.kw * s.kh * s.kt * s.d_in * s.d_out, 2),
                 bias = noise(s.d_out, 3);
    const auto out_size = [](std::int64_t n, std::int64_t k, ConvSteps c) {
      return (n + 2 * c.padding - c.dilation * (k - 1) - 1) / c.stride + 1;
    };
    const std::int64_t ow = out_size(s.w, s.kw, s.steps), oh = out_size(s.h, s.kh, s.steps),
                       ot = out_size(s.t, s.kt, s.depth);
    Floats wanted;
    for (std::int64_t o = 0; o < s.d_out; ++o)
      for (std::int64_t z = 0; z < ot; ++z)
        for (std::int64_t y = 0; y < oh; ++y)
          for (std::int64_t column = 0; column < ow; ++column) {
            double sum = at(bias, o);
            for (std::int64_t c = 0; c < s.d_in; ++c)
              for (std::int64_t kz = 0; kz < s.kt; ++kz)
                for (std::int64_t ky = 0; ky < s.kh; ++ky)
                  for (std::int64_t kx = 0; kx < s.kw; ++kx) {
                    const std::int64_t pz = z * s.depth.stride + kz * s.depth.dilation - s.depth.padding,
                                       py = y * s.steps.stride + ky * s.steps.dilation - s.steps.padding,
                                       px = column * s.steps.stride + kx * s.steps.dilation - s.steps.padding;
                    if (pz < 0 || pz >= s.t || py < 0 || py >= s.h || px < 0 || px >= s.w) continue;
                    sum += at(kernel, (((o * s.d_in + c) * s.kt + kz) * s.kh + ky) * s.kw + kx) *
                           at(x, ((c * s.t + pz) * s.h + py) * s.w + px);
                  }
            wanted.push_back(static_cast<float>(sum));
          }
    check(run({{"k", {s.kw, s.kh, s.kt, s.d_in * s.d_out}, kernel},
               {"b", {s.d_out}, bias},
               {"x", {s.w, s.h, s.t, s.d_in}, x}},
              [&](GraphBuilder& g) {
                return conv_3d(g.ctx, g.named["k"], g.named["b"], g.named["x"], s.steps, s.depth);
              }),
          wanted);
    if (s.kt == 1) {  // each picture of the volume by itself, channels first
      const std::int64_t picture = s.w * s.h;
      Floats first, wanted_first;
      for (std::int64_t c = 0; c < s.d_in; ++c)
        first.insert(first.end(), x.begin() + c * s.t * picture, x.begin() + (c * s.t + 1) * picture);
      for (std::int64_t o = 0; o < s.d_out; ++o)
        wanted_first.insert(wanted_first.end(), wanted.begin() + o * ot * ow * oh,
                            wanted.begin() + (o * ot + 1) * ow * oh);
      check(
          run({{"k", {s.kw, s.kh, s.d_in, s.d_out}, kernel}, {"b", {s.d_out}, bias}, {"x", {s.w, s.h, s.d_in}, first}},
              [&](GraphBuilder& g) { return conv_2d(g.ctx, g.named["k"], g.named["b"], g.named["x"], s.steps); }),
          wanted_first);
    }
  }
}

TEST_CASE("convolution over time: dilated, depthwise, transposed", "[unit]") {
  const std::int64_t n = 13, d_in = 4, d_out = 6;
  for (const ConvSteps steps : {ConvSteps{1, 6, 3}, ConvSteps{2, 1, 1}, ConvSteps{3, 0, 2}})
    for (const bool depthwise : {false, true}) {
      const std::int64_t width = 5, outs = depthwise ? d_in : d_out, ins = depthwise ? 1 : d_in;
      const Floats x = noise(n * d_in, 4), kernel = noise(width * ins * outs, 5), bias = noise(outs, 6);
      Floats wanted;
      const std::int64_t n_out = (n + 2 * steps.padding - steps.dilation * (width - 1) - 1) / steps.stride + 1;
      for (std::int64_t o = 0; o < outs; ++o)
        for (std::int64_t t = 0; t < n_out; ++t) {
          double sum = at(bias, o);
          for (std::int64_t c = 0; c < ins; ++c)
            for (std::int64_t k = 0; k < width; ++k) {
              const std::int64_t from = t * steps.stride + k * steps.dilation - steps.padding;
              if (from >= 0 && from < n)
                sum += at(kernel, (o * ins + c) * width + k) * at(x, (depthwise ? o : c) * n + from);
            }
          wanted.push_back(static_cast<float>(sum));
        }
      CAPTURE(steps.stride, steps.dilation, depthwise);
      check(run({{"k", {width, ins, outs}, kernel}, {"b", {outs}, bias}, {"x", {n, d_in}, x}},
                [&](GraphBuilder& g) { return conv_time(g.ctx, g.named["k"], g.named["b"], g.named["x"], steps); }),
            wanted);
    }
  for (const auto& [width, stride, padding] : {std::array{16, 8, 4}, std::array{4, 2, 1}, std::array{3, 3, 0}}) {
    const Floats x = noise(n * d_in, 7), kernel = noise(width * d_out * d_in, 8), bias = noise(d_out, 9);
    const std::int64_t n_out = (n - 1) * stride + width - 2 * padding;
    std::vector<double> sums(static_cast<std::size_t>(n_out * d_out));
    for (std::int64_t o = 0; o < d_out; ++o) {
      for (std::int64_t t = 0; t < n_out; ++t) sums[static_cast<std::size_t>(o * n_out + t)] = at(bias, o);
      for (std::int64_t c = 0; c < d_in; ++c)
        for (std::int64_t t = 0; t < n; ++t)
          for (std::int64_t k = 0; k < width; ++k) {
            const std::int64_t to = t * stride + k - padding;
            if (to >= 0 && to < n_out)
              sums[static_cast<std::size_t>(o * n_out + to)] +=
                  at(kernel, (c * d_out + o) * width + k) * at(x, c * n + t);
          }
    }
    check(run({{"k", {width, d_out, d_in}, kernel}, {"b", {d_out}, bias}, {"x", {n, d_in}, x}},
              [&, s = stride, p = padding](GraphBuilder& g) {
                return conv_time_transposed(g.ctx, g.named["k"], g.named["b"], g.named["x"], s, p);
              }),
          Floats(sums.begin(), sums.end()));
  }
}

TEST_CASE("norms over features, groups and channels", "[unit]") {
  const std::int64_t w = 5, h = 3, channels = 8, groups = 4;
  const Floats x = noise(w * h * channels, 10), weight = noise(channels, 11), bias = noise(channels, 12);
  Floats wanted(x.size());
  const std::int64_t per = w * h * channels / groups;
  for (std::int64_t group = 0; group < groups; ++group) {
    double mean = 0, square = 0;
    for (std::int64_t i = 0; i < per; ++i) mean += at(x, group * per + i) / static_cast<double>(per);
    for (std::int64_t i = 0; i < per; ++i)
      square += (at(x, group * per + i) - mean) * (at(x, group * per + i) - mean) / static_cast<double>(per);
    for (std::int64_t i = 0; i < per; ++i) {
      const std::int64_t c = (group * per + i) / (w * h);
      wanted[static_cast<std::size_t>(group * per + i)] =
          static_cast<float>((at(x, group * per + i) - mean) / std::sqrt(square + 1e-3) * at(weight, c) + at(bias, c));
    }
  }
  const std::vector<Input> affine{{"w", {channels}, weight}, {"b", {channels}, bias}};
  std::vector<Input> inputs = affine;
  inputs.push_back({"x", {w, h, channels}, x});
  check(run(inputs,
            [&](GraphBuilder& g) {
              return group_norm(g.ctx, g.named["w"], g.named["b"], g.named["x"], static_cast<int>(groups), 1e-3f);
            }),
        wanted);
  const std::int64_t n = w * h;
  Floats rms(x.size()), by_channel(x.size());
  for (std::int64_t t = 0; t < n; ++t) {
    double power = 0, mean = 0, square = 0;
    for (std::int64_t c = 0; c < channels; ++c) {
      power += at(x, t * channels + c) * at(x, t * channels + c) / static_cast<double>(channels);
      mean += at(x, c * n + t) / static_cast<double>(channels);
    }
    for (std::int64_t c = 0; c < channels; ++c)
      square += (at(x, c * n + t) - mean) * (at(x, c * n + t) - mean) / static_cast<double>(channels);
    for (std::int64_t c = 0; c < channels; ++c) {
      rms[static_cast<std::size_t>(t * channels + c)] =
          static_cast<float>(at(x, t * channels + c) / std::sqrt(power + 1e-6) * at(weight, c));
      by_channel[static_cast<std::size_t>(c * n + t)] =
          static_cast<float>((at(x, c * n + t) - mean) / std::sqrt(square + 1e-5) * at(weight, c) + at(bias, c));
    }
  }
  inputs = affine;
  inputs.push_back({"x", {channels, n}, x});
  check(run(inputs, [&](GraphBuilder& g) { return rms_norm(g.ctx, g.named["w"], g.named["x"], 1e-6f); }), rms);
  inputs.back().shape = {n, channels};
  check(run(inputs,
            [&](GraphBuilder& g) { return channel_norm(g.ctx, g.named["w"], g.named["b"], g.named["x"], 1e-5f); }),
        by_channel);
}

TEST_CASE("rotary positions over one, two and three axes", "[unit]") {
  const std::int64_t n_head = 2, n_tokens = 5, batch = 2, d_head = 20;
  for (const std::vector<std::int64_t>& axes : {std::vector<std::int64_t>{20}, std::vector<std::int64_t>{8},
                                                std::vector<std::int64_t>{8, 12}, std::vector<std::int64_t>{4, 8, 8}})
    for (const RopePairs pairs : {RopePairs::interleaved, RopePairs::halves}) {
      std::vector<std::vector<double>> frequencies, positions;
      for (std::size_t axis = 0; axis < axes.size(); ++axis) {
        frequencies.push_back(rope_frequencies(axes[axis], 10000.0));
        positions.emplace_back();
        for (std::int64_t t = 0; t < n_tokens; ++t)
          positions.back().push_back(static_cast<double>((t * 7 + static_cast<std::int64_t>(axis) * 3) % 11));
      }
      const Floats x = noise(d_head * n_head * n_tokens * batch, 13);
      const std::int64_t n_pair = std::accumulate(axes.begin(), axes.end(), std::int64_t{0}) / 2;
      Floats wanted = x;
      for (std::int64_t row = 0; row < n_head * n_tokens * batch; ++row) {
        const auto token = static_cast<std::size_t>(row / n_head % n_tokens);
        std::int64_t pair = 0;
        for (std::size_t axis = 0; axis < axes.size(); ++axis)
          for (std::int64_t i = 0; i < axes[axis] / 2; ++i, ++pair) {
            const double angle = positions[axis][token] *
                                 std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(axes[axis]));
            const std::int64_t a = row * d_head + (pairs == RopePairs::halves ? pair : 2 * pair),
                               b = row * d_head + (pairs == RopePairs::halves ? pair + n_pair : 2 * pair + 1);
            wanted[static_cast<std::size_t>(a)] =
                static_cast<float>(at(x, a) * std::cos(angle) - at(x, b) * std::sin(angle));
            wanted[static_cast<std::size_t>(b)] =
                static_cast<float>(at(x, a) * std::sin(angle) + at(x, b) * std::cos(angle));
          }
      }
      CAPTURE(axes.size(), pairs == RopePairs::halves);
      check(run({{"angles", {n_pair, n_tokens, 2}, rope_angles(frequencies, positions)},
                 {"x", {d_head, n_head, n_tokens, batch}, x}},
                [&](GraphBuilder& g) { return rope(g.ctx, g.named["x"], g.named["angles"], pairs); }),
            wanted);
    }
}

/// Softmax attention of one batch item by loops. q [d, n_head, n_q], k and v [d, n_kv_head, n_kv].
TEST_CASE("attention with grouped heads, masks and unequal lengths", "[unit]") {
  const std::int64_t d = 8, n_head = 6, n_kv_head = 2, n_q = 4, n_kv = 7, batch = 3;
  const std::vector<std::int64_t> lengths{7, 3, 5};
  const Floats q = noise(d * n_head * n_q * batch, 14), k = noise(d * n_kv_head * n_kv * batch, 15),
               v = noise(d * n_kv_head * n_kv * batch, 16);
  for (const bool causal : {false, true}) {
    Floats wanted(static_cast<std::size_t>(d * n_head * n_q * batch));
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t i = 0; i < n_q; ++i)
        for (std::int64_t h = 0; h < n_head; ++h) {
          const std::int64_t group = h / (n_head / n_kv_head);
          std::int64_t seen = lengths[static_cast<std::size_t>(b)];
          if (causal) seen = std::min(seen, n_kv - n_q + i + 1);
          std::vector<double> p;
          double sum = 0;
          for (std::int64_t j = 0; j < seen; ++j) {
            double score = 0;
            for (std::int64_t e = 0; e < d; ++e)
              score +=
                  at(q, ((b * n_q + i) * n_head + h) * d + e) * at(k, ((b * n_kv + j) * n_kv_head + group) * d + e);
            p.push_back(std::exp(score * 0.3));
            sum += p.back();
          }
          for (std::int64_t e = 0; e < d; ++e) {
            double mixed = 0;
            for (std::int64_t j = 0; j < seen; ++j)
              mixed += p[static_cast<std::size_t>(j)] / sum * at(v, ((b * n_kv + j) * n_kv_head + group) * d + e);
            wanted[static_cast<std::size_t>(((b * n_q + i) * n_head + h) * d + e)] = static_cast<float>(mixed);
          }
        }
    check(run({{"q", {d, n_head, n_q, batch}, q},
               {"k", {d, n_kv_head, n_kv, batch}, k},
               {"v", {d, n_kv_head, n_kv, batch}, v},
               {"mask", {n_kv, n_q, 1, batch}, padding_mask(lengths, n_kv, n_q, causal)}},
              [&](GraphBuilder& g) {
                return attend(g.ctx, g.named["q"], g.named["k"], g.named["v"], g.named["mask"], 0.3f);
              }),
          wanted);
  }
  // Nothing to see at all: no NaN.
  const std::vector<std::int64_t> empty{0};
  CHECK(padding_mask(empty, 3, 1)[0] == 0.0f);
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }

/// down(silu(gate x) * up x) by loops; matrices [d_in, d_out].
std::vector<double> gated(const Floats& gate, const Floats& up, const Floats& down, std::int64_t offset, std::int64_t d,
                          std::int64_t d_ff, const Floats& x, std::int64_t token) {
  std::vector<double> hidden, out;
  for (std::int64_t f = 0; f < d_ff; ++f) {
    double g = 0, u = 0;
    for (std::int64_t i = 0; i < d; ++i) {
      g += at(gate, offset + f * d + i) * at(x, token * d + i);
      u += at(up, offset + f * d + i) * at(x, token * d + i);
    }
    hidden.push_back(silu(g) * u);
  }
  for (std::int64_t o = 0; o < d; ++o) {
    double sum = 0;
    for (std::int64_t f = 0; f < d_ff; ++f)
      sum += at(down, offset + o * d_ff + f) * hidden[static_cast<std::size_t>(f)];
    out.push_back(sum);
  }
  return out;
}

TEST_CASE("gated MLPs and mixtures of experts", "[unit]") {
  const std::int64_t d = 6, d_ff = 10, n_expert = 8, n_tokens = 5, matrix = d * d_ff;
  const Floats gate = noise(matrix * n_expert, 17), up = noise(matrix * n_expert, 18),
               down = noise(matrix * n_expert, 19), x = noise(d * n_tokens, 20),
               logits = noise(n_expert * n_tokens, 21), bias = noise(n_expert, 22);
  Floats wanted;
  for (std::int64_t t = 0; t < n_tokens; ++t)
    for (const double value : gated(gate, up, down, 0, d, d_ff, x, t)) wanted.push_back(static_cast<float>(value));
  const auto first = [&](const Floats& all) { return Floats(all.begin(), all.begin() + matrix); };
  check(run({{"gate", {d, d_ff}, first(gate)},
             {"up", {d, d_ff}, first(up)},
             {"down", {d_ff, d}, first(down)},
             {"x", {d, n_tokens}, x}},
            [&](GraphBuilder& g) {
              return gated_mlp(g.ctx, Activation::silu, {g.named["gate"]}, {g.named["up"]}, {g.named["down"]},
                               g.named["x"]);
            }),
        wanted);

  struct Kind {
    int n_used;
    bool sigmoid, normalise, biased;
    int n_groups, n_groups_used;
  };
  for (const Kind kind : {Kind{1, false, false, false, 1, 1}, Kind{3, false, true, false, 1, 1},
                          Kind{2, true, true, true, 1, 1}, Kind{3, true, true, true, 4, 2}}) {
    Floats mixed;
    for (std::int64_t t = 0; t < n_tokens; ++t) {
      std::vector<double> scores, ranked;
      double sum = 0;
      for (std::int64_t e = 0; e < n_expert; ++e) {
        const double logit = at(logits, t * n_expert + e);
        scores.push_back(kind.sigmoid ? 1.0 / (1.0 + std::exp(-logit)) : std::exp(logit));
        sum += scores.back();
      }
      if (!kind.sigmoid)
        for (double& score : scores) score /= sum;
      ranked = scores;
      if (kind.biased)
        for (std::size_t e = 0; e < ranked.size(); ++e) ranked[e] += bias[e];
      const auto in_group = static_cast<std::size_t>(n_expert / kind.n_groups);
      std::vector<std::pair<double, std::size_t>> groups;
      for (std::size_t group = 0; group < static_cast<std::size_t>(kind.n_groups); ++group) {
        std::vector<double> of(ranked.begin() + static_cast<std::ptrdiff_t>(group * in_group),
                               ranked.begin() + static_cast<std::ptrdiff_t>((group + 1) * in_group));
        std::sort(of.rbegin(), of.rend());
        groups.emplace_back(-(of[0] + of[1]), group);
      }
      std::sort(groups.begin(), groups.end());
      std::vector<std::pair<double, std::size_t>> order;
      for (int i = 0; i < kind.n_groups_used; ++i)
        for (std::size_t e = 0; e < in_group; ++e) {
          const std::size_t expert = groups[static_cast<std::size_t>(i)].second * in_group + e;
          order.emplace_back(-ranked[expert], expert);
        }
      std::sort(order.begin(), order.end());
      double total = 0;
      for (int i = 0; i < kind.n_used; ++i) total += scores[order[static_cast<std::size_t>(i)].second];
      std::vector<double> out(static_cast<std::size_t>(d));
      for (int i = 0; i < kind.n_used; ++i) {
        const std::size_t expert = order[static_cast<std::size_t>(i)].second;
        const double weight = 2.5 * scores[expert] / (kind.normalise ? total : 1.0);
        const auto one = gated(gate, up, down, static_cast<std::int64_t>(expert) * matrix, d, d_ff, x, t);
        for (std::size_t o = 0; o < out.size(); ++o) out[o] += weight * one[o];
      }
      for (const double value : out) mixed.push_back(static_cast<float>(value));
    }
    CAPTURE(kind.n_used, kind.sigmoid, kind.n_groups);
    check(run({{"gate", {d, d_ff, n_expert}, gate},
               {"up", {d, d_ff, n_expert}, up},
               {"down", {d_ff, d, n_expert}, down},
               {"logits", {n_expert, n_tokens}, logits},
               {"bias", {n_expert}, bias},
               {"x", {d, n_tokens}, x}},
              [&](GraphBuilder& g) {
                MoeRouting routing;
                routing.n_used = kind.n_used;
                routing.sigmoid = kind.sigmoid;
                routing.normalise = kind.normalise;
                routing.scale = 2.5f;
                routing.bias = kind.biased ? g.named["bias"] : nullptr;
                routing.n_groups = kind.n_groups;
                routing.n_groups_used = kind.n_groups_used;
                return moe_mlp(g.ctx, Activation::silu, g.named["gate"], g.named["up"], g.named["down"],
                               moe_route(g.ctx, g.named["logits"], routing), g.named["x"]);
              }),
          mixed);
  }
}

}  // namespace
}  // namespace morph::tensor
