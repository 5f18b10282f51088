// A plan's pipeline as one flat document: nested pipelines in place, every parameter written out. Compiling it with the
// options that come with it gives the same plan, whatever has become of the library and of defaults since.
#pragma once

#include "graph/flatten.h"
#include "morph/pipeline.h"

namespace morph {

struct FlatDocument {
  Pipeline pipeline;       ///< stage names are nodes' names ("outer/inner")
  CompileOptions options;  ///< of the plan, without the parameters that are in the pipeline now
};

/// Throws Error{pipeline} when the plan's document does not compile any more.
FlatDocument flat_document(const Plan& plan, const Registry& registry, const PipelineLibrary& library);

}  // namespace morph
