// Pages of files, grounds under transparency, and what turns pieces of text into a page: tiles, spaces, columns.
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

#include "io/flatten_alpha.h"
#include "io/image_file.h"
#include "io/image_kind.h"
#include "morph/error.h"
#include "morph/text.h"
#include "reading/page_layout.h"
#include "reading/text_detector.h"
#include "reading/word_gaps.h"

using namespace morph;
using namespace std::string_literals;

namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto all = std::as_bytes(std::span(text));
  return {all.begin(), all.end()};
}

void put16(std::string& out, unsigned value) {
  out += static_cast<char>(value & 255);
  out += static_cast<char>(value >> 8);
}
void put32(std::string& out, unsigned value) {
  put16(out, value & 65535);
  put16(out, value >> 16);
}

/// A TIFF of grey pages, each of one value, 8 x 4 pixels (TIFF 6.0, uncompressed, little-endian).
std::string tiff_of(const std::vector<std::uint8_t>& pages) {
  std::string out = "II*\0"s;
  put32(out, 8);
  for (std::size_t i = 0; i < pages.size(); ++i) {
    constexpr unsigned kEntries = 8;
    const unsigned pixels = static_cast<unsigned>(out.size()) + 2 + kEntries * 12 + 4;
    put16(out, kEntries);
    const auto entry = [&](unsigned tag, unsigned value) {
      put16(out, tag);
      put16(out, 4);
      put32(out, 1);
      put32(out, value);
    };
    entry(256, 8);  // width
    entry(257, 4);  // height
    entry(258, 8);  // bits
    entry(259, 1);  // no compression
    entry(262, 1);  // black is zero
    entry(273, pixels);
    entry(278, 4);   // rows a strip
    entry(279, 32);  // bytes of the strip
    put32(out, i + 1 < pages.size() ? pixels + 32 : 0);
    out += std::string(32, static_cast<char>(pages[i]));
  }
  return out;
}

/// A PDF of empty pages of that many points.
std::string pdf_of(const std::vector<std::pair<int, int>>& sizes) {
  std::string out = "%PDF-1.4\n", kids;
  std::vector<std::size_t> at;
  const auto object = [&](const std::string& body) {
    at.push_back(out.size());
    out += std::to_string(at.size()) + " 0 obj\n" + body + "\nendobj\n";
  };
  for (std::size_t i = 0; i < sizes.size(); ++i) kids += std::to_string(i + 3) + " 0 R ";
  object("<</Type/Catalog/Pages 2 0 R>>");
  object("<</Type/Pages/Count " + std::to_string(sizes.size()) + "/Kids[" + kids + "]>>");
  for (const auto& [width, height] : sizes)
    object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 " + std::to_string(width) + " " + std::to_string(height) + "]>>");
  const std::size_t xref = out.size();
  out += "xref\n0 " + std::to_string(at.size() + 1) + "\n0000000000 65535 f \n";
  for (const std::size_t place : at) {
    const std::string digits = std::to_string(place);
    out += std::string(10 - digits.size(), '0') + digits + " 00000 n \n";
  }
  out += "trailer\n<</Size " + std::to_string(at.size() + 1) + "/Root 1 0 R>>\nstartxref\n" + std::to_string(xref) +
         "\n%%EOF\n";
  return out;
}

TextSpan piece(const std::string& text, float x, float y, float width, float height = 20) {
  TextSpan span;
  span.text = text;
  span.box = {x, y, x + width, y, x + width, y + height, x, y + height};
  return span;
}

std::string laid_out(std::vector<TextSpan> spans) {
  const std::vector<int> lines = image::sort_into_lines(spans);
  return image::join_lines(spans, lines);
}

}  // namespace

TEST_CASE("every page of a file is read, and named", "[unit]") {
  for (const std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{5}}) {
    std::vector<std::uint8_t> greys;
    for (std::size_t i = 0; i < n; ++i) greys.push_back(static_cast<std::uint8_t>(20 * i + 7));
    image::ImageFile file(bytes_of(tiff_of(greys)), "fax.tif");
    for (std::size_t i = 0; i < n; ++i) {
      INFO(n << " pages, page " << i + 1);
      const auto page = file.next();
      REQUIRE(page);
      CHECK(page->width == 8);
      CHECK(page->height == 4);
      CHECK(page->pixels.front() == greys[i]);
      CHECK((n == 1 || page->page == static_cast<int>(i) + 1));
    }
    CHECK_FALSE(file.next());
  }
}

