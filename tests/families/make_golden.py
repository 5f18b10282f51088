#!/usr/bin/env python3
"""Makes the small random-weight checkpoints in tests/families/golden/, in the layouts that publishers use, with reference
inputs and outputs computed here in float64 with NumPy, independently of the engine:

  bert     a sentence embedder: three layers, odd sizes, two texts of unequal length, pooling by the mean, length 1
  vits     a voice: no window, even FFN kernel, other rates and kernels than the published ones, two speakers, weight norm

Usage: make_golden.py [FOLDER]   (needs numpy; run it again only when a set must change)
Facts: transformers' modeling_bert.py and modeling_vits.py. `--check FOLDER` runs the VITS reference on a published-style
folder with golden/ (noise scales 0) and prints how far apart they are."""

import json
import math
import pathlib
import struct
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "golden"


def save(path, tensors):
    header, data = {}, b""
    names = {np.dtype("float32"): "F32", np.dtype("int64"): "I64"}
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def load(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    kinds = {"F32": np.float32, "I64": np.int64}
    return {name: np.frombuffer(data[8 + n + e["data_offsets"][0]:8 + n + e["data_offsets"][1]],
                                kinds[e["dtype"]]).reshape(e["shape"])
            for name, e in json.loads(data[8:8 + n]).items() if name != "__metadata__"}


erf = np.vectorize(math.erf)


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps) * weight + bias


# ---------------------------------------------------------------------------------------------------------------- BERT

def bert_forward(w, config, ids, mask):
    w = {name: value.astype(np.float64) for name, value in w.items()}
    n = ids.shape[1]
    linear = lambda name, x: x @ w[name + ".weight"].T + w[name + ".bias"]
    norm = lambda name, x: layer_norm(x, w[name + ".weight"], w[name + ".bias"], config["layer_norm_eps"])
    x = (w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:n]
         + w["embeddings.token_type_embeddings.weight"][0])
    x = norm("embeddings.LayerNorm", x)
    out = {"hidden.0": x}
    heads = config["num_attention_heads"]
    d_head = config["hidden_size"] // heads
    hide = np.where(mask[:, None, None, :] == 0, -np.inf, 0)
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        split = lambda name: linear(layer + "attention.self." + name, x).reshape(*ids.shape, heads, d_head).swapaxes(1, 2)
        q, k, v = split("query"), split("key"), split("value")
        p = softmax(q @ k.swapaxes(-1, -2) / math.sqrt(d_head) + hide)
        mixed = (p @ v).swapaxes(1, 2).reshape(x.shape)
        x = norm(layer + "attention.output.LayerNorm", x + linear(layer + "attention.output.dense", mixed))
        h = linear(layer + "output.dense", gelu(linear(layer + "intermediate.dense", x)))
        x = norm(layer + "output.LayerNorm", x + h)
        out[f"hidden.{i + 1}"] = x
    out["last_hidden_state"] = x
    pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    out["sentence_embedding"] = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)
    return out


