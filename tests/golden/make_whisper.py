#!/usr/bin/env python3
"""Makes a small Whisper checkpoint with random weights and what it gives for random inputs, so that the project's parity
tests are whole without sets from elsewhere. The arithmetic is the published architecture's (Radford et al. 2022, as in
transformers' modeling_whisper.py), written down plainly in double precision, without a library: it shares nothing with
the code under test. Standard library only, about a second.

  make_whisper.py FOLDER    writes config.json, generation_config.json, model.safetensors, golden/{inputs,outputs}.safetensors
"""
import array
import json
import math
import operator
import pathlib
import random
import struct
import sys

D, HEADS, FFN, LAYERS, MELS, FRAMES, VOCAB, TEXT = 64, 4, 128, 2, 80, 120, 300, 64
CONFIG = {
    "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "activation_function": "gelu",
    "d_model": D, "vocab_size": VOCAB, "num_mel_bins": MELS, "max_source_positions": FRAMES // 2,
    "max_target_positions": TEXT, "encoder_layers": LAYERS, "encoder_attention_heads": HEADS, "encoder_ffn_dim": FFN,
    "decoder_layers": LAYERS, "decoder_attention_heads": HEADS, "decoder_ffn_dim": FFN, "decoder_start_token_id": 290,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "scale_embedding": False, "tie_word_embeddings": True,
    "begin_suppress_tokens": [], "suppress_tokens": [], "torch_dtype": "float32",
}


def f32(values):
    return array.array("f", values)


class Weights(dict):
    """Tensors by name as (shape, flat values rounded to F32)."""

    def __init__(self, seed):
        super().__init__()
        self.random = random.Random(seed)

    def draw(self, name, shape, scale=0.2, centre=0.0):
        n = math.prod(shape)
        self[name] = (shape, f32(centre + scale * (2 * self.random.random() - 1) for _ in range(n)))

    def rows(self, name):
        shape, values = self[name]
        width = math.prod(shape[1:])
        return [list(values[i * width:(i + 1) * width]) for i in range(shape[0])]

    def vector(self, name):
        return list(self[name][1])