TEST_CASE("pages of a PDF have the size that it states, at 200 dots per inch", "[unit]") {
  image::ImageFile file(bytes_of(pdf_of({{72, 36}, {144, 72}})), "two.pdf");
  CHECK(file.count() == 2);
  const auto first = file.next(), second = file.next();
  REQUIRE((first && second));
  CHECK(first->width == 200);
  CHECK(first->height == 100);
  CHECK(second->width == 400);
  CHECK(second->page == 2);
  CHECK_FALSE(file.next());
  // A page of 200 inches is drawn smaller, not refused.
  image::ImageFile large(bytes_of(pdf_of({{14400, 72}})), "large.pdf");
  const auto page = large.next();
  REQUIRE(page);
  CHECK(page->width == 10000);
  CHECK_THROWS_AS(image::ImageFile(bytes_of("%PDF-1.4\nnothing"), "no.pdf"), Error);
}

TEST_CASE("an image file is known by its first bytes", "[unit]") {
  const std::vector<std::pair<std::string, std::string>> kinds = {{"GIF89a\1\0\1\0"s, "GIF"},
                                                                  {"%PDF-1.7\n"s, "PDF"},
                                                                  {"\0\0\0\x1c"
                                                                   "ftypheic\0\0\0\0mif1heic"s,
                                                                   "HEIC"},
                                                                  {"\0\0\0\x1c"
                                                                   "ftypmif1\0\0\0\0mif1avif"s,
                                                                   "AVIF"},
                                                                  {"\xff\x0a\xfa\x1f"s, "JPEG XL"},
                                                                  {"v/1\1\2\0\0\0"s, "OpenEXR"},
                                                                  {"II*\0\x08\0\0\0"s, "TIFF"},
                                                                  {"P6\n2 1\n255\n"s, "PNM"}};
  for (const auto& [start, title] : kinds) {
    const image::ImageKind* kind = image::image_kind(std::as_bytes(std::span(start)));
    INFO(title);
    REQUIRE(kind != nullptr);
    CHECK(kind->title == title);
  }
  for (const std::string& other : {"\0\0\0\x1c"
                                   "ftypisom\0\0\0\0isomavc1"s,
                                   "Push the button"s, "P1000 was sold"s, ""s})
    CHECK(image::image_kind(std::as_bytes(std::span(other))) == nullptr);
  CHECK_THROWS_WITH(image::ImageFile(bytes_of("AT&TFORM\0\0\1\0DJVU"s), "old.djvu"), Catch::Contains("DjVu"));
}

TEST_CASE("transparency is laid over a ground that the drawing stands out from", "[unit]") {
  for (const bool light : {false, true}) {
    Image sign;
    sign.width = 4;
    sign.height = 1;
    sign.channels = 4;
    const std::uint8_t ink = light ? 250 : 10;
    sign.pixels = {ink, ink, ink, 255, 0, 0, 0, 0, 255, 255, 255, 0, ink, ink, ink, 255};
    image::flatten_alpha(sign);
    REQUIRE(sign.channels == 3);
    const std::uint8_t ground = light ? 0 : 255;
    const std::vector<std::uint8_t> expected = {ink,    ink,    ink,    ground, ground, ground,
                                                ground, ground, ground, ink,    ink,    ink};
    CHECK(sign.pixels == expected);
  }
}

TEST_CASE("tiles cover a picture of any shape at the scale of its print", "[unit]") {
  for (const auto& [width, height] :
       {std::pair{340, 5820}, {4000, 3000}, {320, 240}, {1, 1}, {20000, 100}, {1654, 2339}}) {
    INFO(width << " x " << height);
    const image::DetectionGrid grid = image::detection_grid(width, height, 1536);
    CHECK(grid.tile_width % 32 == 0);
    CHECK(grid.tile_height % 32 == 0);
    CHECK(grid.tile_width <= 1536);
    CHECK(grid.tile_height <= 1536);
    CHECK((grid.tile_width - 128) * (grid.n_across - 1) + grid.tile_width >= grid.width + 64);
    CHECK((grid.tile_height - 128) * (grid.n_down - 1) + grid.tile_height >= grid.height + 64);
    if (width * height <= 4000000) CHECK(grid.scale >= 1.0);
  }
}

