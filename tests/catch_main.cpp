// The main program of every test executable. It gives the tests their environment when CTest did not: a program that is
// started by hand finds the parity sets (MORPH_GOLDEN_DIR, and MORPH_OWN_GOLDEN_DIR of the build), the checkout
// (MORPH_SOURCE_DIR) and the built command (MORPH_BINARY) too.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <cstdlib>

int main(int argc, char* argv[]) {
  setenv("MORPH_GOLDEN_DIR", MORPH_DEFAULT_GOLDEN_DIR, 0);
  setenv("MORPH_OWN_GOLDEN_DIR", MORPH_DEFAULT_OWN_GOLDEN_DIR, 0);
  setenv("MORPH_SOURCE_DIR", MORPH_DEFAULT_SOURCE_DIR, 0);
  setenv("MORPH_BINARY", MORPH_DEFAULT_BINARY, 0);
  return Catch::Session().run(argc, argv);
}
