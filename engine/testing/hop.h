// Where the engine's own code and tests find measure_stage_hop_us(); it is declared in a public header because
// `morph bench` reports it.
#pragma once

#include "morph/hop.h"
