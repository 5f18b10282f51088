// A parity set's published checkpoint (Qwen2 and Qwen3 layouts) written as the GGUF file that libllama wants, by ggml's
// own writer: names translated, tensors as they are (these families' RoPE needs no permutation), no tokenizer.
#pragma once

#include <gguf.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tensor/handles.h"
#include "tensor/weights/checkpoint.h"

namespace morph::testing {

class GoldenTrunkFile {
 public:
  /// `golden`: the folder of the set.
  explicit GoldenTrunkFile(const std::filesystem::path& golden)
      : file_(std::filesystem::temp_directory_path() /
              ("morph-golden-trunk-" + golden.filename().string() + std::to_string(getpid()) + ".gguf")) {
    std::ifstream in(golden / "config.json");
    const nlohmann::json config = nlohmann::json::parse(in);
    const std::string architecture = config["model_type"];
    const std::unique_ptr<gguf_context, decltype(&gguf_free)> gguf(gguf_init_empty(), gguf_free);
    gguf_set_val_str(gguf.get(), "general.architecture", architecture.c_str());
    gguf_set_val_str(gguf.get(), "tokenizer.ggml.model", "none");
    const auto number = [&](const char* key, const char* published) {
      if (config.contains(published))
        gguf_set_val_u32(gguf.get(), (architecture + "." + key).c_str(), config[published].get<std::uint32_t>());
    };
    number("vocab_size", "vocab_size");
    number("block_count", "num_hidden_layers");
    number("embedding_length", "hidden_size");
    number("context_length", "max_position_embeddings");
    number("feed_forward_length", "intermediate_size");
    number("attention.head_count", "num_attention_heads");
    number("attention.head_count_kv", "num_key_value_heads");
    number("attention.key_length", "head_dim");
    number("attention.value_length", "head_dim");
    gguf_set_val_f32(gguf.get(), (architecture + ".attention.layer_norm_rms_epsilon").c_str(), config["rms_norm_eps"]);
    gguf_set_val_f32(gguf.get(), (architecture + ".rope.freq_base").c_str(), config["rope_theta"]);
    const tensor::Checkpoint checkpoint = tensor::Checkpoint::open(golden);
    const tensor::ContextHandle context = tensor::make_context(checkpoint.tensors().size());
    std::vector<std::vector<float>> kept;
    for (const auto& [published, stored] : checkpoint.tensors()) {
      kept.push_back(tensor::to_f32(stored));
      const std::vector<std::int64_t> ne(stored.shape.rbegin(), stored.shape.rend());
      ggml_tensor* made = ggml_new_tensor(context.get(), GGML_TYPE_F32, static_cast<int>(ne.size()), ne.data());
      ggml_set_name(made, translated(published).c_str());
      made->data = kept.back().data();
      gguf_add_tensor(gguf.get(), made);
    }
    gguf_write_to_file(gguf.get(), file_.c_str(), false);
  }
  ~GoldenTrunkFile() {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  GoldenTrunkFile(const GoldenTrunkFile&) = delete;
  GoldenTrunkFile& operator=(const GoldenTrunkFile&) = delete;
  const std::filesystem::path& path() const { return file_; }

 private:
  static std::string translated(std::string name) {
    static const std::vector<std::pair<std::string, std::string>> kParts = {{"model.embed_tokens", "token_embd"},
                                                                            {"model.norm", "output_norm"},
                                                                            {"lm_head", "output"},
                                                                            {"model.layers.", "blk."},
                                                                            {"post_attention_layernorm", "ffn_norm"},
                                                                            {"input_layernorm", "attn_norm"},
                                                                            {"self_attn.q_norm", "attn_q_norm"},
                                                                            {"self_attn.k_norm", "attn_k_norm"},
                                                                            {"self_attn.q_proj", "attn_q"},
                                                                            {"self_attn.k_proj", "attn_k"},
                                                                            {"self_attn.v_proj", "attn_v"},
                                                                            {"self_attn.o_proj", "attn_output"},
                                                                            {"mlp.gate_proj", "ffn_gate"},
                                                                            {"mlp.up_proj", "ffn_up"},
                                                                            {"mlp.down_proj", "ffn_down"}};
    for (const auto& [from, to] : kParts)
      if (const std::size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
    return name;
  }

  std::filesystem::path file_;
};

}  // namespace morph::testing