def make_weights():
    weights = Weights(20260101)

    def norm(name):
        weights.draw(name + ".weight", [D], 0.3, 1.0)
        weights.draw(name + ".bias", [D])

    def linear(name, d_out, d_in, bias=True):
        weights.draw(name + ".weight", [d_out, d_in], 1.5 / math.sqrt(d_in))
        if bias:
            weights.draw(name + ".bias", [d_out])

    def attention(name):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{name}.{part}", D, D, part != "k_proj")
        norm(name + "_layer_norm")

    for name, d_in in (("conv1", MELS), ("conv2", D)):
        weights.draw(f"model.encoder.{name}.weight", [D, d_in, 3], 1.5 / math.sqrt(3 * d_in))
        weights.draw(f"model.encoder.{name}.bias", [D])
    weights.draw("model.encoder.embed_positions.weight", [FRAMES // 2, D])
    weights.draw("model.decoder.embed_positions.weight", [TEXT, D])
    weights.draw("model.decoder.embed_tokens.weight", [VOCAB, D], 0.3)
    for side in ("encoder", "decoder"):
        norm(f"model.{side}.layer_norm")
        for i in range(LAYERS):
            layer = f"model.{side}.layers.{i}"
            attention(layer + ".self_attn")
            if side == "decoder":
                attention(layer + ".encoder_attn")
            linear(layer + ".fc1", FFN, D)
            linear(layer + ".fc2", D, FFN)
            norm(layer + ".final_layer_norm")
    return weights


def dot(a, b):
    return sum(map(operator.mul, a, b))


def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def add(a, b):
    return [list(map(operator.add, x, y)) for x, y in zip(a, b)]


def linear(weights, name, x):
    matrix = weights.rows(name + ".weight")
    bias = weights.vector(name + ".bias") if name + ".bias" in weights else [0.0] * len(matrix)
    return [[dot(row, xs) + b for row, b in zip(matrix, bias)] for xs in x]


def norm(weights, name, x):
    gain, bias = weights.vector(name + ".weight"), weights.vector(name + ".bias")
    out = []
    for xs in x:
        mean = sum(xs) / len(xs)
        spread = 1 / math.sqrt(sum((v - mean) ** 2 for v in xs) / len(xs) + 1e-5)
        out.append([(v - mean) * spread * g + b for v, g, b in zip(xs, gain, bias)])
    return out


def conv(weights, name, x, stride):
    """Three wide, one zero of padding at both ends; x is [time][channel]."""
    matrix, bias = weights.rows(name + ".weight"), weights.vector(name + ".bias")
    zero = [0.0] * len(x[0])
    padded = [zero] + x + [zero]
    out = []
    for t in range(0, len(x), stride):
        window = [v for channel in zip(*padded[t:t + 3]) for v in channel]
        out.append([gelu(dot(row, window) + b) for row, b in zip(matrix, bias)])
    return out


def attention(weights, name, x, source, causal):
    q, k, v = (linear(weights, f"{name}.{part}_proj", of) for part, of in (("q", x), ("k", source), ("v", source)))
    d = D // HEADS
    out = []
    for i, qs in enumerate(q):
        seen = i + 1 if causal else len(source)
        mixed = []
        for h in range(0, D, d):
            scores = [dot(qs[h:h + d], ks[h:h + d]) / math.sqrt(d) for ks in k[:seen]]
            top = max(scores)
            shares = [math.exp(s - top) for s in scores]
            total = sum(shares)
            mixed += [dot(shares, [vs[h + j] for vs in v[:seen]]) / total for j in range(d)]
        out.append(mixed)
    return linear(weights, name + ".out_proj", out)


def feed_forward(weights, layer, x):
    hidden = linear(weights, layer + ".fc1", norm(weights, layer + ".final_layer_norm", x))
    return add(x, linear(weights, layer + ".fc2", [[gelu(v) for v in row] for row in hidden]))


def encode(weights, mel):
    """mel is [bin][frame]."""
    x = conv(weights, "model.encoder.conv1", [list(frame) for frame in zip(*mel)], 1)
    x = add(conv(weights, "model.encoder.conv2", x, 2), weights.rows("model.encoder.embed_positions.weight"))
    for i in range(LAYERS):
        layer = f"model.encoder.layers.{i}"
        seen = norm(weights, layer + ".self_attn_layer_norm", x)
        x = feed_forward(weights, layer, add(x, attention(weights, layer + ".self_attn", seen, seen, False)))
    return norm(weights, "model.encoder.layer_norm", x)


def decode(weights, tokens, heard):
    table, places = weights.rows("model.decoder.embed_tokens.weight"), weights.rows("model.decoder.embed_positions.weight")
    x = add([table[token] for token in tokens], places)
    for i in range(LAYERS):
        layer = f"model.decoder.layers.{i}"
        seen = norm(weights, layer + ".self_attn_layer_norm", x)
        x = add(x, attention(weights, layer + ".self_attn", seen, seen, True))
        seen = norm(weights, layer + ".encoder_attn_layer_norm", x)
        x = feed_forward(weights, layer, add(x, attention(weights, layer + ".encoder_attn", seen, heard, False)))
    x = norm(weights, "model.decoder.layer_norm", x)
    return [[dot(row, xs) for row in table] for xs in x]


def write_safetensors(path, tensors):
    """tensors: name -> (dtype, shape, bytes)."""
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def main(folder):
    golden = folder / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    (folder / "generation_config.json").write_text(json.dumps({"begin_suppress_tokens": [], "suppress_tokens": []}))
    (golden / "meta.json").write_text(json.dumps({"class": CONFIG["architectures"][0]}))
    weights = make_weights()
    write_safetensors(folder / "model.safetensors",
                      {name: ("F32", shape, values.tobytes()) for name, (shape, values) in sorted(weights.items())})
    source = random.Random(7)
    mel = [list(f32(source.gauss(0, 1) for _ in range(FRAMES))) for _ in range(MELS)]
    tokens = [290, 17, 251, 99, 4]
    heard = encode(weights, mel)
    logits = decode(weights, tokens, heard)
    write_safetensors(golden / "inputs.safetensors", {
        "decoder_input_ids": ("I64", [1, len(tokens)], array.array("q", tokens).tobytes()),
        "input_features": ("F32", [1, MELS, FRAMES], f32(v for row in mel for v in row).tobytes())})
    write_safetensors(golden / "outputs.safetensors", {
        "encoder_last": ("F32", [1, len(heard), D], f32(v for row in heard for v in row).tobytes()),
        "logits": ("F32", [1, len(tokens), VOCAB], f32(v for row in logits for v in row).tobytes())})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
