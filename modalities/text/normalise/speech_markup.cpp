// Rules for what is written for eyes: Markdown, HTML, addresses, emoji, paragraphs; and the last pass that leaves only
// marks that voices know. The same in every language.
#include <algorithm>

#include "morph/speech_rules.h"

namespace morph::text {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// "www.example.com/a/b-c.html?x=1" is "example dot com slash a slash b c dot html"; query and fragment are not read.
std::string say_address(std::string address) {
  if (address.starts_with("www.")) address.erase(0, 4);
  address.erase(std::min(address.size(), address.find_first_of("?#")));
  while (!address.empty() && address.back() == '/') address.pop_back();
  address = replaced(address, ".", " dot ");
  address = replaced(address, "/", " slash ");
  address = replaced(address, ":", " colon ");
  for (char& c : address)
    if (c == '-' || c == '_' || c == '%' || c == '~' || c == '+') c = ' ';
  return address;
}

}  // namespace

std::vector<SpeechRule> markup_rules() {
  const auto first = [](const RuleMatch& m) { return m[1]; };
  std::vector<SpeechRule> rules{
      {"line ends", R"(\r\n?)", [](const RuleMatch&) { return "\n"; }},
      fixed_rule("invisible", R"([\x{0}-\x{8}\x{B}-\x{1F}\x{7F}\x{AD}\x{200B}-\x{200F}\x{2060}\x{FEFF}\x{FFFD}]+)", ""),
      fixed_rule("code fence", R"(^\s*(?:```|~~~).*$)", ""),
      {"image or link", R"(!?\[([^\]\n]*)\]\([^)\n]*\))", first},
      {"reference link", R"(\[([^\]\n]+)\]\[[^\]\n]*\])", first},
      fixed_rule("footnote", R"(\[\^?\d+\])", ""),
      fixed_rule("rule or table line", R"(^\s*[-*_=|:+ ]{3,}$)", ""),
      {"heading", R"(^\s*#{1,6}\s+(.+?)\s*#*\s*$)", [](const RuleMatch& m) { return "\n" + m[1] + "\n\n"; }},
      fixed_rule("quote", R"(^\s*>+\s?)", ""),
      {"list item", R"(^\s*(?:[-*+•‣◦▪]|(\d{1,3})[.)])\s+(?=\S))",
       [](const RuleMatch& m) { return "\n\n" + (m[1].empty() ? "" : m[1] + ", "); }},
      fixed_rule("table edge", R"(^\s*\|\s*|\s*\|\s*$)", ""),
      fixed_rule("table cell", R"(\s*\|\s*)", ", "),
      fixed_rule("html tag", R"(</?[A-Za-z][^<>\n]*>)", " "),
      fixed_rule("html space", R"(&nbsp;)", " "),
      fixed_rule("html and", R"(&amp;)", "&"),
      fixed_rule("html entity", R"(&(?:#\d+|#x[0-9A-Fa-f]+|[a-z]+);)", " "),
      {"url", R"(\b(?:https?|ftp)://([^\s<>"')\]]*[\w/]))", [](const RuleMatch& m) { return say_address(m[1]); }},
      {"bare url", R"(\bwww\.[\w.-]+\w(?:/[^\s<>"')\]]*[\w/])?)", [](const RuleMatch& m) { return say_address(m[0]); }},
      {"e-mail", R"(\b([\w.+-]+)@([\w-]+(?:\.[\w-]+)+))",
       [](const RuleMatch& m) { return say_address(m[1]) + " at " + say_address(m[2]); }},
      {"domain", R"(\b((?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io|dev|info))\b(/[\w/.-]*\w)?)",
       [](const RuleMatch& m) { return say_address(m[1] + m[2]); }},
      {"emphasis", R"((\*{1,3}|_{2,3}|~~|`+)(?=\S)([^\n*`]*?\S)\1)", [](const RuleMatch& m) { return m[2]; }},
      {"underlined", R"((?<![\w_])_(?=\S)([^_\n]*\S)_(?![\w_]))", first},
      fixed_rule("stray markup", R"([`\\]|(?<=\w)_(?=\w)|_{2,}|\*{2,})", " "),
      fixed_rule("emoji",
                 R"([[\p{Extended_Pictographic}\x{1F1E6}-\x{1F1FF}\x{1F3FB}-\x{1F3FF}\x{FE0F}\x{20E3}]--[0-9#*]]+)",
                 " "),
      fixed_rule("emoticon", R"((?<=^|\s)[:;=8][-o*']?[)(\]\[dDpP/}{@|](?=\s|$|[.,!?]))", " "),
      // A paragraph, heading or list item without a final mark is a sentence all the same.
      {"paragraph", R"(\s*?([^\s])[ \t]*\n\s*\n\s*)",
       [](const RuleMatch& m) { return m[1] + (m[1].find_first_of(".!?") == std::string::npos ? ".\n" : "\n"); }},
      fixed_rule("wrapped line", R"([ \t]*\n[ \t]*)", " "),
  };
  return rules;
}

std::vector<SpeechRule> punctuation_rules() {
  return {
      fixed_rule("apostrophe", R"([’‘ʼ´])", "'"),
      fixed_rule("ellipsis before a sentence", R"(\s*(?:…|\.{3,}|(?:\. ){2,}\.)\s*(?=\p{Lu}|$))", ". "),
      fixed_rule("ellipsis", R"(\s*(?:…|\.{3,}|(?:\. ){2,}\.)\s*)", ", "),
      fixed_rule("quotation mark", R"(["“”„«»‹›]|(?<![\p{L}\p{N}])'|'(?![\p{L}\p{N}]))", ""),
      fixed_rule("hyphen", R"([‐‑])", "-"),
      fixed_rule("dash", R"(\s*[–—―]\s*|\s+-{1,3}\s+|-{2,}|(?<![\p{L}\p{N}])-|-(?![\p{L}\p{N}]))", ", "),
      fixed_rule("closing bracket at the end", R"(\s*[)\]}]\s*$)", ""),
      fixed_rule("bracket", R"(\s*[()\[\]{}]\s*)", ", "),
      fixed_rule("full stop of other scripts", R"([。．।])", ". "),
      fixed_rule("comma of other scripts", R"([、，])", ", "),
      fixed_rule("question of other scripts", R"([？؟])", "? "),
      fixed_rule("exclamation of other scripts", R"(！)", "! "),
      fixed_rule("not speakable", R"([^\p{L}\p{M}\p{N}\s',;:.!?-])", " "),
      fixed_rule("mark inside a word", R"((?<=\p{L})([:;!?])(?=\p{L}))", ", "),
      fixed_rule("spaces", R"(\s+)", " "),
      {"space before a mark", R"( +([,;:.!?]))", [](const RuleMatch& m) { return m[1]; }},
      // Of several marks the strongest stays: ? then ! then . then the last of the weak ones.
      {"several marks", R"([,;:.!?](?:\s*[,;:.!?])+)",
       [](const RuleMatch& m) {
         for (const char* mark : {"?", "!", "."})
           if (m[0].find(mark) != std::string::npos) return std::string(mark) + " ";
         return std::string(1, m[0].back()) + " ";
       }},
      {"space after a mark", R"(([,;:!?])(?=[^\s])|(\.)(?=\p{Lu}\p{Ll}))",
       [](const RuleMatch& m) { return m[0] + " "; }},
      fixed_rule("leading marks", R"(^[\s,;:.!?-]+)", ""),
      fixed_rule("spaces again", R"(\s{2,}|\s+$)", " "),
  };
}

}  // namespace morph::text
