// Graphs are laid out by ggml's own allocator on one device; inputs are kept apart from scratch by ggml_set_input.
#include "tensor/graph.h"

#include <fmt/format.h>

#include "morph/error.h"

namespace morph::tensor {

ggml_tensor* GraphBuilder::input(const std::string& name, ggml_type type, std::initializer_list<std::int64_t> shape) {
  ggml_tensor* tensor = ggml_new_tensor(ctx, type, static_cast<int>(shape.size()), shape.begin());
  ggml_set_name(tensor, name.c_str());
  ggml_set_input(tensor);
  named[name] = tensor;
  return tensor;
}

ggml_tensor* GraphBuilder::output(const std::string& name, ggml_tensor* tensor) {
  ggml_set_name(tensor, name.c_str());
  ggml_set_output(tensor);
  ggml_build_forward_expand(cgraph, tensor);
  named[name] = tensor;
  return tensor;
}

Graph::Graph(Backend& backend, std::size_t max_nodes, const std::function<void(GraphBuilder&)>& build)
    : backend_(&backend), context_(make_context(2 * max_nodes, ggml_graph_overhead_custom(max_nodes, false))) {
  if (!context_) throw Error(ErrorCode::resource, "tensor/graph", "expected memory for a graph, found too little");
  builder_.ctx = context_.get();
  builder_.cgraph = ggml_new_graph_custom(context_.get(), max_nodes, false);
  builder_.on_cpu = backend.is_cpu();
  build(builder_);
  allocator_.reset(ggml_gallocr_new(backend.buffer_type()));
  if (!allocator_ || !ggml_gallocr_alloc_graph(allocator_.get(), builder_.cgraph))
    throw Error(ErrorCode::resource, backend.device(),
                "expected scratch memory for a computation, found too little; close other runs or use smaller inputs");
}

ggml_tensor* Graph::at(std::string_view name) const {
  const auto found = builder_.named.find(name);
  if (found == builder_.named.end())
    throw Error(ErrorCode::internal, "tensor/graph", fmt::format("expected a tensor called '{}'", name));
  return found->second;
}

void Graph::set_bytes(std::string_view name, const void* data, std::size_t bytes) {
  ggml_tensor* tensor = at(name);
  if (bytes != ggml_nbytes(tensor))
    throw Error(ErrorCode::internal, "tensor/graph",
                fmt::format("expected {} bytes for '{}', found {}", ggml_nbytes(tensor), name, bytes));
  // An input that no node reads has no memory.
  if (tensor->buffer != nullptr) ggml_backend_tensor_set(tensor, data, 0, bytes);
}

void Graph::get_f32(std::string_view name, std::span<float> out) const {
  const ggml_tensor* tensor = at(name);
  if (tensor->type != GGML_TYPE_F32 || !ggml_is_contiguous(tensor) || out.size_bytes() != ggml_nbytes(tensor))
    throw Error(ErrorCode::internal, "tensor/graph",
                fmt::format("expected '{}' to be {} F32 values", name, out.size()));
  ggml_backend_tensor_get(tensor, out.data(), 0, out.size_bytes());
}

std::vector<float> Graph::get_f32(std::string_view name) const {
  std::vector<float> values(static_cast<std::size_t>(ggml_nelements(at(name))));
  get_f32(name, values);
  return values;
}

std::size_t Graph::scratch_bytes() const { return ggml_gallocr_get_buffer_size(allocator_.get(), 0); }

}  // namespace morph::tensor
