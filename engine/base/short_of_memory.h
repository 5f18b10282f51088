// Is a failure one of memory? A failed allocation, mapping or thread is a lack of resources, whichever library noticed
// it and whatever it made of it; edges ask here before they call it a defect, or blame a file.
#pragma once

#include <cstdint>
#include <string_view>

#include "morph/memory.h"

namespace morph {

/// By what a library said: "std::bad_alloc", "Cannot allocate memory", ...
bool says_short_of_memory(std::string_view text);

/// Where a library says nothing: whether this process could not have had `bytes` more now.
bool no_room_for(std::uint64_t bytes);

}  // namespace morph
