#!/usr/bin/env python3
"""Turns a CTranslate2 Whisper folder into the layout that Whisper is published in.

Why: package registries carry Whisper only as CTranslate2 files; the engine loads the published Hugging Face layout
(config.json, generation_config.json, preprocessor_config.json, tokenizer.json, model.safetensors).
How: CTranslate2 stores one flat list of named arrays. Attention inputs are fused there (q,k,v of self attention and
k,v of cross attention stacked on the output axis) and are cut apart here; numbers are copied bit for bit, never converted.
File format read: version 6 as CTranslate2 writes it (python/ctranslate2/specs/model_spec.py, `_serialize`).
Standard library only.  Use: ct2_to_hf.py CT2_FOLDER OUT_FOLDER
"""

import json
import os
import re
import struct
import sys

# CTranslate2's data type ids that appear in unquantised files -> (safetensors name, bytes per element)
DTYPES = {0: ("F32", 4), 4: ("F16", 2), 5: ("BF16", 2)}
QUANTISED = {1: "int8", 2: "int16", 3: "int32"}
COPY_BLOCK = 1 << 22


class Ct2Error(ValueError):
    """The input is not a CTranslate2 Whisper that can be converted; the message says what was expected and found."""


class Variable:
    """One array of the file: where its bytes are. `shape` is outermost first."""

    def __init__(self, name, shape, dtype_id, offset, n_bytes):
        self.name, self.shape, self.dtype_id, self.offset, self.n_bytes = name, shape, dtype_id, offset, n_bytes


class _Reader:
    def __init__(self, stream, size, path):
        self.stream, self.size, self.path = stream, size, path

    def take(self, n_bytes, what):
        at = self.stream.tell()
        data = self.stream.read(n_bytes) if at + n_bytes <= self.size else b""
        if len(data) != n_bytes:
            raise Ct2Error(f"{self.path}: ends at byte {self.size} inside {what} (which needs bytes {at} to "
                           f"{at + n_bytes}); the file is truncated, fetch it again")
        return data

    def number(self, code, what):
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def string(self, what):
        raw = self.take(self.number("H", what), what)
        return raw.rstrip(b"\0").decode("utf-8", "replace")

    def skip(self, n_bytes, what):
        at = self.stream.tell()
        if at + n_bytes > self.size:
            raise Ct2Error(f"{self.path}: ends at byte {self.size} inside {what} (which needs bytes {at} to "
                           f"{at + n_bytes}); the file is truncated, fetch it again")
        self.stream.seek(n_bytes, os.SEEK_CUR)


