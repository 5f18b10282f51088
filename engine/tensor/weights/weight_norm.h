// Weight normalisation (Salimans and Kingma 2016, arXiv 1602.07868) undone: published pairs of a direction and a length
// become the one weight that they stand for.
#pragma once

#include "tensor/weights/checkpoint.h"

namespace morph::tensor {

/// A view of `checkpoint` in which NAME.weight_g with NAME.weight_v, and NAME.parametrizations.weight.original0 with
/// original1, are NAME.weight in F32 (g * v / |v|, the length over all axes that g does not have). Everything else
/// stays. Throws Error{weights} for pairs whose shapes do not fit each other.
Checkpoint fold_weight_norm(const Checkpoint& checkpoint);

}  // namespace morph::tensor
