#!/usr/bin/env python3
"""Makes tests/modalities/text/tokens/golden/: small tokenizers of every published kind, trained by Hugging Face's library on
a few lines, each with the ids and texts that the library gives for awkward inputs.

Needs PyPI's `tokenizers`; run it again only when a set must change. Usage: make_golden.py"""

import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent / "golden"

LINES = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "In 1999 there were 1,234 foxes; today (2024) it's only 56!",
    "Ça va très bien, merci. Größe, Straße, naïve café.",
    "私は猫です。今日は天気がいい。 你好，世界！",
    "def f(x):\n    return x**2  # comment\n\n\tprint(f(3))",
    "Привет, мир! Как дела? — Хорошо, спасибо.",
    "we're they've I'll don't she'd it's I'm",
    "emoji 😀😃 and 👩‍👩‍👧 family; e\u0301 and é",
] * 4

TEXTS = [
    "", " ", "  two  spaces ", "Hello, world!", "The lazy dog's 1234567 foxes",
    "it's we'll THEY'VE I'm", "Größe naïve café Ça", "e\u0301a\u0300 \u212b \ufb01ne \u2460", "私は猫です。天気 abc",
    "Привет мир", "line\nbreak\r\n\n  indented\ttab", "😀 👩‍👩‍👧 x", "\u0000\u200b\ufeffzero", "İstanbul ΣΑΣ",
    "unknown: ☃ ᚠᛇ 𝔘𝔫", "a" * 50, "<s>hi</s> there", " <mask>  x", "[CLS] not [SEP] special", "foo<|end|>bar", "x ▁ y",
    "3.14159, 1,000.00; $5 + 5 = 10 `code` ~tilde^", "end with space ",
]


def write(name, tokenizer, pair=None):
    HERE.mkdir(exist_ok=True)
    document = json.loads(tokenizer.to_str())
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, "plain": plain, "decoded": tokenizer.decode(ids)})
    (HERE / f"{name}.json").write_text(json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n")
    (HERE / f"{name}.cases.json").write_text(json.dumps(cases, ensure_ascii=True, indent=0) + "\n")


def byte_level():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                     show_progress=False))
    t.add_special_tokens(["<|end|>", "<s>", "</s>"])
    t.add_tokens([AddedToken("<mask>", lstrip=True)])
    write("byte_level_bpe", t)


def modern():
    """Qwen and Llama 3: a Split by a regular expression, then ByteLevel without its own; NFC; ignore_merges."""
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
               r"\s+(?!\S)|\s+")
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                     show_progress=False))
    t.add_special_tokens(["<|end|>", "<s>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    write("split_bpe", t)


def sentencepiece_bpe():
    """Llama 2: the whole text one piece, spaces as a mark, bytes for what is unknown."""
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator([word for line in LINES for word in line.split()],
                          trainers.BpeTrainer(vocab_size=520, special_tokens=special, show_progress=False))
    document = json.loads(t.to_str())
    document["added_tokens"] = [a for a in document["added_tokens"] if a["content"] in special[:3]]
    t = Tokenizer.from_str(json.dumps(document))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    write("sentencepiece_bpe", t)


def unigram(name, byte_fallback):
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if byte_fallback else "always")
    t.decoder = decoders.Metaspace(prepend_scheme="first" if byte_fallback else "always")
    special = ["<unk>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    t.train_from_iterator(LINES, trainers.UnigramTrainer(vocab_size=200 + len(special), unk_token="<unk>",
                                                         special_tokens=special, show_progress=False))
    document = json.loads(t.to_str())
    document["model"]["byte_fallback"] = byte_fallback
    document["added_tokens"] = document["added_tokens"][:2]
    t = Tokenizer.from_str(json.dumps(document))
    if byte_fallback:
        t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    write(name, t)


def word_piece(name, lowercase):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    write(name, t)


def clip():
    """CLIP: lower case, words by a pattern, the end of a word marked."""
    t = Tokenizer(models.BPE(unk_token="<|end|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=520, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                     special_tokens=["<|start|>", "<|end|>"], end_of_word_suffix="</w>",
                                                     show_progress=False))
    t.post_processor = processors.RobertaProcessing(("<|end|>", 1), ("<|start|>", 0), trim_offsets=False)
    write("clip_bpe", t)


def odds_and_ends():
    """Rare parts: digits alone, punctuation, whole words, stripping."""
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip(),
                                         normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"),
        pre_tokenizers.Digits(individual_digits=True)])
    t.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False))
    write("word_level", t)
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False))
    t.add_tokens([AddedToken("dog", single_word=True), AddedToken("ox", single_word=False, rstrip=True)])
    write("whitespace", t)


byte_level()
modern()
sentencepiece_bpe()
unigram("unigram", False)
unigram("unigram_bytes", True)
word_piece("word_piece", True)
word_piece("word_piece_cased", False)
clip()
odds_and_ends()
