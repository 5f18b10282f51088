// From a document to a flat graph: nested pipelines expanded, parameters forwarded and completed, links resolved to
// port indices, the outer ports bound to sources, sinks or the application. Everything that is wrong is reported; what
// could not be resolved is left out, so that one mistake is one finding.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "morph/pipeline.h"
#include "morph/registry.h"

namespace morph {

struct FlatNode {
  std::string name;                 ///< "outer/inner"; an application node has its port's name
  const StageSpec* spec = nullptr;  ///< null for application nodes and for unknown stages
  bool app_feed = false, app_read = false;
  bool unread = false;  ///< app_read of an output that nobody will read
  Params params;
  std::string executor;  ///< as the document has it
  std::size_t n_inputs = 0, n_outputs = 0;
  std::string where;  ///< "pipeline/stage" for messages
};

struct FlatLink {
  int from_node = 0, from_port = 0, to_node = 0, to_port = 0;
  std::size_t queue = 8;
  QueuePolicy policy = QueuePolicy::block;
  bool delay = false;
};

struct FlatGraph {
  std::vector<FlatNode> nodes;
  std::vector<FlatLink> links;
  std::map<std::string, std::vector<ParamTarget>> params;  ///< of the pipeline; also "nested.param"
};

/// Port's name for messages: "stage.port".
std::string input_name(const FlatGraph& graph, int node, int port);
std::string output_name(const FlatGraph& graph, int node, int port);

FlatGraph flatten(const Pipeline& pipeline, const CompileOptions& options, const Registry& registry,
                  const PipelineLibrary& library, std::vector<Diagnostic>& diagnostics);

}  // namespace morph
