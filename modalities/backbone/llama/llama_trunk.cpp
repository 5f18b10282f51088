// Loading a GGUF model and its tokenizer. Weights are mapped, not read: pages come in as they are used and are shared
// with other processes.
#include "llama/llama_trunk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <new>

#include "base/short_of_memory.h"
#include "llama/runtime.h"
#include "morph/error.h"
#include "tensor/backend.h"

namespace morph {
namespace backbone {
namespace {

std::string chat_template_of(const llama_model* model) {
  const char* text = llama_model_chat_template(model, nullptr);
  return text == nullptr ? "" : text;
}

int position_axes(const llama_model* model) {
  const llama_rope_type type = llama_model_rope_type(model);
  return type == LLAMA_ROPE_TYPE_MROPE || type == LLAMA_ROPE_TYPE_IMROPE ? 4 : 1;
}

/// Length of the valid UTF-8 character that `text` begins with (RFC 3629: no surrogates, no overlong forms, up to
/// U+10FFFF); 0 when there is none.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t n = first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (first < 0xC2 || n == 0 || text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
  const unsigned second = byte(1);
  const bool outside = (first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) ||
                       (first == 0xF0 && second < 0x90) || (first == 0xF4 && second >= 0x90);
  return outside ? 0 : n;
}

/// `text` with what is no UTF-8 replaced by U+FFFD, a byte at a time. libllama does the same with most of it, but
/// throws at code points beyond U+10FFFF.
std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n = character_length(text);
    if (n == 0)
      valid += "\xEF\xBF\xBD";
    else
      valid += text.substr(0, n);
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return valid;
}

/// What libllama's progress callback works on. It is an edge: what `report` throws (a cancel) waits in `failure`.
struct Progress {
  const std::function<void(double)>* report;
  std::exception_ptr failure;
};

bool report_progress(float fraction, void* user) {
  auto& progress = *static_cast<Progress*>(user);
  try {
    (*progress.report)(fraction);
    return true;
  } catch (...) {
    progress.failure = std::current_exception();
    return false;  // ends the loading
  }
}

}  // namespace

