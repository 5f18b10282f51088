// Loading, compiling and running models with OpenVINO; see delegate.h.
#include "delegates/openvino/delegate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <openvino/runtime/intel_cpu/properties.hpp>
#include <openvino/runtime/properties.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "delegates/openvino/integer_weights.h"
#include "delegates/openvino/lookup_tables.h"
#include "delegates/openvino/onnx_file.h"
#include "delegates/openvino/runtime.h"
#include "delegates/openvino/seeded_noise.h"
#include "morph/log.h"
#include "morph/memory.h"
#include "morph/message.h"

namespace morph::openvino {
namespace {

constexpr std::size_t kFirstNoiseCount = 1u << 18;
constexpr std::size_t kMaxNoiseCount = 1u << 28;

constexpr std::pair<OnnxType, ov::element::Type_t> kTypes[] = {
    {OnnxType::f32, ov::element::Type_t::f32}, {OnnxType::f16, ov::element::Type_t::f16},
    {OnnxType::f64, ov::element::Type_t::f64}, {OnnxType::i64, ov::element::Type_t::i64},
    {OnnxType::i32, ov::element::Type_t::i32}, {OnnxType::i8, ov::element::Type_t::i8},
    {OnnxType::u8, ov::element::Type_t::u8},   {OnnxType::boolean, ov::element::Type_t::boolean},
};

OnnxType type_of(const ov::element::Type& type, const std::string& where, const std::string& port) {
  for (const auto& [ours, theirs] : kTypes)
    if (type == theirs) return ours;
  throw Error(ErrorCode::weights, where + "/" + port,
              fmt::format("expected numbers or booleans, found element type {}", type.get_type_name()));
}

ov::element::Type openvino_type(OnnxType type) {
  for (const auto& [ours, theirs] : kTypes)
    if (type == ours) return theirs;
  throw Error(ErrorCode::internal, "openvino", "unknown element type");
}

/// What OpenVINO says went wrong, without the places in its sources and the rest of its report: the last line that is a
/// sentence, cut to a length that fits a line.
std::string reason_of(std::string_view report) {
  std::string reason;
  while (!report.empty()) {
    std::string_view line = report.substr(0, report.find('\n'));
    report.remove_prefix(std::min(report.size(), line.size() + 1));
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos) continue;
    line.remove_prefix(begin);
    const bool is_place = line.find(".cpp:") != line.npos || line.find(".hpp:") != line.npos ||
                          line.find("/src/") != line.npos || line.starts_with("Check ") ||
                          line.starts_with("Exception from");
    if (!is_place) reason = line;
  }
  constexpr std::size_t kMost = 160;
  if (reason.size() > kMost) reason = reason.substr(0, kMost) + "...";
  return reason.empty() ? "no reason given" : shown_text(reason);
}

/// What OpenVINO threw, as ours: `code`, unless memory ran out.
[[noreturn]] void fail(ErrorCode code, const std::filesystem::path& file, const std::string& what,
                       const std::exception& error) {
  log(LogLevel::debug, "openvino", error.what());
  const std::string reason = reason_of(error.what());
  if (is_short_of_memory(error))
    throw Error(ErrorCode::resource, file.string(),
                fmt::format("expected memory for this model, found too little ({}); close other programs, choose a "
                            "smaller model, or raise the limit",
                            reason));
  throw Error(code, file.string(), what + reason);
}

/// The product of the dimensions; nothing when one is negative or the product does not fit.
std::optional<std::size_t> product(const std::vector<std::int64_t>& shape) {
  std::size_t n = 1;
  for (const std::int64_t d : shape) {
    if (d < 0) return std::nullopt;
    if (d != 0 && n > std::numeric_limits<std::size_t>::max() / 16 / static_cast<std::size_t>(d)) return std::nullopt;
    n *= static_cast<std::size_t>(d);
  }
  return n;
}

std::string port_name(const ov::Output<const ov::Node>& port, std::size_t index, const char* kind) {
  const auto& names = port.get_names();
  // A tensor may have several names; the shortest of them (then the first in order) is the published one in practice.
  const auto shorter = [](const std::string& a, const std::string& b) {
    return std::pair(a.size(), a) < std::pair(b.size(), b);
  };
  if (!names.empty()) return *std::min_element(names.begin(), names.end(), shorter);
  return fmt::format("{}{}", kind, index);
}

OnnxPort describe(const ov::Output<const ov::Node>& port, const std::string& name, const std::string& where) {
  OnnxPort described;
  described.name = name;
  described.type = type_of(port.get_element_type(), where, name);
  const ov::PartialShape& shape = port.get_partial_shape();
  described.any_rank = shape.rank().is_dynamic();
  if (!described.any_rank)
    for (const auto& d : shape) described.shape.push_back(d.is_static() ? d.get_length() : -1);
  return described;
}

void check_input(const OnnxPort& port, const OnnxTensor& tensor, const std::string& where) {
  const std::string place = where + "/" + port.name;
  if (tensor.type != port.type)
    throw Error(ErrorCode::internal, place,
                fmt::format("expected {}, found {}", to_string(port.type), to_string(tensor.type)));
  const auto n = product(tensor.shape);
  if (!n || *n != tensor.count())
    throw Error(ErrorCode::internal, place,
                fmt::format("shape [{}] does not fit {} elements", fmt::join(tensor.shape, ", "), tensor.count()));
  bool fits = port.any_rank || port.shape.size() == tensor.shape.size();
  for (std::size_t i = 0; fits && !port.any_rank && i < port.shape.size(); ++i)
    fits = port.shape[i] < 0 || port.shape[i] == tensor.shape[i];
  if (!fits)
    throw Error(ErrorCode::internal, place,
                fmt::format("expected shape [{}] (-1: any), found [{}]", fmt::join(port.shape, ", "),
                            fmt::join(tensor.shape, ", ")));
}

/// What is common to a model and its sessions.
struct Compiled {
  std::shared_ptr<const OpenvinoRuntime> runtime;  // first: outlives what was compiled on it
  ov::CompiledModel model;
  std::filesystem::path file;
  std::vector<OnnxPort> inputs, outputs;
  std::vector<std::size_t> input_ports, output_ports;  ///< index of each in the compiled model
  std::vector<NoiseInput> noise;
  std::map<std::string, std::string> metadata;
};

class Session final : public OnnxSession {
 public:
  explicit Session(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {
    request_ = const_cast<ov::CompiledModel&>(compiled_->model).create_infer_request();  // thread-safe in OpenVINO
    noise_.resize(compiled_->noise.size(), std::vector<float>(kFirstNoiseCount));
  }

  void set_noise_seed(std::uint64_t seed) override {
    seed_ = seed;
    n_runs_ = 0;
  }

  OnnxTensors run(const OnnxTensors& inputs) override {
    const std::string where = compiled_->file.string();
    for (const auto& [name, tensor] : inputs)
      if (std::none_of(compiled_->inputs.begin(), compiled_->inputs.end(),
                       [&name = name](const OnnxPort& port) { return port.name == name; }))
        throw Error(ErrorCode::internal, where, fmt::format("the model has no input named {}", name));
    try {
      for (std::size_t i = 0; i < compiled_->inputs.size(); ++i) set_input(i, inputs, where);
      infer_with_noise();
      ++n_runs_;
      return outputs(where);
    } catch (const ov::Exception& error) {
      fail(ErrorCode::weights, where, "the model cannot run on these inputs: ", error);
    }
  }

 private:
  void set_input(std::size_t i, const OnnxTensors& inputs, const std::string& where) {
    const OnnxPort& port = compiled_->inputs[i];
    const auto found = inputs.find(port.name);
    if (found == inputs.end()) throw Error(ErrorCode::internal, where, fmt::format("input {} is missing", port.name));
    check_input(port, found->second, where);
    const ov::Shape shape(found->second.shape.begin(), found->second.shape.end());
    // OpenVINO only reads inputs; its tensor view has no const form for host memory.
    void* data = const_cast<std::byte*>(found->second.data.data());
    request_.set_input_tensor(compiled_->input_ports[i], data != nullptr
                                                             ? ov::Tensor(openvino_type(port.type), shape, data)
                                                             : ov::Tensor(openvino_type(port.type), shape));
  }

  void infer_with_noise() {
    for (bool enough = false; !enough;) {
      for (std::size_t i = 0; i < noise_.size(); ++i) {
        fill_uniform(seed_ + n_runs_ * 0x632be59bd9b4e019ull, i, noise_[i]);
        request_.set_tensor(compiled_->noise[i].input,
                            ov::Tensor(ov::element::f32, ov::Shape{noise_[i].size()}, noise_[i].data()));
      }
      request_.infer();
      enough = true;
      for (std::size_t i = 0; i < noise_.size(); ++i) {
        const std::int64_t wanted = request_.get_tensor(compiled_->noise[i].count_output).data<std::int64_t>()[0];
        if (wanted <= static_cast<std::int64_t>(noise_[i].size())) continue;
        if (wanted > static_cast<std::int64_t>(kMaxNoiseCount))
          throw Error(ErrorCode::resource, compiled_->file.string(),
                      fmt::format("the model asks for {} random numbers in one run; the limit is {}; give it a shorter "
                                  "input",
                                  wanted, kMaxNoiseCount));
        noise_[i].resize(std::bit_ceil(static_cast<std::size_t>(wanted)));
        enough = false;
      }
    }
  }

  OnnxTensors outputs(const std::string& where) {
    OnnxTensors results;
    for (std::size_t i = 0; i < compiled_->outputs.size(); ++i) {
      const ov::Tensor tensor = request_.get_output_tensor(compiled_->output_ports[i]);
      OnnxTensor& out = results[compiled_->outputs[i].name];
      out.type = type_of(tensor.get_element_type(), where, compiled_->outputs[i].name);
      for (const std::size_t d : tensor.get_shape()) out.shape.push_back(static_cast<std::int64_t>(d));
      out.data.resize(tensor.get_byte_size());
      if (!out.data.empty()) std::memcpy(out.data.data(), tensor.data(), out.data.size());
    }
    return results;
  }

  std::shared_ptr<const Compiled> compiled_;
  ov::InferRequest request_;
  std::vector<std::vector<float>> noise_;
  std::uint64_t seed_ = 0, n_runs_ = 0;
};

class LoadedModel final : public OnnxModel {
 public:
  explicit LoadedModel(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  const std::vector<OnnxPort>& inputs() const override { return compiled_->inputs; }
  const std::vector<OnnxPort>& outputs() const override { return compiled_->outputs; }
  const std::map<std::string, std::string>& metadata() const override { return compiled_->metadata; }
  const std::filesystem::path& file() const override { return compiled_->file; }
  std::unique_ptr<OnnxSession> create_session() const override { return std::make_unique<Session>(compiled_); }

 private:
  std::shared_ptr<const Compiled> compiled_;
};

ov::AnyMap compile_properties(const OnnxOptions& options, const std::string& device) {
  ov::AnyMap properties;
  properties[ov::hint::performance_mode.name()] = ov::hint::PerformanceMode::LATENCY;
  if (device == "CPU") {
    properties[ov::inference_num_threads.name()] = std::max(1, options.n_threads);
    properties[ov::num_streams.name()] = ov::streams::Num(1);
    properties[ov::hint::inference_precision.name()] = ov::element::f32;
    // Else what is multiplied with integer weights is rounded to 8 bits on the way, where the processor has VNNI.
    properties[ov::hint::dynamic_quantization_group_size.name()] = std::uint64_t{0};
    // Kernels are kept per input shape; speech has a new one for every length, and unbounded they add a gigabyte in a
    // few minutes. Sixteen cost no time that could be measured.
    properties["CPU_RUNTIME_CACHE_CAPACITY"] = 16;
    properties[ov::hint::enable_cpu_pinning.name()] = false;  // other libraries share the same cores
  }
  return properties;
}

/// Folder for compiled models of this OpenVINO version. OpenVINO names the files by a hash of model, device and
/// properties.
std::filesystem::path compiled_cache() {
  const std::filesystem::path folder =
      cache_folder() / "openvino" / "compiled" / ov::get_openvino_version().buildNumber;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    log(LogLevel::warning, "exec/openvino",
        fmt::format("{}: {}; compiling without a cache", folder.string(), error.message()));
    return {};
  }
  return folder;
}

std::shared_ptr<ov::Model> read_model(const OpenvinoRuntime& runtime, const OnnxOptions& options, Compiled& compiled) {
  const std::filesystem::path& file = compiled.file;
  const std::string suffix = file.extension().string();
  if (suffix == ".onnx") {
    compiled.metadata = read_onnx_head(file).metadata;
  } else if (suffix != ".xml") {
    throw Error(ErrorCode::weights, file.string(), "expected a .onnx or OpenVINO .xml file, found another suffix");
  }
  try {
    const std::shared_ptr<ov::Model> model = runtime.core().read_model(file.string());
    if (options.seeded_noise) compiled.noise = replace_random(model);
    keep_integer_weights(model);
    std::map<std::string, ov::PartialShape> shapes;
    for (const auto& [name, shape] : options.shapes)
      shapes[name] = ov::PartialShape(std::vector<ov::Dimension>(shape.begin(), shape.end()));
    if (!shapes.empty()) model->reshape(shapes);
    return model;
  } catch (const std::exception& error) {
    fail(ErrorCode::weights, file,
         "expected a model that OpenVINO can read, found a damaged one or one with operations that it lacks (fetch the "
         "model again): ",
         error);
  }
}

/// Lets the pages go that the process has of the cache's files: the plugin has its own copies of nearly all that it
/// found there, and what it reads again comes back from the file.
void let_go_of(const std::filesystem::path& cache) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char shared = 0;
    if (line.find(cache.string()) == std::string::npos) continue;
    if (std::sscanf(line.c_str(), "%lx-%lx r-%*c%c", &begin, &end, &shared) == 3 && shared == 's')
      ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
}

/// What was compiled anew is compiled again out of the cache: it then takes what it will take in every later process,
/// less than with the constants that compiling left in memory (Kokoro: 290 MB).
ov::CompiledModel compile(const OpenvinoRuntime& runtime, const std::shared_ptr<ov::Model>& model,
                          const std::string& device, const OnnxOptions& options) {
  ov::AnyMap properties = compile_properties(options, device);
  const std::filesystem::path cache = options.cache_compiled ? compiled_cache() : std::filesystem::path();
  if (cache.empty()) return runtime.core().compile_model(model, device, properties);
  properties[ov::cache_dir.name()] = cache.string();
  ov::CompiledModel compiled = runtime.core().compile_model(model, device, properties);
  if (device != "CPU") return compiled;
  if (!compiled.get_property(ov::loaded_from_cache)) {
    compiled = {};
    ::malloc_trim(0);
    compiled = runtime.core().compile_model(model, device, properties);
  }
  let_go_of(cache);
  return compiled;
}

std::shared_ptr<const OnnxModel> load_model(ModelStore& store, const std::filesystem::path& file,
                                            const OnnxOptions& options) {
  const std::string device = openvino_device(options.device);
  std::error_code no_file;
  if (!std::filesystem::is_regular_file(file, no_file))
    throw Error(ErrorCode::weights, file.string(), "expected a model file, found none; fetch the model again");
  auto compiled = std::make_shared<Compiled>();
  compiled->runtime = shared_runtime(store);
  compiled->file = file;
  require_device(*compiled->runtime, options.device, file.string());
  std::shared_ptr<ov::Model> model = read_model(*compiled->runtime, options, *compiled);
  std::map<std::string, std::int64_t> tables;  // by input; compiling may leave no trace of them
  for (std::size_t i = 0; i < model->inputs().size(); ++i) {
    const ov::Output<const ov::Node> input = std::as_const(*model).inputs()[i];
    tables[port_name(input, i, "input")] = rows_indexed_by(input);
  }
  try {
    compiled->model = compile(*compiled->runtime, model, device, options);
  } catch (const std::exception& error) {
    fail(device == "CPU" ? ErrorCode::weights : ErrorCode::device, file,
         fmt::format("device {} cannot run this model: ", options.device), error);
  }
  model.reset();
  ::malloc_trim(0);  // what compiling left behind: 10 to 130 MB
  const auto is_noise = [&](const std::string& name) {
    return std::any_of(compiled->noise.begin(), compiled->noise.end(),
                       [&](const NoiseInput& noise) { return name == noise.input || name == noise.count_output; });
  };
  const auto take_ports = [&](const auto& ports, const char* kind, std::vector<OnnxPort>& described,
                              std::vector<std::size_t>& indices) {
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const std::string name = port_name(ports[i], i, kind);
      if (is_noise(name)) continue;
      described.push_back(describe(ports[i], name, file.string()));
      if (&described == &compiled->inputs) described.back().table_rows = tables[name];
      indices.push_back(i);
    }
  };
  take_ports(compiled->model.inputs(), "input", compiled->inputs, compiled->input_ports);
  take_ports(compiled->model.outputs(), "output", compiled->outputs, compiled->output_ports);
  return std::make_shared<const LoadedModel>(std::move(compiled));
}

