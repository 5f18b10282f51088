// A language model of a few hundred kilobytes with random weights, written as a GGUF file by hand: architecture
// "llama", byte-level vocabulary, ChatML template. It answers nonsense, but the same nonsense every time, so that
// everything but the quality of answers can be tested without fetched weights. Header only: two test programs use it.
#pragma once

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace morph::testing {

class TinyTrunkFile {
 public:
  TinyTrunkFile() {
    folder_ = std::filesystem::temp_directory_path() / ("morph-tiny-trunk-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    build();
    std::ofstream(path(), std::ios::binary).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  }
  ~TinyTrunkFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TinyTrunkFile(const TinyTrunkFile&) = delete;
  TinyTrunkFile& operator=(const TinyTrunkFile&) = delete;

  std::filesystem::path path() const { return folder_ / "tiny.gguf"; }
  const std::filesystem::path& folder() const { return folder_; }
  const std::string& bytes() const { return bytes_; }

  static constexpr int kModelWidth = 64, kLayers = 3, kHeads = 4, kHeadsKv = 2, kFeedForward = 128;
  static constexpr int kStart = 256, kEnd = 257, kVocab = 258;

 private:
  enum Type : std::uint32_t { kUint32 = 4, kFloat32 = 6, kBool = 7, kString = 8, kArray = 9, kInt32 = 5 };

  template <class T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put_string(const std::string& text) {
    put<std::uint64_t>(text.size());
    bytes_ += text;
  }
  void key(const std::string& name, std::uint32_t type) {
    put_string(name);
    put(type);
    ++n_keys_;
  }
  void number(const std::string& name, std::uint32_t value) {
    key(name, kUint32);
    put(value);
  }
  void text(const std::string& name, const std::string& value) {
    key(name, kString);
    put_string(value);
  }
  void texts(const std::string& name, const std::vector<std::string>& values) {
    key(name, kArray);
    put<std::uint32_t>(kString);
    put<std::uint64_t>(values.size());
    for (const std::string& value : values) put_string(value);
  }

  /// GPT-2's printable stand-in of a byte.
  static std::string stand_in(int byte) {
    static constexpr auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
    int code = byte;
    if (!printable(byte)) {
      code = 256;
      for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
    }
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
  }

  void tensor(const std::string& name, std::vector<std::uint64_t> shape, float scale, float offset) {
    put_string(name);
    put<std::uint32_t>(static_cast<std::uint32_t>(shape.size()));
    std::size_t n = 1;
    for (std::uint64_t size : shape) {
      put(size);
      n *= size;
    }
    put<std::uint32_t>(0);  // F32
    put<std::uint64_t>(data_.size() * sizeof(float));
    for (std::size_t i = 0; i < n; ++i) {
      random_ = random_ * 6364136223846793005ull + 1442695040888963407ull;
      data_.push_back(offset + scale * (static_cast<float>(random_ >> 40) / 8388608.0f - 1.0f));
    }
    ++n_tensors_;
  }

  void build() {
    text("general.architecture", "llama");
    number("llama.context_length", 4096);
    number("llama.embedding_length", kModelWidth);
    number("llama.block_count", kLayers);
    number("llama.feed_forward_length", kFeedForward);
    number("llama.rope.dimension_count", kModelWidth / kHeads);
    number("llama.attention.head_count", kHeads);
    number("llama.attention.head_count_kv", kHeadsKv);
    key("llama.attention.layer_norm_rms_epsilon", kFloat32);
    put(1e-5f);
    text("tokenizer.ggml.model", "gpt2");
    text("tokenizer.ggml.pre", "gpt-2");
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.push_back(stand_in(byte));
    tokens.insert(tokens.end(), {"<|im_start|>", "<|im_end|>"});
    texts("tokenizer.ggml.tokens", tokens);
    key("tokenizer.ggml.token_type", kArray);
    put<std::uint32_t>(kInt32);
    put<std::uint64_t>(kVocab);
    for (int token = 0; token < kVocab; ++token) put<std::int32_t>(token < 256 ? 1 : 3);
    texts("tokenizer.ggml.merges", {"a b"});  // never applied: there is no token "ab"
    number("tokenizer.ggml.bos_token_id", kStart);
    number("tokenizer.ggml.eos_token_id", kEnd);
    key("tokenizer.ggml.add_bos_token", kBool);
    put<std::uint8_t>(0);
    text(
        "tokenizer.chat_template",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
        "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}");
    const std::string keys = std::exchange(bytes_, "");

    constexpr std::uint64_t d = kModelWidth, d_kv = kModelWidth / kHeads * kHeadsKv, ff = kFeedForward;
    tensor("token_embd.weight", {d, kVocab}, 1.0f, 0.0f);
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string block = "blk." + std::to_string(layer) + ".";
      tensor(block + "attn_norm.weight", {d}, 0.1f, 1.0f);
      tensor(block + "attn_q.weight", {d, d}, 0.3f, 0.0f);
      tensor(block + "attn_k.weight", {d, d_kv}, 0.3f, 0.0f);
      tensor(block + "attn_v.weight", {d, d_kv}, 0.3f, 0.0f);
      tensor(block + "attn_output.weight", {d, d}, 0.3f, 0.0f);
      tensor(block + "ffn_norm.weight", {d}, 0.1f, 1.0f);
      tensor(block + "ffn_gate.weight", {d, ff}, 0.3f, 0.0f);
      tensor(block + "ffn_up.weight", {d, ff}, 0.3f, 0.0f);
      tensor(block + "ffn_down.weight", {ff, d}, 0.3f, 0.0f);
    }
    tensor("output_norm.weight", {d}, 0.1f, 1.0f);
    tensor("output.weight", {d, kVocab}, 0.5f, 0.0f);
    const std::string infos = std::exchange(bytes_, "");

    bytes_ = "GGUF";
    put<std::uint32_t>(3);
    put<std::uint64_t>(n_tensors_);
    put<std::uint64_t>(n_keys_);
    bytes_ += keys + infos;
    bytes_.resize((bytes_.size() + 31) / 32 * 32);
    bytes_.append(reinterpret_cast<const char*>(data_.data()), data_.size() * sizeof(float));
  }

  std::filesystem::path folder_;
  std::string bytes_;
  std::vector<float> data_;  // every tensor's size is a multiple of 32 bytes
  std::uint64_t n_keys_ = 0, n_tensors_ = 0, random_ = 1;
};

}  // namespace morph::testing
