// Which inputs of a graph are indices of a table (token ids, speakers), and how many rows it has. OpenVINO reads beyond
// a table without a word, so ids that come from a file are compared with it when the model is loaded.
#pragma once

#include <cstdint>
#include <openvino/core/model.hpp>

namespace morph::openvino {

/// Rows of the smallest table that this input indexes, through conversions and changes of shape; 0 when it is none or
/// its size is not known.
std::int64_t rows_indexed_by(const ov::Output<const ov::Node>& input);

}  // namespace morph::openvino