std::string key_of(const std::filesystem::path& file, const OnnxOptions& options) {
  std::error_code error;
  std::string path = std::filesystem::weakly_canonical(file, error).string();
  if (error) path = file.string();
  std::string key = fmt::format("onnx|{}|{}|{}|{}", path, options.device,
                                options.device == "cpu" ? std::max(1, options.n_threads) : 0, options.seeded_noise);
  for (const auto& [name, shape] : options.shapes) key += fmt::format("|{}:{}", name, fmt::join(shape, "x"));
  return key;
}

}  // namespace

std::string_view to_string(OnnxType type) {
  constexpr std::string_view kNames[] = {"f32", "f16", "f64", "i64", "i32", "i8", "u8", "boolean"};
  return kNames[static_cast<std::size_t>(type)];
}

std::size_t size_of(OnnxType type) {
  constexpr std::size_t kSizes[] = {4, 2, 8, 8, 4, 1, 1, 1};
  return kSizes[static_cast<std::size_t>(type)];
}

OnnxTensor OnnxTensor::zeros(OnnxType type, std::vector<std::int64_t> shape) {
  const auto n = product(shape);
  if (!n) throw Error(ErrorCode::internal, "onnx tensor", fmt::format("impossible shape [{}]", fmt::join(shape, ", ")));
  return {type, std::move(shape), std::vector<std::byte>(*n * size_of(type))};
}

