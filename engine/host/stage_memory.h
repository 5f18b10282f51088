// A loaded stage's way to the ledger; see morph/memory.h.
#pragma once

#include <memory>
#include <string>

#include "host/ledger.h"
#include "morph/memory.h"

namespace morph {

/// What it books lies on `place`, belongs to the loaded stage of `stage_key`, and goes by the name `who`.
std::shared_ptr<StageMemory> make_stage_memory(std::shared_ptr<Ledger> ledger, std::string place, std::string who,
                                               const std::string& stage_key);

}  // namespace morph