def read_index(path):
    """Returns ({name: Variable}, {alias: name}) of a model.bin; every offset is inside the file. Throws Ct2Error."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        reader = _Reader(stream, size, path)
        version = reader.number("I", "the format version")
        if version != 6:
            raise Ct2Error(f"{path}: CTranslate2 format version {version}, expected 6")
        spec = reader.string("the model kind")
        if spec != "WhisperSpec":
            raise Ct2Error(f"{path}: holds a {spec!r}, expected a WhisperSpec")
        reader.number("I", "the revision")
        variables = {}
        for i in range(reader.number("I", "the variable count")):
            name = reader.string(f"the name of variable {i}")
            where = f"variable {name!r}"
            rank = reader.number("B", where)
            shape = [reader.number("I", where) for _ in range(rank)]
            dtype_id = reader.number("B", where)
            n_bytes = reader.number("I", where)
            variables[name] = Variable(name, shape, dtype_id, stream.tell(), n_bytes)
            reader.skip(n_bytes, where)
        aliases = {}
        for i in range(reader.number("I", "the alias count")):
            alias = reader.string(f"alias {i}")
            aliases[alias] = reader.string(f"alias {alias!r}")
    return variables, aliases


class Tensor:
    """An output tensor: rows [row, row + shape[0]) of a variable, under its published name."""

    def __init__(self, name, dtype, shape, offset, n_bytes):
        self.name, self.dtype, self.shape, self.offset, self.n_bytes = name, dtype, shape, offset, n_bytes


class _Mapper:
    """Takes variables by name, checks shape and type, and lists the published tensors made of them."""

    def __init__(self, path, variables):
        self.path, self.variables, self.taken, self.tensors = path, variables, set(), []

    def get(self, name, shape=None):
        var = self.variables.get(name)
        if var is None:
            raise Ct2Error(f"{self.path}: has no variable {name!r}; not a complete CTranslate2 Whisper")
        if var.dtype_id not in DTYPES:
            kind = QUANTISED.get(var.dtype_id, f"type {var.dtype_id}")
            raise Ct2Error(f"{self.path}: variable {name!r} is {kind}; expected float16, bfloat16 or float32 "
                           "(a quantised export cannot be turned back)")
        if shape is not None and var.shape != shape:
            raise Ct2Error(f"{self.path}: variable {name!r} has shape {var.shape}, expected {shape}")
        n_elements = 1
        for extent in var.shape:
            n_elements *= extent
        if n_elements * DTYPES[var.dtype_id][1] != var.n_bytes:
            raise Ct2Error(f"{self.path}: variable {name!r} has {var.n_bytes} bytes, its shape {var.shape} needs "
                           f"{n_elements * DTYPES[var.dtype_id][1]}")
        self.taken.add(name)
        return var

    def split(self, name, published, shape):
        """Cuts a variable into len(published) equal parts along its first axis; each part has `shape`."""
        var = self.get(name, [shape[0] * len(published)] + shape[1:])
        part = var.n_bytes // len(published)
        for i, target in enumerate(published):
            if target is not None:
                self.tensors.append(Tensor(target, DTYPES[var.dtype_id][0], shape, var.offset + i * part, part))

    def one(self, name, published, shape):
        self.split(name, [published], shape)

    def zero_rows(self, stream, name, part, n_parts):
        """Checks that part `part` of a variable holds zeros only: the published layout has no place for it."""
        var = self.get(name)
        n_bytes = var.n_bytes // n_parts
        stream.seek(var.offset + part * n_bytes)
        if stream.read(n_bytes).strip(b"\0"):
            raise Ct2Error(f"{self.path}: the key bias in {name!r} is not zero; Whisper has none, so this is not Whisper")

    def norm(self, name, published, d):
        self.one(name + "/gamma", published + ".weight", [d])
        self.one(name + "/beta", published + ".bias", [d])

    def linear(self, name, published, d_out, d_in):
        self.one(name + "/weight", published + ".weight", [d_out, d_in])
        self.one(name + "/bias", published + ".bias", [d_out])

    def attention(self, stream, name, published, d):
        """Self attention: q, k, v fused in linear_0."""
        proj = [published + f".{x}_proj" for x in "qkv"]
        self.norm(name + "/layer_norm", published + "_layer_norm", d)
        self.split(name + "/linear_0/weight", [p + ".weight" for p in proj], [d, d])
        self.split(name + "/linear_0/bias", [proj[0] + ".bias", None, proj[2] + ".bias"], [d])
        self.zero_rows(stream, name + "/linear_0/bias", 1, 3)
        self.linear(name + "/linear_1", published + ".out_proj", d, d)

    def cross_attention(self, stream, name, published, d):
        """Cross attention: q in linear_0; k, v fused in linear_1."""
        self.norm(name + "/layer_norm", published + "_layer_norm", d)
        self.linear(name + "/linear_0", published + ".q_proj", d, d)
        self.split(name + "/linear_1/weight", [published + ".k_proj.weight", published + ".v_proj.weight"], [d, d])
        self.split(name + "/linear_1/bias", [None, published + ".v_proj.bias"], [d])
        self.zero_rows(stream, name + "/linear_1/bias", 0, 2)
        self.linear(name + "/linear_2", published + ".out_proj", d, d)

    def feed_forward(self, name, published, d, d_ffn):
        self.norm(name + "/layer_norm", published + ".final_layer_norm", d)
        self.linear(name + "/linear_0", published + ".fc1", d_ffn, d)
        self.linear(name + "/linear_1", published + ".fc2", d, d_ffn)


def _count_layers(variables, side):
    found = {int(m.group(1)) for m in (re.match(side + r"/layer_(\d+)/", name) for name in variables) if m}
    return len(found)


def _scalar(path, variables, name):
    var = variables.get(name)
    if var is None or var.n_bytes not in (1, 2, 4):
        raise Ct2Error(f"{path}: has no number {name!r}; not a complete CTranslate2 Whisper")
    with open(path, "rb") as stream:
        stream.seek(var.offset)
        return int.from_bytes(stream.read(var.n_bytes), "little")


def map_tensors(path, variables):
    """Returns (sizes, [Tensor]) for a Whisper model.bin; sizes has the published config's keys. Throws Ct2Error."""
    mapper = _Mapper(path, variables)
    embed = mapper.get("decoder/embeddings/weight")
    conv1 = mapper.get("encoder/conv1/weight")
    if len(embed.shape) != 2 or len(conv1.shape) != 3:
        raise Ct2Error(f"{path}: embeddings {embed.shape} and conv1 {conv1.shape} must have 2 and 3 axes")
    vocab, d = embed.shape
    sizes = {
        "vocab_size": vocab, "d_model": d, "num_mel_bins": conv1.shape[1],
        "encoder_layers": _count_layers(variables, "encoder"), "decoder_layers": _count_layers(variables, "decoder"),
        "encoder_attention_heads": _scalar(path, variables, "encoder/num_heads"),
        "decoder_attention_heads": _scalar(path, variables, "decoder/num_heads"),
        "max_source_positions": mapper.get("encoder/position_encodings/encodings").shape[0],
        "max_target_positions": mapper.get("decoder/position_encodings/encodings").shape[0],
        "encoder_ffn_dim": mapper.get("encoder/layer_0/ffn/linear_0/weight").shape[0],
        "decoder_ffn_dim": mapper.get("decoder/layer_0/ffn/linear_0/weight").shape[0],
    }
    mapper.one("decoder/embeddings/weight", "model.decoder.embed_tokens.weight", [vocab, d])
    with open(path, "rb") as stream:
        for side in ("encoder", "decoder"):
            out = f"model.{side}"
            positions = sizes["max_source_positions" if side == "encoder" else "max_target_positions"]
            mapper.one(f"{side}/position_encodings/encodings", f"{out}.embed_positions.weight", [positions, d])
            mapper.norm(f"{side}/layer_norm", f"{out}.layer_norm", d)
            for i in range(sizes[f"{side}_layers"]):
                name, published = f"{side}/layer_{i}", f"{out}.layers.{i}"
                mapper.attention(stream, f"{name}/self_attention", f"{published}.self_attn", d)
                if side == "decoder":
                    mapper.cross_attention(stream, f"{name}/attention", f"{published}.encoder_attn", d)
                mapper.feed_forward(f"{name}/ffn", published, d, sizes[f"{side}_ffn_dim"])
    for i, d_in in ((1, sizes["num_mel_bins"]), (2, d)):
        mapper.one(f"encoder/conv{i}/weight", f"model.encoder.conv{i}.weight", [d, d_in, 3])
        mapper.one(f"encoder/conv{i}/bias", f"model.encoder.conv{i}.bias", [d])
    left = sorted(n for n in variables if n not in mapper.taken and n.endswith(("weight", "bias", "gamma", "beta")))
    if left:
        raise Ct2Error(f"{path}: does not know what {left[0]!r} is ({len(left)} unknown arrays); not a plain Whisper")
    return sizes, mapper.tensors


