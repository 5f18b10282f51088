// Exact GELU, x * Phi(x) (Hendrycks and Gimpel 2016), for CPU graphs: ggml's own calls erff for each value, which took
// a tenth of a whisper encoder's time; this form vectorises.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// In place on `x` (F32, contiguous), which nothing else may read. CPU only.
ggml_tensor* gelu_on_cpu(ggml_context* ctx, ggml_tensor* x);

/// out[i] = gelu(x[i]); `out` may be `x`. Absolute error below 2e-7 * |x|.
void gelu(const float* x, float* out, long n);

}  // namespace morph::tensor
