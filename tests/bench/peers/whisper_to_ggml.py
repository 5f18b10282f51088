"""Writes a published Whisper folder (config.json, model.safetensors, tokenizer.json) as whisper.cpp's ggml file.

The format is whisper.cpp's: magic, eleven hyper-parameters, the mel filters, the vocabulary as bytes, then tensors
(matrices and convolutions in 16 bits, the rest in 32), each with its shape innermost first.
"""
import json
import os
import struct

import numpy
from faster_whisper.feature_extractor import FeatureExtractor

NAMES = [  # published name -> whisper.cpp's, in order
    ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn.q_proj", "cross_attn.query"), ("encoder_attn.k_proj", "cross_attn.key"),
    ("encoder_attn.v_proj", "cross_attn.value"), ("encoder_attn.out_proj", "cross_attn.out"),
    ("self_attn.q_proj", "attn.query"), ("self_attn.k_proj", "attn.key"), ("self_attn.v_proj", "attn.value"),
    ("self_attn.out_proj", "attn.out"), ("final_layer_norm", "mlp_ln"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
]


def ggml_name(name):
    side, rest = name.removeprefix("model.").split(".", 1)
    if rest.startswith("layers."):
        _, index, leaf = rest.split(".", 2)
        for published, ours in NAMES:
            if leaf.startswith(published + "."):
                return f"{side}.blocks.{index}.{ours}{leaf[len(published):]}"
        raise ValueError(f"no place for tensor {name}")
    if side == "encoder":
        return "encoder." + {"embed_positions.weight": "positional_embedding", "layer_norm.weight": "ln_post.weight",
                             "layer_norm.bias": "ln_post.bias"}.get(rest, rest)
    return "decoder." + {"embed_tokens.weight": "token_embedding.weight",
                         "embed_positions.weight": "positional_embedding",
                         "layer_norm.weight": "ln.weight", "layer_norm.bias": "ln.bias"}[rest]


def byte_decoder():
    """GPT-2's printable stand-ins for bytes, inverted."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, spare = {chr(b): b for b in kept}, 256
    for b in range(256):
        if b not in kept:
            table[chr(spare)] = b
            spare += 1
    return table


def read_safetensors(path):
    types = {"F32": numpy.float32, "F16": numpy.float16}
    with open(path, "rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        base = stream.tell()
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            stream.seek(base + begin)
            yield name, numpy.frombuffer(stream.read(end - begin), types[entry["dtype"]]).reshape(entry["shape"])


def convert(folder, target):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as stream:
        config = json.load(stream)
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as stream:
        vocabulary = json.load(stream)["model"]["vocab"]
    # whisper.cpp's special tokens begin after the text ones, which are 50257 (many languages) or 50256 (English).
    n_text = 50257 if config["vocab_size"] >= 51865 else 50256
    bytes_of, tokens = byte_decoder(), sorted((i, t) for t, i in vocabulary.items() if i < n_text)
    with open(target + ".part", "wb") as out:
        out.write(struct.pack("<12i", 0x67676D6C, config["vocab_size"], config["max_source_positions"],
                              config["d_model"], config["encoder_attention_heads"], config["encoder_layers"],
                              config["max_target_positions"], config["d_model"], config["decoder_attention_heads"],
                              config["decoder_layers"], config["num_mel_bins"], 1))
        filters = FeatureExtractor(feature_size=config["num_mel_bins"]).mel_filters.astype(numpy.float32)
        out.write(struct.pack("<2i", *filters.shape))
        out.write(filters.tobytes())
        out.write(struct.pack("<i", len(tokens)))
        for _, token in tokens:
            data = bytes(bytes_of[c] for c in token)
            out.write(struct.pack("<i", len(data)) + data)
        for name, tensor in read_safetensors(os.path.join(folder, "model.safetensors")):
            if name.endswith("proj_out.weight"):
                continue
            name = ggml_name(name)
            if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
                tensor = tensor.reshape(-1, 1)
            half = tensor.ndim > 1 and not name.endswith(("positional_embedding", "conv1.bias", "conv2.bias"))
            tensor = tensor.astype(numpy.float16 if half else numpy.float32)
            label = name.encode()
            out.write(struct.pack("<3i", tensor.ndim, len(label), 1 if half else 0))
            out.write(struct.pack(f"<{tensor.ndim}i", *reversed(tensor.shape)))
            out.write(label)
            out.write(tensor.tobytes())
    os.replace(target + ".part", target)