def write_safetensors(source, tensors, out):
    """Writes the tensors, read from `source` at their offsets, as one safetensors file (sorted by name)."""
    tensors = sorted(tensors, key=lambda t: t.name)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for t in tensors:
        header[t.name] = {"dtype": t.dtype, "shape": t.shape, "data_offsets": [at, at + t.n_bytes]}
        at += t.n_bytes
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(source, "rb") as src, open(out, "wb") as dst:
        dst.write(struct.pack("<Q", len(text)) + text)
        for t in tensors:
            src.seek(t.offset)
            left = t.n_bytes
            while left:
                block = src.read(min(left, COPY_BLOCK))
                if not block:
                    raise Ct2Error(f"{source}: got shorter while it was read (tensor {t.name!r})")
                dst.write(block)
                left -= len(block)


def read_token_ids(folder):
    """Returns {text: id} of the special tokens (`<|...|>` but no time stamps) in tokenizer.json. Throws Ct2Error."""
    path = os.path.join(folder, "tokenizer.json")
    try:
        with open(path, encoding="utf-8") as stream:
            tokenizer = json.load(stream)
        return {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Ct2Error(f"{path}: expected a tokenizer with added_tokens, found: {error}") from error


def check_vocabulary(folder, ids, vocab_size):
    """vocabulary.txt (what the weights were exported with) must agree with tokenizer.json. Throws Ct2Error."""
    path = os.path.join(folder, "vocabulary.txt")
    try:
        with open(path, encoding="utf-8", newline="\n") as stream:
            rows = stream.read().split("\n")
    except OSError as error:
        raise Ct2Error(f"{path}: cannot be read: {error}") from error
    if rows and rows[-1] == "":
        rows.pop()
    if len(rows) != vocab_size:
        raise Ct2Error(f"{path}: has {len(rows)} tokens, the weights have {vocab_size} rows")
    for text, i in ids.items():
        # "<|nocaptions|>" and "<|nospeech|>" are two names of one token.
        if not 0 <= i < len(rows) or (rows[i] != text and text not in ("<|nocaptions|>", "<|nospeech|>")):
            raise Ct2Error(f"{path}: token {i} is {rows[i] if 0 <= i < len(rows) else 'absent'!r}, tokenizer.json says "
                           f"{text!r}")


def build_configs(sizes, ct2, ids):
    """Returns {file name: content} of the three published JSON files, from sizes, CT2's config and the token ids."""
    def token(text):
        if text not in ids:
            raise Ct2Error(f"tokenizer.json: has no token {text!r}")
        return ids[text]

    # The English-only models have one row less: no Cantonese, and text tokens end one earlier. Their published
    # vocabulary is 51864; the others have 51865 or more.
    multilingual = sizes["vocab_size"] >= 51865
    end, start = token("<|endoftext|>"), token("<|startoftranscript|>")
    no_timestamps = token("<|notimestamps|>")
    generation = {
        "alignment_heads": ct2.get("alignment_heads", []),
        "begin_suppress_tokens": ct2.get("suppress_ids_begin", []),
        "bos_token_id": end if multilingual else start,
        "decoder_start_token_id": start,
        "eos_token_id": end,
        "forced_decoder_ids": [[1, None], [2, token("<|transcribe|>")]] if multilingual else [[1, no_timestamps]],
        "is_multilingual": multilingual,
        "max_initial_timestamp_index": 50,
        "max_length": sizes["max_target_positions"],
        "no_timestamps_token_id": no_timestamps,
        "pad_token_id": end,
        "prev_sot_token_id": token("<|startofprev|>"),
        "return_timestamps": False,
        "suppress_tokens": ct2.get("suppress_ids", []),
    }
    if multilingual:
        first, last = start + 1, token("<|translate|>")
        generation["lang_to_id"] = {t: i for t, i in sorted(ids.items(), key=lambda x: x[1]) if first <= i < last}
        generation["task_to_id"] = {"transcribe": token("<|transcribe|>"), "translate": token("<|translate|>")}
        if sorted(ct2.get("lang_ids", [])) != sorted(generation["lang_to_id"].values()):
            raise Ct2Error("config.json: lang_ids are not the ids of the language tokens in tokenizer.json")
    config = dict(sizes)
    config.update({
        "activation_dropout": 0.0, "activation_function": "gelu", "architectures": ["WhisperForConditionalGeneration"],
        "attention_dropout": 0.0, "begin_suppress_tokens": generation["begin_suppress_tokens"],
        "bos_token_id": generation["bos_token_id"], "decoder_layerdrop": 0.0, "decoder_start_token_id": start,
        "dropout": 0.0, "encoder_layerdrop": 0.0, "eos_token_id": end, "init_std": 0.02, "is_encoder_decoder": True,
        "max_length": sizes["max_target_positions"], "model_type": "whisper",
        "num_hidden_layers": sizes["encoder_layers"], "pad_token_id": end, "scale_embedding": False,
        "suppress_tokens": generation["suppress_tokens"], "tie_word_embeddings": True, "torch_dtype": "float16",
        "use_cache": True,
    })
    preprocessor = {
        "chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": sizes["num_mel_bins"], "hop_length": 160, "n_fft": 400, "n_samples": 480000,
        "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0, "processor_class": "WhisperProcessor",
        "return_attention_mask": False, "sampling_rate": 16000,
    }
    tokenizer_config = {
        "add_prefix_space": False, "bos_token": "<|endoftext|>" if multilingual else "<|startoftranscript|>",
        "eos_token": "<|endoftext|>", "errors": "replace", "model_max_length": 1024, "pad_token": "<|endoftext|>",
        "processor_class": "WhisperProcessor", "tokenizer_class": "WhisperTokenizerFast",
        "unk_token": "<|endoftext|>",
    }
    return {"config.json": config, "generation_config.json": generation, "preprocessor_config.json": preprocessor,
            "tokenizer_config.json": tokenizer_config}


def write_json(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        json.dump(value, stream, indent=2, sort_keys=True, ensure_ascii=False)
        stream.write("\n")


def convert(source, out):
    """Reads the CTranslate2 folder `source` (model.bin, config.json, tokenizer.json, vocabulary.txt) and writes the
    published layout into the existing folder `out`. The bytes written depend on the input only. Throws Ct2Error."""
    model = os.path.join(source, "model.bin")
    try:
        variables, aliases = read_index(model)
        with open(os.path.join(source, "config.json"), encoding="utf-8") as stream:
            ct2 = json.load(stream)
    except (OSError, ValueError) as error:
        if isinstance(error, Ct2Error):
            raise
        raise Ct2Error(f"{source}: cannot be read as a CTranslate2 Whisper: {error}") from error
    if aliases.get("decoder/projection/weight") != "decoder/embeddings/weight":
        raise Ct2Error(f"{model}: the output projection is not the token embedding; Whisper ties them")
    sizes, tensors = map_tensors(model, variables)
    ids = read_token_ids(source)
    check_vocabulary(source, ids, sizes["vocab_size"])
    configs = build_configs(sizes, ct2, ids)
    write_safetensors(model, tensors, os.path.join(out, "model.safetensors"))
    for name, value in configs.items():
        write_json(os.path.join(out, name), value)
    with open(os.path.join(source, "tokenizer.json"), "rb") as src:
        with open(os.path.join(out, "tokenizer.json"), "wb") as dst:
            dst.write(src.read())


def main(argv):
    if len(argv) != 3 or argv[1].startswith("-"):
        print("use: ct2_to_hf.py CT2_FOLDER OUT_FOLDER", file=sys.stderr)
        return 2
    try:
        os.makedirs(argv[2], exist_ok=True)
        convert(argv[1], argv[2])
    except Ct2Error as error:
        print(f"ct2_to_hf: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
