// Optimal string alignment distance (Damerau-Levenshtein without repeated edits), three rows at a time.
#include "base/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace morph {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::vector<std::string> nearest_names(std::string_view wanted, const std::vector<std::string>& names,
                                       std::size_t limit) {
  constexpr std::size_t kLongest = 200;  // longer text is no name; keeps hostile input cheap
  if (wanted.empty() || wanted.size() > kLongest) return {};
  constexpr std::size_t kMostWork = 1u << 23;  // pairs of letters compared
  std::vector<std::pair<std::size_t, std::string>> found;
  std::size_t work = 0;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > kLongest) continue;
    const std::size_t allowed = std::max<std::size_t>(1, std::max(wanted.size(), name.size()) / 3);
    const std::size_t apart = std::max(wanted.size(), name.size()) - std::min(wanted.size(), name.size());
    const bool comparable = apart <= allowed && work < kMostWork;
    if (comparable) work += wanted.size() * name.size();
    const std::size_t edits = comparable ? edit_distance(wanted, name) : allowed + apart;
    const bool holds = (wanted.size() >= 3 && name.find(wanted) != std::string::npos) ||
                       (name.size() >= 3 && wanted.find(name) != std::string_view::npos);
    if ((comparable && edits <= allowed) || holds) found.emplace_back(edits, name);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> result;
  for (auto& [edits, name] : found) {
    if (result.size() == limit) break;
    if (result.empty() || result.back() != name) result.push_back(std::move(name));
  }
  return result;
}

std::string suggest(std::string_view wanted, const std::vector<std::string>& names) {
  const std::vector<std::string> near = nearest_names(wanted, names);
  std::string text;
  if (!near.empty()) {
    text = "; did you mean ";
    for (std::size_t i = 0; i < near.size(); ++i) {
      if (i > 0) text += i + 1 == near.size() ? " or " : ", ";
      text += '"' + near[i] + '"';
    }
    return text + "?";
  }
  if (names.empty()) return "";
  constexpr std::size_t kMost = 12;
  text = "; there " + std::string(names.size() == 1 ? "is only: " : "are: ");
  for (std::size_t i = 0; i < names.size() && i < kMost; ++i) text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kMost ? text + ", ..." : text;
}

}  // namespace morph