void OnnxTensor::check(std::size_t n_values) const {
  const auto n = product(shape);
  if (!n || *n != n_values)
    throw Error(ErrorCode::internal, "onnx tensor",
                fmt::format("shape [{}] does not fit {} values", fmt::join(shape, ", "), n_values));
}

void OnnxTensor::check_type(OnnxType wanted) const {
  if (type != wanted)
    throw Error(ErrorCode::internal, "onnx tensor",
                fmt::format("expected {}, found {}", to_string(wanted), to_string(type)));
}

std::shared_ptr<const OnnxModel> OnnxModel::load(ModelStore& store, const std::filesystem::path& file,
                                                 const OnnxOptions& options) {
  return store.get_as<OnnxModel>(key_of(file, options), [&] { return load_model(store, file, options); });
}

std::map<std::string, std::string> read_onnx_metadata(const std::filesystem::path& file) {
  return read_onnx_head(file).metadata;
}

Estimate estimate_onnx(const std::filesystem::path& file, const OnnxOptions& options) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) throw Error(ErrorCode::weights, file.string(), error.message() + "; fetch the model again");
  // By shapes. Weights are there twice: as the graph holds them (F32; 8-bit integers of matrix products as they are)
  // and packed for the kernels. Integer weights of convolutions are unfolded to F32, twice when the model is loaded and
  // twice more when it first runs. While loading, the graph as it was read is there besides. Seen with Silero, PP-OCR,
  // a Piper voice and Kokoro.
  Estimate estimate;
  OnnxWeights weights;
  if (file.extension() == ".onnx")
    weights = read_onnx_weights(file);
  else
    weights.real = size / 4;
  estimate.weights = 8 * (weights.real + weights.unfolded) + 2 * weights.integer;
  estimate.weights_key = key_of(file, options);
  estimate.load_peak = 4 * weights.real + 8 * weights.unfolded + weights.integer;
  estimate.scratch = 8 * weights.unfolded;
  estimate.session = 1u << 20;
  estimate.runtime = 48u << 20;  // measured: its libraries and TBB, 45 MiB beyond the bare process
  estimate.runtime_key = "openvino";
  return estimate;
}

}  // namespace morph::openvino