def make_bert(folder):
    rng = np.random.default_rng(1)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("abcdefghijklmnopqrstuvwxyz.,!") + \
        ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"] + ["the", "##ing", "cat", "dog", "sat", "on", "mat"]
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 18, "num_hidden_layers": 3,
              "num_attention_heads": 3, "intermediate_size": 28, "vocab_size": len(words), "hidden_act": "gelu",
              "max_position_embeddings": 24, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
              "position_embedding_type": "absolute"}
    d, ff = config["hidden_size"], config["intermediate_size"]
    w = {}
    new = lambda name, *shape, scale=0.3: w.__setitem__(name, (rng.standard_normal(shape) * scale).astype(np.float32))
    new("embeddings.word_embeddings.weight", len(words), d, scale=1)
    new("embeddings.position_embeddings.weight", 24, d)
    new("embeddings.token_type_embeddings.weight", 2, d)

    def norm(name):
        w[name + ".weight"] = (1 + 0.1 * rng.standard_normal(d)).astype(np.float32)
        new(name + ".bias", d)
    norm("embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for name, out, into in [("attention.self.query", d, d), ("attention.self.key", d, d),
                                ("attention.self.value", d, d), ("attention.output.dense", d, d),
                                ("intermediate.dense", ff, d), ("output.dense", d, ff)]:
            new(layer + name + ".weight", out, into)
            new(layer + name + ".bias", out)
        norm(layer + "attention.output.LayerNorm")
        norm(layer + "output.LayerNorm")
    new("pooler.dense.weight", d, d)
    new("pooler.dense.bias", d)
    save(folder / "model.safetensors", w)
    write = lambda name, value: ((folder / name).parent.mkdir(exist_ok=True),
                                 (folder / name).write_text(json.dumps(value, indent=1) + "\n"))
    write("config.json", config)
    write("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                           {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                           {"idx": 2, "name": "2", "path": "2_Normalize",
                            "type": "sentence_transformers.models.Normalize"}])
    write("1_Pooling/config.json", {"word_embedding_dimension": d, "pooling_mode_cls_token": False,
                                    "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
                                    "pooling_mode_mean_sqrt_len_tokens": False})
    write("sentence_bert_config.json", {"max_seq_length": 16, "do_lower_case": False})
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    ids = np.array([[2, 60, 62, 61, 3, 0, 0, 0], [2, 12, 40, 5, 30, 66, 9, 3]], np.int64)
    mask = (ids != 0).astype(np.int64)
    save(folder / "golden" / "inputs.safetensors", {"input_ids": ids, "attention_mask": mask})
    out = bert_forward(w, config, ids, mask)
    save(folder / "golden" / "outputs.safetensors", {k: v.astype(np.float32) for k, v in out.items()})


# ---------------------------------------------------------------------------------------------------------------- VITS

def conv(x, weight, bias=None, padding=(0, 0), dilation=1, groups=1):
    """x [c, n], weight [out, in / groups, k]."""
    x = np.pad(x, ((0, 0), padding))
    n = x.shape[1] - dilation * (weight.shape[2] - 1)
    out = np.zeros((weight.shape[0], n))
    for k in range(weight.shape[2]):
        part = x[:, k * dilation:k * dilation + n]
        out += weight[:, 0, k:k + 1] * part if groups > 1 else weight[:, :, k] @ part
    return out if bias is None else out + bias[:, None]


