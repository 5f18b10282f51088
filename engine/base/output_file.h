// OutputFile became public when the command needed it too; this is the way by which older files know it. Include
// "morph/output_file.h" in new ones.
#pragma once

#include "morph/output_file.h"
