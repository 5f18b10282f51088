// What can be known of a command's outputs before its work: nobody loses an hour of transcription to a spelling
// mistake, or an input to a name given twice.
#pragma once

#include <string>
#include <vector>

namespace morph::command {

/// `force`: an output may take an input's place (it is whole before it does).
/// Throws Error{config} naming the file that cannot be written, that is one of the inputs, or that is to be written
/// twice (an output and the trace). Names of no file ("-", "") are left out.
void check_outputs(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                   const std::string& trace, bool force = false);

}  // namespace morph::command
