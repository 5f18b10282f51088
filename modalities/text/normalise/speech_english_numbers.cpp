// English rules for what is written in digits: times, dates, money, measures, fractions, ordinals, years, telephone
// numbers, ranges, numbers. Words come from ICU's spell-out rules. Order matters: the most specific first, and a rule
// leaves no digits behind in what it recognised.
#include <array>
#include <cctype>
#include <memory>
#include <string>

#include "morph/speech_rules.h"
#include "normalise/spoken_numbers.h"

namespace morph::text {
namespace {

using Numbers = std::shared_ptr<const SpokenNumbers>;

// An amount: thousands with commas, or plain; decimals.
#define MORPH_AMOUNT R"((\d{1,3}(?:,\d{3})++(?:\.\d++)?|\d++(?:\.\d++)?|\.\d++))"

constexpr std::array<const char*, 12> kMonths{"January", "February", "March",     "April",   "May",      "June",
                                              "July",    "August",   "September", "October", "November", "December"};

struct Unit {
  const char* written;
  const char* one;
  const char* many;
};

constexpr std::array<Unit, 41> kUnits{{
    {"km/h", "kilometer per hour", "kilometers per hour"},
    {"kph", "kilometer per hour", "kilometers per hour"},
    {"mph", "mile per hour", "miles per hour"},
    {"m/s", "meter per second", "meters per second"},
    {"km²", "square kilometer", "square kilometers"},
    {"m²", "square meter", "square meters"},
    {"m³", "cubic meter", "cubic meters"},
    {"km", "kilometer", "kilometers"},
    {"cm", "centimeter", "centimeters"},
    {"mm", "millimeter", "millimeters"},
    {"nm", "nanometer", "nanometers"},
    {"m", "meter", "meters"},
    {"ft", "foot", "feet"},
    {"mi", "mile", "miles"},
    {"yd", "yard", "yards"},
    {"kg", "kilogram", "kilograms"},
    {"mg", "milligram", "milligrams"},
    {"g", "gram", "grams"},
    {"lbs", "pound", "pounds"},
    {"lb", "pound", "pounds"},
    {"oz", "ounce", "ounces"},
    {"ml", "milliliter", "milliliters"},
    {"mL", "milliliter", "milliliters"},
    {"L", "liter", "liters"},
    {"l", "liter", "liters"},
    {"°C", "degree Celsius", "degrees Celsius"},
    {"°F", "degree Fahrenheit", "degrees Fahrenheit"},
    {"°", "degree", "degrees"},
    {"ms", "millisecond", "milliseconds"},
    {"s", "second", "seconds"},
    {"sec", "second", "seconds"},
    {"min", "minute", "minutes"},
    {"hrs", "hour", "hours"},
    {"h", "hour", "hours"},
    {"GHz", "gigahertz", "gigahertz"},
    {"MHz", "megahertz", "megahertz"},
    {"kHz", "kilohertz", "kilohertz"},
    {"Hz", "hertz", "hertz"},
    {"kW", "kilowatt", "kilowatts"},
    {"kWh", "kilowatt hour", "kilowatt hours"},
    {"W", "watt", "watts"},
}};

std::string say_unit(const SpokenNumbers& numbers, const std::string& amount, const std::string& written) {
  for (const Unit& unit : kUnits)
    if (written == unit.written) return numbers.number(amount) + " " + (amount == "1" ? unit.one : unit.many);
  return numbers.number(amount) + " " + written;
}

std::string say_bytes(const SpokenNumbers& numbers, const std::string& amount, char prefix, bool bits) {
  std::string name;
  switch (std::toupper(static_cast<unsigned char>(prefix))) {
    case 'K':
      name = "kilo";
      break;
    case 'M':
      name = "mega";
      break;
    case 'G':
      name = "giga";
      break;
    default:
      name = "tera";
  }
  return numbers.number(amount) + " " + name + (bits ? "bit" : "byte") + (amount == "1" ? "" : "s");
}

struct Currency {
  const char* sign;
  const char* one;
  const char* many;
  const char* cent;
  const char* cents;
};
constexpr std::array<Currency, 5> kCurrencies{{
    {"$", "dollar", "dollars", "cent", "cents"},
    {"€", "euro", "euros", "cent", "cents"},
    {"£", "pound", "pounds", "penny", "pence"},
    {"¥", "yen", "yen", "sen", "sen"},
    {"₹", "rupee", "rupees", "paisa", "paise"},
}};

std::string magnitude(const std::string& written) {
  if (written.empty()) return {};
  if (written == "k" || written == "K") return "thousand";
  if (written == "M" || written == "m" || written == "mn") return "million";
  if (written == "B" || written == "bn") return "billion";
  if (written == "T" || written == "tn") return "trillion";
  return written;
}

std::string say_money(const SpokenNumbers& numbers, const std::string& sign, const std::string& amount,
                      const std::string& scale) {
  const Currency* currency = &kCurrencies[0];
  for (const Currency& one : kCurrencies)
    if (sign == one.sign) currency = &one;
  if (!scale.empty()) return numbers.number(amount) + " " + magnitude(scale) + " " + currency->many;
  const auto point = amount.find('.');
  const std::string whole = amount.substr(0, point);
  const std::string part = point == std::string::npos ? "" : amount.substr(point + 1);
  if (part.size() != 2 && !part.empty()) return numbers.number(amount) + " " + currency->many;
  const bool some_whole = whole.find_first_not_of("0,") != std::string::npos;
  std::string words;
  if (some_whole || part.empty()) words = numbers.number(whole) + " " + (whole == "1" ? currency->one : currency->many);
  if (!part.empty() && part != "00") {
    if (!words.empty()) words += " and ";
    words += numbers.cardinal(std::stoll(part)) + " " + (part == "01" ? currency->cent : currency->cents);
  }
  return words.empty() ? std::string("zero ") + currency->many : words;
}

std::string say_time(const SpokenNumbers& numbers, const RuleMatch& m) {
  const int hour = std::stoi(m[1]), minute = m[2].empty() ? 0 : std::stoi(m[2]);
  if (hour > 24 || minute > 59) return m[0];
  std::string words = numbers.cardinal(hour);
  if (minute == 0 && m[4].empty())
    words += hour > 12 || hour == 0 ? " hundred" : " o'clock";
  else if (minute > 0)
    words += minute < 10 ? " oh " + numbers.cardinal(minute) : " " + numbers.cardinal(minute);
  if (!m[3].empty()) words += " and " + numbers.cardinal(std::stoi(m[3])) + " seconds";
  if (!m[4].empty())
    words += std::string(" ") + (std::tolower(static_cast<unsigned char>(m[4][0])) == 'a' ? "A-M" : "P-M");
  return words;
}

std::string say_date(const SpokenNumbers& numbers, int month, int day, const std::string& year) {
  std::string words = std::string(kMonths[static_cast<std::size_t>(month - 1)]) + " " + numbers.ordinal(day);
  if (!year.empty()) words += ", " + numbers.year(std::stoll(year));
  return words;
}

std::string say_fraction(const SpokenNumbers& numbers, int over, int under) {
  std::string part = under == 2 ? "half" : under == 4 ? "quarter" : numbers.ordinal(under);
  if (over != 1) part = under == 2 ? "halves" : SpokenNumbers::plural(part);
  return numbers.cardinal(over) + " " + part;
}

std::vector<SpeechRule> time_and_date_rules(const Numbers& n) {
  constexpr const char* kMonthDay =
      R"(\b(January|February|March|April|May|June|July|August|September|October|November|December)\s+(\d{1,2})(?:st|nd|rd|th)?\b(?:,?\s+(\d{4})\b)?(?![\d:%]))";
  constexpr const char* kDayMonth =
      R"((?:\bthe\s+)?\b(\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?(January|February|March|April|May|June|July|August|September|October|November|December)\b(?:,?\s+(\d{4})\b)?)";
  return {
      {"time", R"(\b([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:\s*([AaPp])\.?\s?[Mm]\b\.?(?!\w))?(?![\d:]))",
       [n](const RuleMatch& m) { return say_time(*n, m); }},
      {"hour", R"(\b(1[0-2]|[1-9])()()\s*([AaPp])\.?[Mm]\b\.?(?!\w))",
       [n](const RuleMatch& m) { return say_time(*n, m); }},
      {"ISO date", R"(\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b)",
       [n](const RuleMatch& m) { return say_date(*n, std::stoi(m[2]), std::stoi(m[3]), m[1]); }},
      {"American date", R"(\b(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/(\d{4})\b)",
       [n](const RuleMatch& m) { return say_date(*n, std::stoi(m[1]), std::stoi(m[2]), m[3]); }},
      {"month and day", kMonthDay,
       [n](const RuleMatch& m) {
         return m[1] + " " + n->ordinal(std::stoll(m[2])) + (m[3].empty() ? "" : ", " + n->year(std::stoll(m[3])));
       }},
      {"day and month", kDayMonth,
       [n](const RuleMatch& m) {
         return "the " + n->ordinal(std::stoll(m[1])) + " of " + m[2] +
                (m[3].empty() ? "" : ", " + n->year(std::stoll(m[3])));
       }},
  };
}

std::vector<SpeechRule> measure_rules(const Numbers& n) {
  return {
      {"decade", R"(\b(1[1-9]\d0|20\d0)['’]?s\b)",
       [n](const RuleMatch& m) { return SpokenNumbers::plural(n->year(std::stoll(m[1]))); }},
      {"short decade", R"(['’]?\b([2-9]0)['’]?s\b)",
       [n](const RuleMatch& m) { return SpokenNumbers::plural(n->cardinal(std::stoll(m[1]))); }},
      {"minus", R"((?<![\w)])[-−](?=\.?\d))", [](const RuleMatch&) { return "minus "; }},
      {"money after", R"((?<!\d))" MORPH_AMOUNT R"(\s?([$€£¥₹])(?!\d))",
       [n](const RuleMatch& m) { return say_money(*n, m[2], m[1], ""); }},
      {"money", R"(([$€£¥₹])\s?)" MORPH_AMOUNT R"((?:[ -]?(thousand|million|billion|trillion|bn|mn|tn|[kKMBT])\b)?)",
       [n](const RuleMatch& m) { return say_money(*n, m[1], m[2], m[3]); }},
      {"percent", R"((?<!\d))" MORPH_AMOUNT R"(\s?%)",
       [n](const RuleMatch& m) { return n->number(m[1]) + " percent"; }},
      {"bytes", R"((?<![\w.]))" MORPH_AMOUNT R"(\s?([KkMGT])i?([Bb])(?:its?|ytes?)?\b)",
       [n](const RuleMatch& m) { return say_bytes(*n, m[1], m[2][0], m[3] == "b"); }},
      {"measure",
       R"((?<![\w.]))" MORPH_AMOUNT
       R"(\s?(km/h|kph|mph|m/s|km²|m²|m³|kWh|GHz|MHz|kHz|Hz|°C|°F|°|km|cm|mm|nm|kg|mg|lbs|lb|oz|ml|mL|ms|sec|min|hrs|ft|mi|yd|kW|W)(?![\w]))",
       [n](const RuleMatch& m) { return say_unit(*n, m[1], m[2]); }},
      {"short measure", R"((?<![\w.]))" MORPH_AMOUNT R"(\s?(m|g|L|l|h|s)(?![\w'’]))",
       [n](const RuleMatch& m) { return say_unit(*n, m[1], m[2]); }},
      {"large amount", R"((?<![\w.]))" MORPH_AMOUNT R"(\s?(bn|mn|[kKMB])\b)",
       [n](const RuleMatch& m) { return n->number(m[1]) + " " + magnitude(m[2]); }},
  };
}

std::vector<SpeechRule> fraction_rules(const Numbers& n) {
  const auto vulgar = [n](int over, int under) {
    return [n, over, under](const RuleMatch& m) {
      const std::string part = over == 1 ? (under == 2   ? "a half"
                                            : under == 4 ? "a quarter"
                                                         : say_fraction(*n, 1, under))
                                         : say_fraction(*n, over, under);
      return m[1].empty() ? say_fraction(*n, over, under) : n->number(m[1]) + " and " + part;
    };
  };
  return {
      {"half sign", R"((?:(?<!\d)(\d++)\s?)?½)", vulgar(1, 2)},
      {"quarter sign", R"((?:(?<!\d)(\d++)\s?)?¼)", vulgar(1, 4)},
      {"three quarters sign", R"((?:(?<!\d)(\d++)\s?)?¾)", vulgar(3, 4)},
      {"third sign", R"((?:(?<!\d)(\d++)\s?)?⅓)", vulgar(1, 3)},
      {"two thirds sign", R"((?:(?<!\d)(\d++)\s?)?⅔)", vulgar(2, 3)},
      {"fraction", R"((?<![\w/.,])(?:(\d+)\s+)?([1-9])/([2-9]|10|16)(?![\w/]))",
       [n](const RuleMatch& m) {
         const std::string part = say_fraction(*n, std::stoi(m[2]), std::stoi(m[3]));
         return m[1].empty() ? part : n->number(m[1]) + " and " + part;
       }},
      {"ratio of numbers", R"((?<=\d)/(?=\d))", [](const RuleMatch&) { return " slash "; }},
  };
}

std::vector<SpeechRule> plain_number_rules(const Numbers& n) {
  return {
      {"telephone", R"((?<![\w-])(?:\+?(\d{1,3})[- .])?\(?(\d{3})\)?[- .](\d{3})[-.](\d{4})(?![\w-]))",
       [](const RuleMatch& m) {
         std::string words;
         for (std::size_t i = 1; i <= 4; ++i)
           if (!m[i].empty()) words += (words.empty() ? "" : ", ") + SpokenNumbers::digit_by_digit(m[i]);
         return words;
       }},
      {"short telephone", R"((?<![\w-])(\d{3})-(\d{4})(?![\w-]))",
       [](const RuleMatch& m) {
         return SpokenNumbers::digit_by_digit(m[1]) + ", " + SpokenNumbers::digit_by_digit(m[2]);
       }},
      {"version", R"((?<![\w.])[vV]?(\d+(?:\.\d+){2,})(?![\w]))",
       [n](const RuleMatch& m) {
         std::string words, part;
         for (char c : m[1] + ".") {
           if (c != '.') {
             part += c;
             continue;
           }
           words += (words.empty() ? "" : " point ") + n->number(part);
           part.clear();
         }
         return (m[0][0] == 'v' || m[0][0] == 'V' ? "version " : "") + words;
       }},
      {"short version", R"(\b[vV](\d+(?:\.\d+)?)\b)", [n](const RuleMatch& m) { return "version " + n->number(m[1]); }},
      {"ordinal", R"(\b(\d{1,3}(?:,\d{3})+|\d{1,15})(?:st|nd|rd|th)\b)",
       [n](const RuleMatch& m) {
         std::string digits = m[1];
         std::erase(digits, ',');
         return n->ordinal(std::stoll(digits));
       }},
      {"range", R"((?<![\w.-])(\d[\d,]*(?:\.\d+)?)\s?[-–]\s?(?=\d[\d,]*(?:\.\d+)?(?![\w-])))",
       [](const RuleMatch& m) { return m[1] + " to "; }},
      {"minus between", R"((?<=\d)\s+[-−]\s+(?=\d))", [](const RuleMatch&) { return " minus "; }},
      {"year", R"((?<![\w.,$])(1[1-9]\d\d|20\d\d)(?![\w,]\d|\.\d|\w))",
       [n](const RuleMatch& m) { return n->year(std::stoll(m[1])); }},
      {"score", R"((?<=\d):(?=\d))", [](const RuleMatch&) { return " to "; }},
      {"digits beside letters", R"((?<=\p{L})(?=\d)|(?<=\d)(?=\p{L}))", [](const RuleMatch&) { return " "; }},
      {"number", MORPH_AMOUNT, [n](const RuleMatch& m) { return n->number(m[1]); }},
  };
}

#undef MORPH_AMOUNT

}  // namespace

std::vector<SpeechRule> english_number_rules() {
  const Numbers numbers = std::make_shared<const SpokenNumbers>();
  std::vector<SpeechRule> rules;
  for (auto part :
       {time_and_date_rules(numbers), measure_rules(numbers), fraction_rules(numbers), plain_number_rules(numbers)})
    for (SpeechRule& rule : part) rules.push_back(std::move(rule));
  return rules;
}

}  // namespace morph::text
