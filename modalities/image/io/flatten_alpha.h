// Transparency laid over a ground.
#pragma once

#include "morph/image.h"

namespace morph::image {

/// RGBA (alpha not multiplied in) to RGB over the ground that its visible part stands out from: white where that is
/// dark on average, weighed by opacity, else black. A picture without alpha stays as it is.
void flatten_alpha(Image& image);

}  // namespace morph::image