LlamaTrunk::LlamaTrunk(ModelHandle model, ModelFacts facts, std::filesystem::path file, std::string device)
    : model_(std::move(model)), facts_(std::move(facts)), device_(std::move(device)) {
  vocab_ = llama_model_get_vocab(model_.get());
  std::array<char, 256> text{};
  llama_model_desc(model_.get(), text.data(), text.size());
  info_.architecture = facts_.architecture;
  info_.description = text.data();
  info_.file = std::move(file);
  info_.n_vocab = llama_vocab_n_tokens(vocab_);
  info_.d_model = llama_model_n_embd(model_.get());
  info_.n_layer = llama_model_n_layer(model_.get());
  info_.n_ctx_train = llama_model_n_ctx_train(model_.get());
  info_.n_position_axes = position_axes(model_.get());
  info_.can_roll_back = !llama_model_is_recurrent(model_.get()) && !llama_model_is_hybrid(model_.get());
  has_tokeniser_ = llama_vocab_type(vocab_) != LLAMA_VOCAB_TYPE_NONE;
  const std::string source = chat_template_of(model_.get());
  info_.has_template = has_tokeniser_ && !source.empty();
  if (info_.has_template) template_ = std::make_unique<const ChatTemplate>(model_.get(), source);
  for (Token token = 0; has_tokeniser_ && token < info_.n_vocab; ++token) {
    const auto attributes = static_cast<unsigned>(llama_vocab_get_attr(vocab_, token));
    if ((attributes & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) == 0) continue;
    std::string spelling = piece(token, true);
    if (spelling.size() > 1) control_texts_.push_back(std::move(spelling));
  }
  std::sort(control_texts_.begin(), control_texts_.end(),
            [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

std::vector<Token> LlamaTrunk::tokenise(std::string_view text, bool parse_special, bool add_special) const {
  if (!has_tokeniser_)
    throw Error(ErrorCode::weights, info_.file.string(),
                "expected a tokenizer in the file, found none: this model takes token ids and embeddings only");
  if (text.size() > (1u << 28))
    throw Error(ErrorCode::resource, "text", "expected at most 256 MiB of text to tokenise; cut it in parts");
  // libllama ends the process when it is to add a token that the file does not name.
  const bool no_bos = llama_vocab_get_add_bos(vocab_) && llama_vocab_bos(vocab_) == LLAMA_TOKEN_NULL;
  const bool no_eos = llama_vocab_get_add_eos(vocab_) && llama_vocab_eos(vocab_) == LLAMA_TOKEN_NULL;
  if (add_special && (no_bos || no_eos))
    throw Error(ErrorCode::weights, info_.file.string(),
                fmt::format("expected the key tokenizer.ggml.{}_token_id, because the file wants that token added",
                            no_bos ? "bos" : "eos"));
  const std::string utf8 = valid_utf8(text);
  std::vector<Token> tokens(utf8.size() / 2 + 16);
  const auto length = static_cast<std::int32_t>(utf8.size());
  try {  // an edge: another library's exceptions stop here
    for (;;) {
      const std::int32_t n = llama_tokenize(vocab_, utf8.data(), length, tokens.data(),
                                            static_cast<std::int32_t>(tokens.size()), add_special, parse_special);
      const bool fits = n >= 0;
      tokens.resize(static_cast<std::size_t>(fits ? n : -static_cast<std::int64_t>(n)));
      if (fits) return tokens;
    }
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& failure) {  // its regular expressions give up on some texts
    throw Error(ErrorCode::weights, "tokenizer",
                std::string("the model's tokenizer cannot split this text: ") + failure.what());
  }
}

std::string LlamaTrunk::piece(Token token, bool special) const {
  if (!has_tokeniser_ || token < 0 || token >= llama_vocab_n_tokens(vocab_)) return "";
  std::string bytes(64, '\0');
  std::int32_t n =
      llama_token_to_piece(vocab_, token, bytes.data(), static_cast<std::int32_t>(bytes.size()), 0, special);
  if (n < 0) {
    bytes.resize(static_cast<std::size_t>(-n));
    n = llama_token_to_piece(vocab_, token, bytes.data(), static_cast<std::int32_t>(bytes.size()), 0, special);
  }
  bytes.resize(static_cast<std::size_t>(std::max(n, 0)));
  return bytes;
}

std::string LlamaTrunk::detokenise(std::span<const Token> tokens, bool special) const {
  std::string text;
  for (Token token : tokens) text += piece(token, special);
  return text;
}

bool LlamaTrunk::ends_generation(Token token) const { return has_tokeniser_ && llama_vocab_is_eog(vocab_, token); }

std::vector<float> LlamaTrunk::embed(std::span<const Token> tokens) const {
  std::call_once(opened_, [this] { file_ = std::make_unique<const tensor::Checkpoint>(open_model_file(info_.file)); });
  return embedding_rows(*file_, tokens);
}

ChatPrompt LlamaTrunk::apply_template(std::span<const ChatMessage> messages, bool answer) const {
  if (!template_)
    throw Error(ErrorCode::weights, info_.file.string(),
                "expected a chat template in the file, found none: this model completes text but does not chat");
  return template_->render(messages, answer);
}

std::string LlamaTrunk::neutralise(std::string_view utf8) const {
  std::string text(utf8);
  for (const std::string& spelling : control_texts_) {
    std::size_t n = 1;  // bytes of its first character
    while (n < spelling.size() && (static_cast<unsigned char>(spelling[n]) & 0xC0u) == 0x80u) ++n;
    for (std::size_t at = text.find(spelling); at != std::string::npos; at = text.find(spelling, at + n + 1))
      text.insert(at + n, " ");
  }
  return text;
}

std::shared_ptr<TrunkSession> LlamaTrunk::open_session(const SessionOptions& options) const {
  return open_llama_session(shared_from_this(), options);
}

std::unique_ptr<Sampler> LlamaTrunk::make_sampler(const SamplerOptions& options) const {
  return make_llama_sampler(info_.n_vocab, options);
}

}  // namespace backbone

std::string trunk_key(const TrunkOptions& options) {
  return "trunk:" + options.device + ":" + tensor::find_gguf(options.path).lexically_normal().string();
}

std::shared_ptr<const Trunk> load_trunk(const TrunkOptions& options) {
  backbone::ensure_runtime();
  const std::filesystem::path file = tensor::find_gguf(options.path);
  backbone::ModelFacts facts;
  {  // the map goes before libllama makes its own
    const tensor::Checkpoint checkpoint = backbone::open_model_file(file);
    facts = backbone::read_model_facts(checkpoint.metadata(), file.string());
    backbone::check_loadable(checkpoint.metadata(), facts, file.string());
  }
  ggml_backend_dev_t device = tensor::find_device(options.device);
  const bool on_cpu = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
  std::array<ggml_backend_dev_t, 2> devices{on_cpu ? nullptr : device, nullptr};

  llama_model_params params = llama_model_default_params();
  params.devices = devices.data();
  params.n_gpu_layers = on_cpu ? 0 : -1;
  params.load_mode = LLAMA_LOAD_MODE_MMAP;
  backbone::Progress progress{&options.progress, nullptr};
  if (options.progress) {
    params.progress_callback = backbone::report_progress;
    params.progress_callback_user_data = &progress;
  }
  backbone::ModelHandle model(llama_model_load_from_file(file.c_str(), params));
  if (progress.failure != nullptr) std::rethrow_exception(progress.failure);
  // libllama says why in its log alone; what it needs beside the mapped file is its vocabulary and tables.
  if (!model && no_room_for(std::filesystem::file_size(file) + (64u << 20)))
    throw Error(ErrorCode::resource, file.string(),
                "expected memory for this model, found too little; close other programs, choose a smaller model, or "
                "raise the limit");
  if (!model)
    throw Error(ErrorCode::weights, file.string(),
                fmt::format("libllama cannot load this model (architecture {}); see the log with MORPH_LOG=debug",
                            facts.architecture));
  return std::make_shared<const backbone::LlamaTrunk>(std::move(model), std::move(facts), file, options.device);
}

Estimate estimate_trunk(const TrunkOptions& options, const SessionOptions& session, std::uint64_t n_tokens) {
  const std::filesystem::path file = tensor::find_gguf(options.path);
  const tensor::Checkpoint checkpoint = backbone::open_model_file(file);
  const backbone::ModelFacts facts = backbone::read_model_facts(checkpoint.metadata(), file.string());
  Estimate estimate;
  estimate.weights = checkpoint.file_bytes() + backbone::vocabulary_bytes(facts);
  estimate.weights_key = trunk_key(options);
  estimate.session = backbone::cache_bytes(facts, session);
  const auto n_batch = static_cast<std::uint64_t>(std::min(session.n_batch, session.n_ctx));
  estimate.scratch = backbone::compute_bytes(facts, session, std::min(n_batch, n_tokens));
  estimate.session_pooled = estimate.scratch_shared = true;
  // Code and tables of ggml, libllama and llama-common that are paged in: measured with SmolLM2 135M, checked with
  // Gemma 3 270M (tests/ui/test_memory.py).
  estimate.runtime = 8u << 20;
  estimate.runtime_key = "ggml";
  return estimate;
}

}  // namespace morph
