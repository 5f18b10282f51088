// What the trunk's tests ask of a refusal: an Error of the right kind, whose message they then read.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <string>

#include "morph/error.h"

namespace morph::testing {

/// The message of the Error{code} that `what` must throw.
inline std::string message_of(const std::function<void()>& what, ErrorCode code) {
  try {
    what();
  } catch (const Error& error) {
    CHECK(to_string(error.code()) == to_string(code));
    return error.what();
  }
  FAIL("expected an Error");
  return "";
}

}  // namespace morph::testing
