// Values, parameters and the operations of format negotiation.
#include <catch2/catch.hpp>

#include "base/nearest.h"
#include "morph/format.h"
#include "morph/stage.h"

using namespace morph;

namespace {
Value n(std::int64_t value) { return Value{value}; }
}  // namespace

TEST_CASE("values print like JSON", "[unit]") {
  CHECK(to_string(Value{}) == "null");
  CHECK(to_string(Value{true}) == "true");
  CHECK(to_string(n(-3)) == "-3");
  CHECK(to_string(Value{0.5}) == "0.5");
  CHECK(to_string(Value{std::string("a\"\n\x01")}) == "\"a\\\"\\n\\u0001\"");
  CHECK(to_string(Value{std::vector<std::string>{"a", "b"}}) == "[\"a\", \"b\"]");
}

TEST_CASE("parameters name what is wrong", "[unit]") {
  Params params({{"beams", n(4)}, {"name", Value{std::string("x")}}, {"none", Value{}}});
  CHECK(params.get_int("beams") == 4);
  CHECK(params.get_double("beams") == 4.0);
  CHECK(params.has("beams"));
  CHECK_FALSE(params.has("none"));
  CHECK_FALSE(params.has("other"));
  CHECK_THROWS_WITH(params.get_int("name"), "name: expected an integer, found string \"x\"");
  CHECK_THROWS_WITH(params.get_int("none"), Catch::Contains("has no value"));
  CHECK_THROWS_WITH(params.get_int("beam"), Catch::Contains("did you mean \"beams\"?"));
  try {
    params.get_bool("name");
    FAIL("expected an error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::config);
  }
}

TEST_CASE("text becomes a parameter's value", "[unit]") {
  CHECK(parse_value(ParamType::boolean, "yes") == Value{true});
  CHECK(parse_value(ParamType::integer, "-12") == n(-12));
  CHECK(parse_value(ParamType::number, "1e3") == Value{1000.0});
  CHECK(parse_value(ParamType::list, "a,b") == Value{std::vector<std::string>{"a", "b"}});
  CHECK(parse_value(ParamType::list, "") == Value{std::vector<std::string>{}});
  for (const char* text : {"", "x", "1.5", "1 ", "99999999999999999999"})
    CHECK_THROWS_AS(parse_value(ParamType::integer, text), Error);
  CHECK_THROWS_AS(parse_value(ParamType::number, "nan"), Error);
  CHECK_THROWS_WITH(parse_value(ParamType::boolean, "maybe"),
                    Catch::Contains("expected true or false, found \"maybe\""));
}

TEST_CASE("constraints intersect in order of preference", "[unit]") {
  const Constraint any, mono = Constraint::is(n(1)), rates = Constraint::one_of({n(48000), n(16000), n(8000)});
  CHECK(any.is_any());
  CHECK(any.allows(Value{std::string("x")}));
  CHECK_FALSE(any.preferred());
  CHECK(any.intersect(rates)->preferred() == n(48000));
  CHECK(rates.intersect(any)->preferred() == n(48000));
  CHECK_FALSE(mono.intersect(rates));
  CHECK(rates.intersect(Constraint::one_of({n(8000), n(16000)}))->preferred() == n(16000));
  // A range without a preference leaves the other's order; one with a preference takes the nearest.
  CHECK(Constraint::range(8000, 50000).intersect(Constraint::one_of({n(16000), n(8000)}))->preferred() == n(16000));
  CHECK(Constraint::range(8000, 50000, 44100).intersect(rates)->preferred() == n(48000));
  CHECK_FALSE(Constraint::range(1, 2).intersect(Constraint::range(3, 4)));
  CHECK(Constraint::range(1, 10).intersect(Constraint::range(3, 20))->preferred() == n(3));
  CHECK(Constraint::range(1, 10, 2).intersect(Constraint::range(3, 20))->preferred() == n(3));
  CHECK(Constraint::range(1, 10).intersect(Constraint::range(3, 20, 7))->preferred() == n(7));
  CHECK_FALSE(Constraint::range(1, 10).allows(Value{5.0}));
  CHECK_THROWS_AS(Constraint::range(2, 1), Error);
  CHECK_THROWS_AS(Constraint::one_of({}), Error);
}

TEST_CASE("patterns meet, match and become concrete", "[unit]") {
  const FormatPattern offer{"a/b", {{"rate", Constraint::range(1, 100)}, {"kind", {}}}};
  const FormatPattern accept{"a/b", {{"rate", Constraint::is(n(7))}, {"more", Constraint::is(Value{true})}}};
  const auto both = intersect(offer, accept);
  REQUIRE(both);
  const Format format = fixate(*both);
  CHECK(format == Format{"a/b", {{"rate", n(7)}, {"more", Value{true}}}});
  CHECK(matches(accept, format));
  CHECK(matches(exactly(format), format));
  CHECK_FALSE(matches(FormatPattern{"a/c", {}}, format));
  CHECK_FALSE(matches(FormatPattern{"a/b", {{"depth", Constraint::is(n(1))}}}, format));
  CHECK_FALSE(intersect(offer, FormatPattern{"a/c", {}}));
  CHECK(format.get_int("rate") == 7);
  CHECK_THROWS_WITH(format.get_int("depth"), Catch::Contains("expected a field \"depth\""));
  CHECK_THROWS_WITH(format.get_string("rate"), Catch::Contains("expected a string, found integer 7"));
  CHECK(to_string(format) == "a/b {more: true, rate: 7}");
  CHECK(to_string(offer) == "a/b {kind: any, rate: 1..100}");
}

TEST_CASE("nearest names are near", "[unit]") {
  CHECK(edit_distance("resmaple", "resample") == 1);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(nearest_names("audio/resmaple", {"audio/read", "audio/resample", "text/chat"}).front() == "audio/resample");
  CHECK(nearest_names("zzz", {"audio/read"}).empty());
  CHECK(suggest("x", {}).empty());
  CHECK(suggest("zzz", {"alpha", "beta"}) == "; there are: alpha, beta");
}