def same(k, dilation=1):
    return ((k * dilation - dilation) // 2,) * 2


def conv_transposed(x, weight, bias, stride, padding):
    """weight [in, out, k]"""
    out = np.zeros((weight.shape[1], (x.shape[1] - 1) * stride + weight.shape[2]))
    for t in range(x.shape[1]):
        out[:, t * stride:t * stride + weight.shape[2]] += np.einsum("i,iok->ok", x[:, t], weight)
    return out[:, padding:out.shape[1] - padding] + bias[:, None]


class Vits:
    def __init__(self, w, config):
        self.w = {name: value.astype(np.float64) for name, value in w.items()}
        self.c = config
        for name in list(self.w):  # weight norm
            for g, v in [(".weight_g", ".weight_v"),
                         (".parametrizations.weight.original0", ".parametrizations.weight.original1")]:
                if name.endswith(g):
                    stem = name[:-len(g)]
                    direction = self.w[stem + v]
                    length = np.sqrt((direction ** 2).sum(axis=(1, 2), keepdims=True))
                    self.w[stem + ".weight"] = self.w[name] * direction / length

    def conv(self, name, x, **how):
        return conv(x, self.w[name + ".weight"], self.w.get(name + ".bias"), **how)

    def norm(self, name, x, eps=1e-5):
        return layer_norm(x.T, self.w[name + ".weight"], self.w[name + ".bias"], eps).T

    def text(self, ids):
        c, w, n = self.c, self.w, len(ids)
        d, heads = c["hidden_size"], c["num_attention_heads"]
        d_head, window = d // heads, c.get("window_size") or 0
        x = w["text_encoder.embed_tokens.weight"][ids] * math.sqrt(d)  # [n, d]
        for i in range(c["num_hidden_layers"]):
            layer = f"text_encoder.encoder.layers.{i}."
            lin = lambda name, x: x @ w[layer + f"attention.{name}_proj.weight"].T + w[layer + f"attention.{name}_proj.bias"]
            split = lambda name: lin(name, x).reshape(n, heads, d_head).swapaxes(0, 1)
            q, k, v = split("q") / math.sqrt(d_head), split("k"), split("v")
            scores = q @ k.swapaxes(1, 2)
            if window:
                for a in range(n):
                    for b in range(max(0, a - window), min(n, a + window + 1)):
                        scores[:, a, b] += q[:, a] @ w[layer + "attention.emb_rel_k"][0, b - a + window]
            p = softmax(scores)
            mixed = p @ v
            if window:
                for a in range(n):
                    for b in range(max(0, a - window), min(n, a + window + 1)):
                        mixed[:, a] += p[:, a, b, None] * w[layer + "attention.emb_rel_v"][0, b - a + window]
            x = x + lin("out", mixed.swapaxes(0, 1).reshape(n, d))
            x = layer_norm(x, w[layer + "layer_norm.weight"], w[layer + "layer_norm.bias"], c["layer_norm_eps"])
            k = c["ffn_kernel_size"]
            pad = {"padding": ((k - 1) // 2, k // 2)}
            h = self.conv(layer + "feed_forward.conv_1", x.T, **pad)
            h = self.conv(layer + "feed_forward.conv_2", np.maximum(h, 0) if c["hidden_act"] == "relu" else gelu(h), **pad)
            x = layer_norm(x + h.T, w[layer + "final_layer_norm.weight"], w[layer + "final_layer_norm.bias"],
                           c["layer_norm_eps"])
        return x.T, self.conv("text_encoder.project", x.T)

    def dds(self, name, x, condition=None):
        if condition is not None:
            x = x + condition
        k = self.c["duration_predictor_kernel_size"]
        for i in range(self.c["depth_separable_num_layers"]):
            h = self.conv(f"{name}.convs_dilated.{i}", x, padding=same(k, k ** i), dilation=k ** i, groups=2)
            h = gelu(self.norm(f"{name}.norms_1.{i}", h))
            h = gelu(self.norm(f"{name}.norms_2.{i}", self.conv(f"{name}.convs_pointwise.{i}", h)))
            x = x + h
        return x

    def spline(self, raw, y):
        bins, bound, least = self.c["duration_predictor_flow_bins"], self.c["duration_predictor_tail_bound"], 1e-3
        if not -bound <= y <= bound:
            return y
        over = math.sqrt(self.c["hidden_size"])

        def edges(values):
            share = np.concatenate([[0], np.cumsum(least + (1 - least * bins) * softmax(values / over))])
            at = 2 * bound * share - bound
            at[-1] = bound
            return at
        xs, ys = edges(raw[:bins]), edges(raw[bins:2 * bins])
        slopes = np.concatenate([[1.0], least + np.log1p(np.exp(raw[2 * bins:])), [1.0]])
        b = min(int(np.searchsorted(ys, y, side="right")) - 1, bins - 1)
        width, height = xs[b + 1] - xs[b], ys[b + 1] - ys[b]
        delta, left, right = height / width, slopes[b], slopes[b + 1]
        bend, above = left + right - 2 * delta, y - ys[b]
        qa, qb, qc = height * (delta - left) + above * bend, height * left - above * bend, -delta * above
        return 2 * qc / (-qb - math.sqrt(qb * qb - 4 * qa * qc)) * width + xs[b]

    def log_durations(self, text, speaker):
        c, dp = self.c, "duration_predictor."
        cond = 0 if speaker is None else self.conv(dp + "cond", speaker)
        if not c["use_stochastic_duration_prediction"]:
            h, pad = text + cond, same(c["duration_predictor_kernel_size"])
            for i in "12":
                h = np.maximum(self.conv(dp + "conv_" + i, h, padding=pad), 0)
                h = self.norm(dp + "norm_" + i, h, c["layer_norm_eps"])
            return self.conv(dp + "proj", h)[0]
        h = self.conv(dp + "conv_proj", self.dds(dp + "conv_dds", self.conv(dp + "conv_pre", text) + cond))
        z = np.zeros((2, text.shape[1]))
        for flow in range(c["duration_predictor_num_flows"], 1, -1):
            z, name = z[::-1].copy(), f"{dp}flows.{flow}"
            raw = self.conv(name + ".conv_proj", self.dds(name + ".conv_dds", self.conv(name + ".conv_pre", z[:1]), h))
            z[1] = [self.spline(raw[:, t], z[1, t]) for t in range(z.shape[1])]
        z = z[::-1]
        return ((z - self.w[dp + "flows.0.translate"]) * np.exp(-self.w[dp + "flows.0.log_scale"]))[0]

    def wavenet(self, name, x, speaker):
        c, d = self.c, self.c["hidden_size"]
        cond = None if speaker is None else self.conv(name + ".cond_layer", speaker)
        total, layers, k = 0, c["prior_encoder_num_wavenet_layers"], c["wavenet_kernel_size"]
        for i in range(layers):
            dilation = c["wavenet_dilation_rate"] ** i
            h = self.conv(f"{name}.in_layers.{i}", x, padding=same(k, dilation), dilation=dilation)
            if cond is not None:
                h = h + cond[2 * d * i:2 * d * (i + 1)]
            h = self.conv(f"{name}.res_skip_layers.{i}", np.tanh(h[:d]) / (1 + np.exp(-h[d:])))
            if i < layers - 1:
                x, total = x + h[:d], total + h[d:]
            else:
                total = total + h
        return total

    def decode(self, x, speaker):
        c = self.c
        leaky = lambda x, slope=c["leaky_relu_slope"]: np.where(x > 0, x, slope * x)
        h = self.conv("decoder.conv_pre", x, padding=(3, 3))
        if speaker is not None:
            h = h + self.conv("decoder.cond", speaker)
        kernels = c["resblock_kernel_sizes"]
        for i, (rate, k) in enumerate(zip(c["upsample_rates"], c["upsample_kernel_sizes"])):
            name = f"decoder.upsampler.{i}"
            h = conv_transposed(leaky(h), self.w[name + ".weight"], self.w[name + ".bias"], rate, (k - rate) // 2)
            total = 0
            for j, width in enumerate(kernels):
                y = h
                for m, dilation in enumerate(c["resblock_dilation_sizes"][j]):
                    block = f"decoder.resblocks.{i * len(kernels) + j}"
                    z = self.conv(f"{block}.convs1.{m}", leaky(y), padding=same(width, dilation), dilation=dilation)
                    y = y + self.conv(f"{block}.convs2.{m}", leaky(z), padding=same(width))
                total = total + y
            h = total / len(kernels)
        return np.tanh(self.conv("decoder.conv_post", leaky(h, 0.01), padding=(3, 3)))

    def __call__(self, ids, speaker_id=None):
        c = self.c
        speaker = None if speaker_id is None else self.w["embed_speaker.weight"][speaker_id][:, None]
        text, stats = self.text(ids)
        durations = np.ceil(np.exp(self.log_durations(text, speaker)) / c["speaking_rate"]).astype(int)
        x = np.repeat(stats[:c["flow_size"]], durations, axis=1)
        half = c["flow_size"] // 2
        for i in range(c["prior_encoder_num_flows"] - 1, -1, -1):
            x, name = x[::-1].copy(), f"flow.flows.{i}"
            h = self.wavenet(name + ".wavenet", self.conv(name + ".conv_pre", x[:half]), speaker)
            x[half:] -= self.conv(name + ".conv_post", h)
        return {"spectrogram": x[None], "waveform": self.decode(x, speaker)}


VITS = {"architectures": ["VitsModel"], "model_type": "vits", "vocab_size": 31, "hidden_size": 12, "num_hidden_layers": 3,
        "num_attention_heads": 3, "window_size": 2, "ffn_dim": 20, "ffn_kernel_size": 4, "flow_size": 10,
        "num_speakers": 2, "speaker_embedding_size": 6, "use_bias": True, "use_stochastic_duration_prediction": True,
        "depth_separable_channels": 2, "depth_separable_num_layers": 2, "duration_predictor_kernel_size": 5,
        "duration_predictor_filter_channels": 14, "duration_predictor_flow_bins": 6, "duration_predictor_num_flows": 3,
        "duration_predictor_tail_bound": 4.0, "prior_encoder_num_flows": 3, "prior_encoder_num_wavenet_layers": 3,
        "wavenet_kernel_size": 3, "wavenet_dilation_rate": 2, "upsample_initial_channel": 12,
        "upsample_rates": [5, 3], "upsample_kernel_sizes": [9, 5], "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 2], [1]], "hidden_act": "relu", "layer_norm_eps": 1e-5, "leaky_relu_slope": 0.2,
        "noise_scale": 0.667, "noise_scale_duration": 0.8, "speaking_rate": 0.9, "sampling_rate": 8000}


def make_vits(folder, config):
    rng = np.random.default_rng(2)
    c, w = config, {}
    d, flow, spk = c["hidden_size"], c["flow_size"], c["speaker_embedding_size"]
    new = lambda name, *shape, scale=0.2: w.__setitem__(name, (rng.standard_normal(shape) * scale).astype(np.float32))

    def conv_weights(name, out, into, k, bias=True, normed=None):
        scale = 0.7 / math.sqrt(into * k)
        if normed:
            new(name + normed[1], out, into, k)
            w[name + normed[0]] = (0.5 + 0.5 * rng.random((out, 1, 1))).astype(np.float32)
        else:
            new(name + ".weight", out, into, k, scale=scale)
        if bias:
            new(name + ".bias", out, scale=0.1)

    def norm(name, width):
        w[name + ".weight"] = (1 + 0.1 * rng.standard_normal(width)).astype(np.float32)
        new(name + ".bias", width, scale=0.1)
    new("text_encoder.embed_tokens.weight", c["vocab_size"], d, scale=0.3)
    for i in range(c["num_hidden_layers"]):
        layer = f"text_encoder.encoder.layers.{i}."
        for part in ["q", "k", "v", "out"]:
            new(f"{layer}attention.{part}_proj.weight", d, d, scale=0.3)
            new(f"{layer}attention.{part}_proj.bias", d)
        if c["window_size"]:
            for part in ["k", "v"]:
                new(f"{layer}attention.emb_rel_{part}", 1, 2 * c["window_size"] + 1, d // c["num_attention_heads"])
        norm(layer + "layer_norm", d)
        norm(layer + "final_layer_norm", d)
        conv_weights(layer + "feed_forward.conv_1", c["ffn_dim"], d, c["ffn_kernel_size"])
        conv_weights(layer + "feed_forward.conv_2", d, c["ffn_dim"], c["ffn_kernel_size"])
    conv_weights("text_encoder.project", 2 * flow, d, 1)
    dp, k_dp = "duration_predictor.", c["duration_predictor_kernel_size"]

    def dds(name):
        for i in range(c["depth_separable_num_layers"]):
            conv_weights(f"{name}.convs_dilated.{i}", d, 1, k_dp)
            conv_weights(f"{name}.convs_pointwise.{i}", d, d, 1)
            norm(f"{name}.norms_1.{i}", d)
            norm(f"{name}.norms_2.{i}", d)
    if c["use_stochastic_duration_prediction"]:
        conv_weights(dp + "conv_pre", d, d, 1)
        conv_weights(dp + "conv_proj", d, d, 1)
        dds(dp + "conv_dds")
        w[dp + "flows.0.translate"] = np.array([[-1.1], [0.2]], np.float32)
        w[dp + "flows.0.log_scale"] = np.array([[0.4], [-0.1]], np.float32)
        for i in range(1, c["duration_predictor_num_flows"] + 1):
            conv_weights(f"{dp}flows.{i}.conv_pre", d, 1, 1)
            dds(f"{dp}flows.{i}.conv_dds")
            new(f"{dp}flows.{i}.conv_proj.weight", 3 * c["duration_predictor_flow_bins"] - 1, d, 1, scale=1.5)
            new(f"{dp}flows.{i}.conv_proj.bias", 3 * c["duration_predictor_flow_bins"] - 1, scale=1.5)
    else:
        f = c["duration_predictor_filter_channels"]
        conv_weights(dp + "conv_1", f, d, k_dp)
        norm(dp + "norm_1", f)
        conv_weights(dp + "conv_2", f, f, k_dp)
        norm(dp + "norm_2", f)
        conv_weights(dp + "proj", 1, f, 1)
        w[dp + "proj.bias"] = np.array([1.2], np.float32)
    for i in range(c["prior_encoder_num_flows"]):
        name = f"flow.flows.{i}."
        normed = (".weight_g", ".weight_v") if i % 2 else \
            (".parametrizations.weight.original0", ".parametrizations.weight.original1")
        conv_weights(name + "conv_pre", d, flow // 2, 1)
        conv_weights(name + "conv_post", flow // 2, d, 1)
        layers = c["prior_encoder_num_wavenet_layers"]
        for j in range(layers):
            conv_weights(f"{name}wavenet.in_layers.{j}", 2 * d, d, c["wavenet_kernel_size"], normed=normed)
            conv_weights(f"{name}wavenet.res_skip_layers.{j}", 2 * d if j < layers - 1 else d, d, 1, normed=normed)
        if spk:
            conv_weights(name + "wavenet.cond_layer", 2 * d * layers, spk, 1, normed=normed)
    ch = c["upsample_initial_channel"]
    if spk:
        conv_weights(dp + "cond", d, spk, 1)
        conv_weights("decoder.cond", ch, spk, 1)
        new("embed_speaker.weight", c["num_speakers"], spk, scale=1)
    conv_weights("decoder.conv_pre", ch, flow, 7)
    for i, k in enumerate(c["upsample_kernel_sizes"]):
        new(f"decoder.upsampler.{i}.weight", ch, ch // 2, k, scale=0.7 / math.sqrt(ch))
        new(f"decoder.upsampler.{i}.bias", ch // 2, scale=0.1)
        ch //= 2
        for j, width in enumerate(c["resblock_kernel_sizes"]):
            for m in range(len(c["resblock_dilation_sizes"][j])):
                block = f"decoder.resblocks.{i * len(c['resblock_kernel_sizes']) + j}"
                conv_weights(f"{block}.convs1.{m}", ch, ch, width)
                conv_weights(f"{block}.convs2.{m}", ch, ch, width)
    conv_weights("decoder.conv_post", 1, ch, 7, bias=False)
    new("posterior_encoder.conv_pre.weight", 3, 3, 1)
    save(folder / "model.safetensors", w)
    (folder / "config.json").write_text(json.dumps(c, indent=1) + "\n")
    letters = "_ abcdefghijklmnopqrstuvwxyz'-,"
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"add_blank": True, "normalize": True, "phonemize": False, "is_uroman": False, "language": "eng"}) + "\n")
    ids = np.array([[0, 9, 0, 6, 0, 13, 0, 13, 0, 16, 0]], np.int64)
    inputs = {"input_ids": ids}
    if spk:
        inputs["speaker_id"] = np.array([1], np.int64)
    save(folder / "golden" / "inputs.safetensors", inputs)
    out = Vits(w, c)(ids[0], 1 if spk else None)
    print(folder.name, {k: v.shape for k, v in out.items()}, "level", float(np.sqrt((out["waveform"] ** 2).mean())))
    save(folder / "golden" / "outputs.safetensors", {k: v.astype(np.float32) for k, v in out.items()})


def check(folder):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    out = Vits(load(folder / "model.safetensors"), config)(load(folder / "golden/inputs.safetensors")["input_ids"][0])
    for name, wanted in load(folder / "golden/outputs.safetensors").items():
        print(name, out[name].shape, wanted.shape, np.abs(out[name] - wanted).max() if out[name].shape == wanted.shape else "")


def main():
    if sys.argv[1:2] == ["--check"]:
        return check(sys.argv[2])
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name in ["bert", "vits", "vits_plain"]:
        (target / name).mkdir(parents=True, exist_ok=True)
    make_bert(target / "bert")
    make_vits(target / "vits", VITS)
    plain = dict(VITS, window_size=0, num_speakers=1, speaker_embedding_size=0, use_stochastic_duration_prediction=False,
                 ffn_kernel_size=3, duration_predictor_kernel_size=3, hidden_act="gelu", upsample_rates=[4],
                 upsample_kernel_sizes=[8], hidden_size=8, num_attention_heads=2)
    make_vits(target / "vits_plain", plain)


main()
