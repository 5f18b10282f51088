// A run with what the ledger granted it.
#pragma once

#include <memory>

#include "morph/run.h"

namespace morph {

/// `run` with its ticket: the ticket goes when the run is destroyed.
std::unique_ptr<Run> admitted(std::unique_ptr<Run> run, std::shared_ptr<void> ticket);

}  // namespace morph
