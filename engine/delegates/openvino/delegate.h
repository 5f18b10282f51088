// OpenVINO as a delegate: whole ONNX (or OpenVINO IR) models on CPU, Intel GPU or Intel NPU.
//
// An OnnxModel is immutable and shared (the ModelStore keeps one per file, device and thread count); an OnnxSession
// holds one infer request. The header shows standard types only; OpenVINO stays in this folder. A device that is absent
// is an Error{device}: nothing falls back to another device. CPU arithmetic is pinned to F32.
//
//   auto model = openvino::OnnxModel::load(context.models, path, {.device = context.device, .n_threads = 1});
//   auto session = model->create_session();
//   auto outputs = session->run({{"input", OnnxTensor::f32({1, 512}, samples)}});
//   std::span<const float> probability = outputs.at("output").values<float>();
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/error.h"
#include "morph/model.h"
#include "morph/stage.h"

namespace morph {
class Registry;
}

namespace morph::openvino {

enum class OnnxType : std::uint8_t { f32, f16, f64, i64, i32, i8, u8, boolean };
std::string_view to_string(OnnxType type);
std::size_t size_of(OnnxType type);  ///< bytes per element

template <class T>
struct OnnxTypeOf;
template <>
struct OnnxTypeOf<float> {
  static constexpr OnnxType value = OnnxType::f32;
};
template <>
struct OnnxTypeOf<double> {
  static constexpr OnnxType value = OnnxType::f64;
};
template <>
struct OnnxTypeOf<std::int64_t> {
  static constexpr OnnxType value = OnnxType::i64;
};
template <>
struct OnnxTypeOf<std::int32_t> {
  static constexpr OnnxType value = OnnxType::i32;
};
template <>
struct OnnxTypeOf<std::int8_t> {
  static constexpr OnnxType value = OnnxType::i8;
};
template <>
struct OnnxTypeOf<std::uint8_t> {
  static constexpr OnnxType value = OnnxType::u8;
};

/// A dense tensor in ONNX order, outermost dimension first. Owns its data.
struct OnnxTensor {
  OnnxType type = OnnxType::f32;
  std::vector<std::int64_t> shape;  ///< empty: a scalar
  std::vector<std::byte> data;

  /// Copies `values`; throws Error{internal} when their number is not the shape's product.
  template <class T>
  static OnnxTensor of(std::vector<std::int64_t> shape, std::span<const T> values) {
    OnnxTensor tensor{OnnxTypeOf<T>::value, std::move(shape), {}};
    const auto bytes = std::as_bytes(values);
    tensor.data.assign(bytes.begin(), bytes.end());
    tensor.check(values.size());
    return tensor;
  }
  static OnnxTensor f32(std::vector<std::int64_t> shape, std::span<const float> values) {
    return of<float>(std::move(shape), values);
  }
  static OnnxTensor i64(std::vector<std::int64_t> shape, std::span<const std::int64_t> values) {
    return of<std::int64_t>(std::move(shape), values);
  }
  /// All zeros.
  static OnnxTensor zeros(OnnxType type, std::vector<std::int64_t> shape);

  std::size_t count() const { return data.size() / size_of(type); }
  /// The elements; throws Error{internal} when T is not the tensor's type.
  template <class T>
  std::span<const T> values() const {
    check_type(OnnxTypeOf<T>::value);
    return {reinterpret_cast<const T*>(data.data()), count()};
  }
  template <class T>
  std::span<T> values() {
    check_type(OnnxTypeOf<T>::value);
    return {reinterpret_cast<T*>(data.data()), count()};
  }

 private:
  void check(std::size_t n_values) const;
  void check_type(OnnxType wanted) const;
};

using OnnxTensors = std::map<std::string, OnnxTensor, std::less<>>;

/// An input or output of a model; -1 in `shape` is a dimension that changes from run to run.
struct OnnxPort {
  std::string name;
  OnnxType type = OnnxType::f32;
  std::vector<std::int64_t> shape;
  bool any_rank = false;
  std::int64_t table_rows = 0;  ///< an input of indices: rows of the table they are for; 0: none, or not known
};

struct OnnxOptions {
  std::string device = "cpu";  ///< "cpu", "npu", "gpu", "gpu:1"
  /// Threads of compiling and of one run on the CPU, the caller's included: the others come from the one TBB pool of
  /// the process. With one, all work is done on the caller's thread (measured: 99%). OpenVINO also keeps two threads
  /// per compiled model that sleep while runs are synchronous, as all here are; they cost address space alone. A stage
  /// passes CreateContext::n_threads: heavy steps of a device never run beside each other, so that TBB's threads and
  /// ggml's do not either; light stages get one.
  int n_threads = 1;
  /// Random numbers inside the graph (RandomNormalLike and friends) are replaced by our own, which follow the seed of
  /// OnnxSession::set_noise_seed, so that a run can be repeated byte for byte.
  bool seeded_noise = false;
  /// Fixed shapes for inputs with changing dimensions (an NPU wants all of them).
  std::map<std::string, std::vector<std::int64_t>> shapes{};
  bool cache_compiled = true;  ///< keep compiled models in <cache>/openvino/compiled
};

/// One infer request. Not thread-safe; several sessions of one model may run at once.
class OnnxSession {
 public:
  virtual ~OnnxSession() = default;
  /// Runs the model on all of its inputs and returns all outputs. Throws Error{internal} for a missing or unknown name,
  /// wrong type or shape; Error{weights} when the model itself cannot be run on them.
  virtual OnnxTensors run(const OnnxTensors& inputs) = 0;
  /// Noise of the n-th run after this call depends on `seed` and n only. Without seeded_noise it does nothing.
  virtual void set_noise_seed(std::uint64_t seed) = 0;
};

/// A compiled model. Immutable; thread-safe.
class OnnxModel : public Model {
 public:
  /// Loads and compiles a .onnx or .xml file; a second request with the same file and options returns the same object.
  /// Throws Error{weights} for a file that is missing, truncated or not a model, Error{device} for a device that
  /// is absent or cannot run the model.
  static std::shared_ptr<const OnnxModel> load(ModelStore& store, const std::filesystem::path& file,
                                               const OnnxOptions& options = {});

  virtual const std::vector<OnnxPort>& inputs() const = 0;
  virtual const std::vector<OnnxPort>& outputs() const = 0;
  /// ONNX metadata_props (empty for IR files).
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  virtual const std::filesystem::path& file() const = 0;
  virtual std::unique_ptr<OnnxSession> create_session() const = 0;
};

/// metadata_props of a .onnx file, read without loading the graph. Throws Error{weights} when the file is damaged.
std::map<std::string, std::string> read_onnx_metadata(const std::filesystem::path& file);

/// What a loaded model costs, by the shapes of its weights: fills all but what grows with the input (activations),
/// which is the caller's to add to scratch. Throws Error{weights} when there is no such file, or it is no model.
Estimate estimate_onnx(const std::filesystem::path& file, const OnnxOptions& options = {});

/// Adds Intel GPUs and NPUs that OpenVINO can drive on this machine. Asking costs nothing where there is no such
/// device.
void register_openvino_devices(Registry& registry);

}  // namespace morph::openvino