TEST_CASE("print that crosses the seams of tiles is found once", "[unit]") {
  // The map is what a detector would give: bright where the page has a bar.
  cv::Mat page(3000, 400, CV_8UC3, cv::Scalar(255, 255, 255));
  for (int y = 40; y + 20 < page.rows; y += 37)
    cv::rectangle(page, {30, y}, {360, y + 18}, cv::Scalar(0, 0, 0), cv::FILLED);
  const image::Detection found = image::detect_text(page, {}, [](const cv::Mat& tile) {
    cv::Mat grey, map;
    cv::cvtColor(tile, grey, cv::COLOR_BGR2GRAY);
    grey.convertTo(map, CV_32F, -1.0 / 255, 1);
    return map;
  });
  CHECK(found.boxes.size() == (3000 - 20 - 40 + 36) / 37);
  CHECK_FALSE(found.too_small);
}

TEST_CASE("spaces come from the blanks between words", "[unit]") {
  const auto line_of = [](const std::vector<int>& gaps, std::vector<image::PlacedCharacter>& letters) {
    cv::Mat line(48, 900, CV_8UC3, cv::Scalar(255, 255, 255));
    int x = 10;
    for (std::size_t i = 0; i <= gaps.size(); ++i) {
      cv::rectangle(line, {x, 10}, {x + 12, 38}, cv::Scalar(0, 0, 0), cv::FILLED);
      letters.push_back({std::string(1, static_cast<char>('a' + i)), static_cast<float>(x + 6)});
      x += 13 + (i < gaps.size() ? gaps[i] : 0);
    }
    return line.colRange(0, x + 10).clone();
  };
  std::vector<image::PlacedCharacter> letters;
  const cv::Mat line = line_of({3, 4, 14, 3, 3, 15, 3}, letters);
  CHECK(image::with_word_gaps(letters, line) == "abc def gh");
  std::vector<image::PlacedCharacter> wide;
  const cv::Mat spaced = line_of({9, 9, 10, 9, 9, 9}, wide);
  CHECK(image::with_word_gaps(wide, spaced) == "abcdefg");  // letters that are set apart are no words
  for (image::PlacedCharacter& letter : letters) letter.text = "春";
  CHECK(image::with_word_gaps(letters, line).find(' ') == std::string::npos);
}

TEST_CASE("columns of running text are read one after the other, tables row by row", "[unit]") {
  std::vector<TextSpan> columns = {piece("A title over both columns of this page", 40, 0, 700)};
  std::vector<TextSpan> table;
  std::string expected = "A title over both columns of this page", rows;
  for (int i = 0; i < 6; ++i) {
    columns.push_back(piece("right " + std::to_string(i), 460, 40.0f + 30 * i, 300));
    columns.push_back(piece("left " + std::to_string(i), 40, 44.0f + 30 * i, 280));
    expected += "\nleft " + std::to_string(i);
    table.push_back(piece("p" + std::to_string(i), 500, 43.0f + 30 * i, 40));
    table.push_back(piece("Name of article " + std::to_string(i), 40, 40.0f + 30 * i, 220));
    table.push_back(piece("q" + std::to_string(i), 350, 42.0f + 30 * i, 30));
    const std::string n = std::to_string(i);
    rows += (i > 0 ? "\nName of article " : "Name of article ") + n + " q" + n + " p" + n;
  }
  for (int i = 0; i < 6; ++i) expected += "\nright " + std::to_string(i);
  CHECK(laid_out(columns) == expected);
  CHECK(laid_out(table) == rows);
}

TEST_CASE("vertical writing goes in columns from right to left", "[unit]") {
  std::vector<TextSpan> spans;
  const std::vector<std::string> right = {"春", "眠", "不", "觉"}, left = {"处", "处", "闻", "啼"};
  for (std::size_t i = 0; i < 4; ++i) {
    spans.push_back(piece(left[i], 20, 30.0f + 80 * static_cast<float>(i), 60, 62));
    spans.push_back(piece(right[i], 140, 30.0f + 80 * static_cast<float>(i), 60, 62));
  }
  CHECK(laid_out(spans) == "春眠不觉\n处处闻啼");
  // The same characters set in lines are read in lines.
  std::vector<TextSpan> lying;
  for (std::size_t i = 0; i < 3; ++i)
    lying.push_back(piece("春眠不觉", 20, 30.0f + 90 * static_cast<float>(i), 240, 62));
  CHECK(laid_out(lying) == "春眠不觉\n春眠不觉\n春眠不觉");
}
