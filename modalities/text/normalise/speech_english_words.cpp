// English rules for words: abbreviations, initialisms, symbols and acronyms. espeak-ng's own dictionary reads most
// acronyms right (NASA, HTTP, USA); only those that it reads as a word are listed. Letters joined by hyphens are
// spelled.
#include <cctype>
#include <map>
#include <string>

#include "morph/speech_rules.h"

namespace morph::text {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// "u.s.a." is "U-S-A".
std::string spell_letters(const std::string& text) {
  std::string spelled;
  for (char c : text) {
    if (!std::isalpha(static_cast<unsigned char>(c))) continue;
    if (!spelled.empty()) spelled += '-';
    spelled += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return spelled;
}

const std::map<std::string, std::string>& abbreviations();

std::string say_abbreviation(const RuleMatch& m) {
  const auto& table = abbreviations();
  const auto found = table.find(m[1]);
  return found == table.end() ? m[0] : found->second;
}

const std::map<std::string, std::string>& abbreviations() {
  static const std::map<std::string, std::string> kTable{
      {"Dr", "Doctor"},
      {"Mr", "Mister"},
      {"Mrs", "Missus"},
      {"Ms", "Miz"},
      {"Prof", "Professor"},
      {"Jr", "Junior"},
      {"Sr", "Senior"},
      {"Gen", "General"},
      {"Col", "Colonel"},
      {"Capt", "Captain"},
      {"Lt", "Lieutenant"},
      {"Sgt", "Sergeant"},
      {"Rev", "Reverend"},
      {"Hon", "Honorable"},
      {"Gov", "Governor"},
      {"Sen", "Senator"},
      {"Rep", "Representative"},
      {"Mt", "Mount"},
      {"Ave", "Avenue"},
      {"Blvd", "Boulevard"},
      {"Rd", "Road"},
      {"Inc", "Incorporated"},
      {"Ltd", "Limited"},
      {"Corp", "Corporation"},
      {"Co", "Company"},
      {"Dept", "Department"},
      {"dept", "department"},
      {"Univ", "University"},
      {"approx", "approximately"},
      {"Fig", "Figure"},
      {"fig", "figure"},
      {"vol", "volume"},
      {"Vol", "Volume"},
      {"vs", "versus"},
      {"ca", "circa"},
      {"est", "established"},
      {"Jan", "January"},
      {"Feb", "February"},
      {"Mar", "March"},
      {"Apr", "April"},
      {"Jun", "June"},
      {"Jul", "July"},
      {"Aug", "August"},
      {"Sept", "September"},
      {"Sep", "September"},
      {"Oct", "October"},
      {"Nov", "November"},
      {"Dec", "December"},
      {"Tue", "Tuesday"},
      {"Wed", "Wednesday"},
      {"Thu", "Thursday"},
      {"Fri", "Friday"},
      {"min", "minutes"},
      {"max", "maximum"},
      {"misc", "miscellaneous"},
      {"tel", "telephone"},
  };
  return kTable;
}

}  // namespace

std::vector<SpeechRule> english_abbreviation_rules() {
  return {
      fixed_rule("e.g.", R"(\b[Ee]\. ?[Gg]\.,?)", "for example,"),
      fixed_rule("i.e.", R"(\b[Ii]\. ?[Ee]\.,?)", "that is,"),
      fixed_rule("etc. at the end", R"(\betc\.(?=\s+\p{Lu}|\s*$))", "et cetera."),
      fixed_rule("etc.", R"(\betc\b\.?)", "et cetera"),
      fixed_rule("et al.", R"(\bet al\.)", "and others"),
      fixed_rule("a.k.a.", R"(\b(?:a\.k\.a\.|aka\b))", "also known as"),
      fixed_rule("w/o", R"(\bw/o\b)", "without"),
      fixed_rule("w/", R"(\bw/(?=\s))", "with"),
      fixed_rule("24/7", R"(\b24/7\b)", "twenty-four seven"),
      fixed_rule("Ph.D.", R"(\bPh\.?D\b\.?)", "P-H-D"),
      fixed_rule("number sign", R"(\b[Nn]o\.\s*(?=\d)|#(?=\d))", "number "),
      fixed_rule("Saint", R"((?<!\p{L} )\bSt\.\s+(?=\p{Lu})|(?<=\b(?:the|of|in|at|to|and|for|from) )St\.\s+(?=\p{Lu}))",
                 "Saint "),
      fixed_rule("Street", R"(\bSt\.(?=[\s,;]|$))", "Street"),
      // Only where the dot cannot end a sentence, or the word cannot stand there by itself.
      {"title", R"(\b(Dr|Mr|Mrs|Ms|Prof|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|Mt)\.?\s+(?=\p{Lu}))",
       [](const RuleMatch& m) { return say_abbreviation(m) + " "; }},
      {"abbreviation at the end",
       R"(\b(Jr|Sr|Ave|Blvd|Rd|Inc|Ltd|Corp|Co|Dept|Univ)\.(?=\s+\p{Lu}\p{Ll}+\b(?! ?[&])|\s*$))",
       [](const RuleMatch& m) { return say_abbreviation(m) + "."; }},
      {"abbreviation",
       R"(\b(Jr|Sr|Ave|Blvd|Rd|Inc|Ltd|Corp|Co|Dept|dept|Univ|approx|Fig|fig|vol|Vol|vs|ca|est|misc|tel|min|max)\.)",
       say_abbreviation},
      fixed_rule("versus", R"(\bvs\b)", "versus"),
      {"month", R"(\b(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.?(?=\s+\d))", say_abbreviation},
      {"weekday", R"(\b(Tue|Wed|Thu|Fri)\.(?=[\s,]))", say_abbreviation},
  };
}

std::vector<SpeechRule> english_symbol_rules() {
  return {
      // Initialisms: "U.S." keeps the sentence's end only before a capital that is no further initial.
      {"initialism at the end", R"(\b((?:\p{Lu}\.){2,})(?=\s*$))",
       [](const RuleMatch& m) { return spell_letters(m[1]) + "."; }},
      {"initialism", R"(\b((?:\p{L}\.){2,}))", [](const RuleMatch& m) { return spell_letters(m[1]); }},
      {"initial", R"(\b([A-HJ-Z])\.(?=\s+\p{Lu}[\p{L}.]))", [](const RuleMatch& m) { return m[1]; }},
      {"acronym read by letters",
       R"(\b(LED|VIP|AM|JPG|PDF|RSS|DOS|GUI|IRS|IPO|EPA|ESA|ERA|UX|UI|OS|AC|ASR|TTS|SSH)(s?)\b)",
       [](const RuleMatch& m) { return spell_letters(m[1]) + (m[2].empty() ? "" : "'s"); }},
      fixed_rule("JSON", R"(\bJSON\b)", "jayson"),
      fixed_rule("SQL", R"(\bSQL\b)", "sequel"),
      fixed_rule("OK", R"(\b(?:OK|O\.K\.)(?![\p{L}]))", "okay"),
      fixed_rule("C++", R"(\bC\+\+)", "C plus plus"),
      fixed_rule("C#", R"(\b([CF])#)", "C sharp"),
      fixed_rule("and/or", R"(\band/or\b)", "and or"),
      fixed_rule("and", R"(\s*&\s*)", " and "),
      fixed_rule("at", R"(\s*@\s*)", " at "),
      fixed_rule("plus or minus", R"(\s*(?:±|\+/-)\s*)", " plus or minus "),
      fixed_rule("arrow", R"(\s*(?:->|=>|→|⇒|➜)\s*)", " to "),
      fixed_rule("at most", R"(\s*(?:<=|≤)\s*)", " is at most "),
      fixed_rule("at least", R"(\s*(?:>=|≥)\s*)", " is at least "),
      fixed_rule("not equal", R"(\s*(?:!=|≠)\s*)", " is not equal to "),
      fixed_rule("equals", R"(\s*={1,3}\s*)", " equals "),
      fixed_rule("about", R"([~≈]\s*)", "about "),
      fixed_rule("plus", R"(\s*\+\s*(?=[\p{L}\p{N}]))", " plus "),
      fixed_rule("times", R"(\s*×\s*|(?<=[\p{L}\p{N}])\s+\*\s+(?=[\p{L}\p{N}]))", " times "),
      fixed_rule("divided by", R"(\s*÷\s*)", " divided by "),
      fixed_rule("less than", R"((?<=\s)<(?=\s))", "is less than"),
      fixed_rule("greater than", R"((?<=\s)>(?=\s))", "is greater than"),
      fixed_rule("to the power of", R"((?<=[\p{L}\p{N}])\^(?=[\p{L}\p{N}]))", " to the power of "),
      fixed_rule("percent", R"(\s*%)", " percent"),
      fixed_rule("degrees", R"(\s*°)", " degrees"),
      fixed_rule("section", R"(§\s*)", "section "),
      {"hashtag", R"((?<!\p{L})#(\p{L}[\p{L}\p{N}_]*))", [](const RuleMatch& m) { return "hashtag " + m[1]; }},
      {"slash between words", R"((?<=\p{L})/(?=\p{L}))", [](const RuleMatch&) { return " slash "; }},
      {"shouted sentence", R"(\b\p{Lu}+(?:['’]\p{Lu}+)?(?:[ ,]+\p{Lu}+(?:['’]\p{Lu}+)?){3,}\b)",
       [](const RuleMatch& m) { return lower(m[0]); }},
  };
}

}  // namespace morph::text
