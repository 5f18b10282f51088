// Whether standard input comes as it is made (a microphone, a call) or is there already and comes through a pipe
// (`cat file | morph -`): what is there already has no clock, and a second sentence in it interrupts nobody.
#pragma once

namespace morph {

/// True when standard input is a pipe or socket that brings bytes no faster than time passes. Looks for up to a tenth
/// of a second and takes nothing.
bool stdin_is_live();

}  // namespace morph
