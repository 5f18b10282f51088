// Numbers as words, by ICU's rule-based number format (CLDR spell-out rules, en-US).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace morph::text {

/// One thread at a time.
class SpokenNumbers {
 public:
  /// Throws Error{internal} when ICU's data lack the rules.
  SpokenNumbers();
  ~SpokenNumbers();

  std::string cardinal(std::int64_t n) const;  ///< 42: "forty-two"
  std::string ordinal(std::int64_t n) const;   ///< 42: "forty-second"
  std::string year(std::int64_t n) const;      ///< 1984: "nineteen eighty-four"; 1905: "nineteen oh five"
  /// Plain or decimal digits, with or without thousands commas: "1,234.50" is "one thousand two hundred thirty-four
  /// point five zero". More than 15 digits, or a leading zero, are read digit by digit.
  std::string number(std::string_view digits) const;
  /// "007": "zero zero seven".
  static std::string digit_by_digit(std::string_view digits);
  /// "fifty": "fifties"; "third": "thirds".
  static std::string plural(std::string words);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace morph::text
