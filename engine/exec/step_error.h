// What a stage threw, as the one exception type of the engine, with the stage's place in front.
#pragma once

#include <memory>
#include <string>

#include "morph/error.h"

namespace morph::exec {

/// Call inside a catch block. `where` is a stage's place, or that of what the application gave. An Error keeps its
/// code; its place is put behind `where` unless it already starts with it. std::bad_alloc becomes a resource error,
/// anything else an internal one.
std::shared_ptr<const Error> current_error(const std::string& where);
/// The same for an error that was handed over: with `where` in front of its place.
std::shared_ptr<const Error> placed(const std::shared_ptr<const Error>& error, const std::string& where);

}  // namespace morph::exec
