// Graph: a ggml computation that is built once for its shapes and run many times with new inputs.
//
//   Graph graph(backend, 64, [&](GraphBuilder& g) {
//     ggml_tensor* x = g.input("x", GGML_TYPE_F32, {n});
//     g.output("y", ggml_sqr(g.ctx, x));
//   });
//   graph.set("x", values); graph.run(); auto y = graph.get_f32("y");
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/backend.h"

namespace morph::tensor {

/// What a build function draws with. `ctx` holds no data.
struct GraphBuilder {
  ggml_context* ctx = nullptr;
  ggml_cgraph* cgraph = nullptr;
  bool on_cpu = false;  ///< layers may use CPU-only forms
  std::map<std::string, ggml_tensor*, std::less<>> named;

  /// A tensor that is set before each run.
  ggml_tensor* input(const std::string& name, ggml_type type, std::initializer_list<std::int64_t> shape);
  /// A tensor that is read after a run; also adds it to what is computed.
  ggml_tensor* output(const std::string& name, ggml_tensor* tensor);
  /// Something that must be computed for its effect (a cache write), in this order.
  void effect(ggml_tensor* tensor) { ggml_build_forward_expand(cgraph, tensor); }
};

/// Movable; one thread at a time. `backend` must outlive it. Throws Error{resource} when memory is short, and what
/// Backend::compute throws.
class Graph {
 public:
  Graph(Backend& backend, std::size_t max_nodes, const std::function<void(GraphBuilder&)>& build);

  bool has(std::string_view name) const { return builder_.named.find(name) != builder_.named.end(); }
  ggml_tensor* at(std::string_view name) const;  ///< Error{internal} when there is none
  /// Copies a whole tensor's data in. The size must match.
  void set_bytes(std::string_view name, const void* data, std::size_t bytes);
  template <class T>
  void set(std::string_view name, std::span<const T> values) {
    set_bytes(name, values.data(), values.size_bytes());
  }
  template <class T>
  void set(std::string_view name, const std::vector<T>& values) {
    set_bytes(name, values.data(), values.size() * sizeof(T));
  }
  void run() { backend_->compute(builder_.cgraph); }
  std::vector<float> get_f32(std::string_view name) const;  ///< of an F32 tensor
  void get_f32(std::string_view name, std::span<float> out) const;
  std::size_t scratch_bytes() const;

 private:
  Backend* backend_;
  ContextHandle context_;
  AllocatorHandle allocator_;
  GraphBuilder builder_;
};

}  // namespace morph::tensor
