// Images: sniffing, the wire form, files that are none, the reading order of a turned page, and the text of
// assets/samples/scan.png ([weights]; skipped, by name, where the starter pack is not installed).
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "image_payload.h"
#include "io/image_file.h"
#include "io/image_size.h"
#include "morph/error.h"
#include "morph/model.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "reading/page_layout.h"
#include "skipped.h"
#include "testing/stage_harness.h"

namespace morph::image {
void register_read(Registry& registry);
void register_read_text(Registry& registry);
}  // namespace morph::image

using namespace morph;
using namespace std::string_literals;
using Catch::Contains;
using morph::testing::StageHarness;

namespace {

std::filesystem::path samples() {
  const char* const source = std::getenv("MORPH_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return std::filesystem::path(source) / "assets" / "samples";
}

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct ScratchFolder {
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "morph-image-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path path;
};

/// Two digits a byte; blanks between bytes are free.
std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    if (digits[i] == ' ') ++i;
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// What decoding this throws, "" when nothing.
std::string refusal(const std::string& file) {
  try {
    image::decode_file(bytes_of(file), "page.png");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::format);
    return error.what();
  }
  return "";
}

Image checkered(int width, int height, int channels) {
  Image image;
  image.width = width;
  image.height = height;
  image.channels = channels;
  image.pixels.resize(static_cast<std::size_t>(width * height * channels));
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 5);
  return image;
}

std::vector<std::byte> encoded(const Image& image) {
  std::vector<std::byte> bytes;
  image.encode(bytes);
  return bytes;
}

/// A box with this top left corner on a page that is then turned by `degrees` about its origin.
TextSpan piece(const std::string& text, float x, float y, float width, float height, double degrees) {
  const auto c = static_cast<float>(std::cos(degrees * 3.14159265358979 / 180));
  const auto s = static_cast<float>(std::sin(degrees * 3.14159265358979 / 180));
  TextSpan span;
  span.text = text;
  span.box.emplace();
  const float corners[4][2] = {{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}};
  for (std::size_t i = 0; i < 4; ++i) {
    (*span.box)[2 * i] = c * corners[i][0] - s * corners[i][1];
    (*span.box)[2 * i + 1] = s * corners[i][0] + c * corners[i][1];
  }
  return span;
}

/// Characters to insert, drop or replace.
std::size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t best = std::min({row[j] + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0 : 1)});
      corner = std::exchange(row[j], best);
    }
  }
  return row.back();
}

/// By 90 degrees, counter-clockwise.
Image turned_left(const Image& page) {
  Image turned = page;
  turned.width = page.height;
  turned.height = page.width;
  for (int y = 0; y < turned.height; ++y)
    for (int x = 0; x < turned.width; ++x)
      for (int c = 0; c < 3; ++c)
        turned.pixels[static_cast<std::size_t>((y * turned.width + x) * 3 + c)] =
            page.pixels[static_cast<std::size_t>((x * page.width + page.width - 1 - y) * 3 + c)];
  return turned;
}

/// LINES of make_scan.py, joined by newlines: what the scan says.
std::string drawn_text() {
  std::ifstream in(samples() / "make_scan.py");
  REQUIRE(in);
  std::string text, line;
  for (bool inside = false; std::getline(in, line) && !(inside && line == "]");) {
    if (inside) text += (text.empty() ? "" : "\n") + line.substr(5, line.size() - 7);  // `    "` and `",`
    inside = inside || line == "LINES = [";
  }
  return text;
}

}  // namespace

TEST_CASE("images are known by their first bytes", "[unit][image]") {
  const std::string rest(32, '\0');
  for (const std::string& head :
       {"\x89PNG\r\n\x1a\n"s, "\xff\xd8\xff\xe0"s, "II*\0"s, "MM\0*"s, "RIFF\x10\0\0\0WEBPVP8 "s,
        "BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"s, "P6\n2 2\n255\n"s, "P2 2 2 255 "s, "\0\0\0\x0cjP  \r\n\x87\n"s}) {
    INFO(head.substr(0, 4));
    CHECK(image::sniff_image(bytes_of(head + rest)) == "image");
  }
  for (const std::string& head :
       {""s, "\x89PN"s, "\x89PNG\n\x1a\n"s, "RIFF\x10\0\0\0WAVEfmt "s, "BM, he said."s,
        "BMW makes cars and nothing else here"s, "P7\n"s, "P6"s, "PK\x03\x04"s, "fLaC"s, "Please read this page."s}) {
    INFO(head.substr(0, 4));
    CHECK(image::sniff_image(bytes_of(head)).empty());
  }
}

TEST_CASE("an image survives the wire", "[unit][image]") {
  for (const int channels : {1, 3, 4}) {
    const Image image = checkered(7, 5, channels);
    const auto back = std::dynamic_pointer_cast<const Image>(image::decode_image(encoded(image)));
    REQUIRE(back);
    CHECK(back->width == 7);
    CHECK(back->height == 5);
    CHECK(back->channels == channels);
    CHECK(back->pixels == image.pixels);
  }
}

TEST_CASE("wire bytes that hold no image are refused", "[unit][image]") {
  const std::vector<std::byte> whole = encoded(checkered(4, 3, 3));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    INFO(n << " bytes");
    CHECK_THROWS_AS(image::decode_image(std::span(whole).first(n)), Error);
  }
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte{0});
  CHECK_THROWS_AS(image::decode_image(longer), Error);
  // Version, width, height, channels: each changed alone contradicts the number of pixels.
  for (const std::size_t at : {0u, 1u, 4u, 5u, 8u, 9u, 12u}) {
    INFO("byte " << at);
    std::vector<std::byte> changed = whole;
    changed[at] ^= std::byte{0x40};
    CHECK_THROWS_AS(image::decode_image(changed), Error);
  }
}

TEST_CASE("a file becomes RGB pixels", "[unit][image]") {
  const auto colour = image::decode_file(bytes_of("P6\n2 1\n255\n\x01\x02\x03\xf0\x80\x10"s), "page.ppm");
  CHECK(colour->width == 2);
  CHECK(colour->height == 1);
  CHECK(colour->channels == 3);
  CHECK(colour->pixels == std::vector<std::uint8_t>{1, 2, 3, 0xf0, 0x80, 0x10});
  const auto grey = image::decode_file(bytes_of("P5\n1 2\n255\n\x07\xc8"s), "page.pgm");
  CHECK(grey->height == 2);
  CHECK(grey->pixels == std::vector<std::uint8_t>{7, 7, 7, 200, 200, 200});
  const auto scan = image::decode_file(bytes_of(content(samples() / "scan.png")), "scan.png");
  CHECK(scan->width == 900);
  CHECK(scan->height == 400);
  CHECK(scan->pixels.size() == 900u * 400u * 3u);
}

TEST_CASE("a file that is no image is refused by name", "[unit][image]") {
  const std::string whole = content(samples() / "scan.png");
  std::string damaged = whole;
  for (std::size_t i = whole.size() / 3; i < whole.size() / 3 + 64; ++i) damaged[i] = static_cast<char>(~damaged[i]);
  CHECK_THAT(refusal(""), Contains("page.png") && Contains("empty"));
  for (const std::string& file :
       {"\x89PNG\r\n\x1a\n"s + std::string(200, '\0'), whole.substr(0, 8), whole.substr(0, 40),
        whole.substr(0, whole.size() / 2), damaged, "Dear Sir, this is a letter."s}) {
    INFO(file.size() << " bytes");
    CHECK_THAT(refusal(file), Contains("page.png") && Contains("expected") && Contains("PNG"));
  }
  // Headers that promise what no memory holds.
  for (const char* const header : {"P6\n1000000 1000000\n255\n", "P5\n2147483647 2147483647\n255\n", "P6\n0 0\n255\n"})
    CHECK_THAT(refusal(header), Contains("page.png"));
}

TEST_CASE("decoders do not print what they dislike, the error says it", "[unit][image]") {
  std::string damaged = content(samples() / "scan.png");
  for (std::size_t i = damaged.size() / 3; i < damaged.size() / 3 + 64; ++i)
    damaged[i] = static_cast<char>(~damaged[i]);
  std::FILE* const printed = std::tmpfile();
  REQUIRE(printed != nullptr);
  const int kept = dup(STDERR_FILENO);
  dup2(fileno(printed), STDERR_FILENO);
  const std::string message = refusal(damaged);
  dup2(kept, STDERR_FILENO);
  close(kept);
  CHECK(lseek(fileno(printed), 0, SEEK_END) == 0);
  std::fclose(printed);
  CHECK_THAT(message, Contains("PNG library error"));
}

TEST_CASE("the size of an image is known by its header", "[unit][image]") {
  const auto size = [](const std::string& file) {
    std::istringstream in(file);
    const auto found = image::read_image_size(in);
    return found ? fmt::format("{}x{}", found->width, found->height) : "";
  };
  CHECK(size(content(samples() / "scan.png")) == "900x400");
  CHECK(size("P6\n# a comment\n640 # and another\n480\n255\n"s) == "640x480");
  CHECK(size("P4 7 9 "s) == "7x9");
  CHECK(size("BM"s + std::string(12, '\0') + from_hex("28000000 05000000 f9ffffff")) == "5x7");  // from the top down
  CHECK(size(from_hex("ffd8 ffe1000845786966ffd9 ffff c2000b08 0102 0304 01 00 00 00")) == "772x258");
  CHECK(size(from_hex("49492a0008000000 0200 0001 0300 01000000 40010000 0101 0400 01000000 f0000000")) == "320x240");
  CHECK(size(from_hex("4d4d002a00000008 0002 0100 0003 00000001 01400000 0101 0004 00000001 000000f0")) == "320x240");
  const std::string riff = from_hex("52494646 00000000 57454250");
  CHECK(size(riff + from_hex("56503858 0a000000 00000000 3f0100 ef0000")) == "320x240");
  CHECK(size(riff + from_hex("56503820 00000000 000000 9d012a 4001 f000")) == "320x240");
  CHECK(size(riff + from_hex("5650384c 00000000 2f 3fc13b00 0000000000")) == "320x240");
  // Every beginning of a file, and headers that say nothing sensible.
  const std::string scan = content(samples() / "scan.png");
  for (std::size_t n = 0; n < 24; ++n) CHECK(size(scan.substr(0, n)).empty());
  for (const std::string& file :
       {"P6 0 5 "s, "P6 99999999999 5 "s, "P6"s, "\xff\xd8\xff"s, from_hex("ffd8 ffda0002 ffc0"),
        "II*\0\xff\xff\xff\xff"s, from_hex("49492a0008000000 ffff"), "Dear Sir, this is a letter."s})
    CHECK(size(file).empty());
}

TEST_CASE("the plan for reading a picture knows its size", "[unit][image]") {
  Registry registry;
  image::register_read(registry);
  image::register_read_text(registry);
  const StageSpec& read = *registry.find_stage("image/read");
  const SourceSize scan = read.measure(Params({{"path", (samples() / "scan.png").string()}}));
  CHECK(scan.bytes == 900 * 400 * 3);
  CHECK(scan.extents == std::vector<std::uint64_t>{900, 400});
  const ScratchFolder folder;
  const std::string pipe = (folder.path / "pipe").string();
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  for (const std::string& path : {pipe, folder.path.string(), "/no/such/page.png"s, "-"s})
    CHECK(read.measure(Params({{"path", path}})).bytes == 0);

  for (const char* const name : {"det.onnx", "rec.onnx"}) std::ofstream(folder.path / name) << std::string(1000, ' ');
  const StageSpec& read_text = *registry.find_stage("image/read_text");
  const Params params({{"model", "m"s}, {"max_side", std::int64_t{1536}}});
  const auto estimate = [&](std::vector<std::uint64_t> extents, const std::string& device, int n_threads) {
    const std::uint64_t bytes = extents.empty() ? 0 : extents[0] * extents[1] * 3;
    return read_text.estimate(
        ResolveContext{params, {}, [&](const std::string&) { return folder.path; }, device, bytes, extents, n_threads});
  };
  const Estimate page = estimate({}, "cpu", 1);
  CHECK(estimate({320, 240}, "cpu", 1).scratch < page.scratch);
  CHECK(estimate({3000, 3000}, "cpu", 1).scratch > page.scratch);
  CHECK(estimate({}, "cpu", 2).weights_key != page.weights_key);
  CHECK(estimate({}, "npu", 1).weights_key != page.weights_key);
  std::ofstream(folder.path / "cls.onnx") << std::string(1000, ' ');
  CHECK(estimate({}, "cpu", 1).weights == page.weights / 2 * 3);
  std::filesystem::remove(folder.path / "rec.onnx");
  CHECK_THROWS_AS(estimate({}, "cpu", 1), Error);
}

TEST_CASE("a JPEG that is cut short is noticed", "[unit][image]") {
  // The skeleton of a file: a segment with a preview that has an end of its own, tables, two scans of coded bytes.
  const std::string whole =
      from_hex("ffd8 ffe1000845786966ffd9 ffdb00040102 ffffda000301 10ff0020ffd030 ffda000301 55 ffd9");
  CHECK_FALSE(image::ends_early(bytes_of(whole)));
  CHECK_FALSE(image::ends_early(bytes_of(whole + "what a phone appends")));
  for (std::size_t n = 2; n < whole.size(); ++n) {
    INFO(n << " bytes");
    CHECK(image::ends_early(bytes_of(whole.substr(0, n))));
  }
  // What is no JPEG, or damaged otherwise, is for the decoder to judge.
  for (const std::string& file : {""s, "\xff"s, "\x89PNG\r\n\x1a\n"s, "\xff\xd8 nothing"s, whole.substr(0, 12) + "??"s})
    CHECK_FALSE(image::ends_early(bytes_of(file)));
}

TEST_CASE("image/read delivers or refuses a JPEG that is cut short", "[unit][image]") {
  // 8 x 8 pixels of grey.
  const std::string whole = from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c39"
      "33383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc0000b080008000801011100ffc40014000100000000"
      "000000000000000000000005ffc40014100100000000000000000000000000000000ffda0008010100003f0031ffd9");
  const ScratchFolder folder;
  const auto read = [&](const std::string& bytes, const std::string& on_truncated) {
    const std::filesystem::path path = folder.path / "page.jpg";
    std::ofstream(path, std::ios::binary) << bytes;
    Registry registry;
    image::register_read(registry);
    StageHarness harness(*registry.find_stage("image/read"),
                         Params({{"path", path.string()}, {"on_truncated", on_truncated}}));
    harness.run();
    CHECK(harness.take_as<Image>("image").at(0).width == 8);
    return harness.metric("truncated");
  };
  CHECK(read(whole, "error") == 0);
  CHECK(read(whole.substr(0, whole.size() - 2), "warn") == 1);
  CHECK_THROWS_WITH(read(whole.substr(0, whole.size() - 2), "error"), Contains("page.jpg") && Contains("truncated"));
}

TEST_CASE("image/read names the file it cannot read", "[unit][image]") {
  Registry registry;
  image::register_read(registry);
  const auto read = [&](const std::filesystem::path& path) {
    StageHarness harness(*registry.find_stage("image/read"), Params({{"path", path.string()}}));
    harness.run();
    return harness.take_as<Image>("image");
  };
  const auto pages = read(samples() / "scan.png");
  REQUIRE(pages.size() == 1);
  CHECK(pages[0].width == 900);
  CHECK_THROWS_WITH(read("/no/such/page.png"), Contains("/no/such/page.png"));
  CHECK_THROWS_WITH(read(samples() / "make_scan.py"), Contains("make_scan.py"));
}

TEST_CASE("pieces of a turned page are read line by line", "[unit][image]") {
  const double degrees = GENERATE(-10.0, 0.0, 10.0, 90.0, 175.0, 180.0, 185.0, -90.0);
  std::vector<TextSpan> spans;
  std::vector<std::string> lines;
  // Long lines: a turn by 10 degrees moves their ends by more than three lines.
  for (int line = 0; line < 6; ++line) {
    std::string whole;
    for (int word = 0; word < 5; ++word) {
      const std::string text = fmt::format("{}{}", static_cast<char>('a' + line), word);
      // Heights differ, as those of words with and without descenders do.
      const float height = word % 2 == 0 ? 30.0f : 24.0f;
      spans.push_back(piece(text, 100.0f + 200.0f * static_cast<float>(word), 300.0f + 45.0f * static_cast<float>(line),
                            180.0f, height, degrees));
      whole += (word > 0 ? " " : "") + text;
    }
    lines.push_back(whole);
  }
  const std::string expected = fmt::format("{}", fmt::join(lines, "\n"));
  std::mt19937 dice(7);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(spans.begin(), spans.end(), dice);
    std::vector<TextSpan> sorted = spans;
    const std::vector<int> line_of = image::sort_into_lines(sorted);
    REQUIRE(line_of.size() == sorted.size());
    CHECK(image::join_lines(sorted, line_of) == expected);
  }
}

TEST_CASE("a piece whose own direction is mistaken stays in its line", "[unit][image]") {
  // Of three words in two lines, a narrow one was taken for turned: its corners begin one further.
  for (const int n_quarters : {1, 2, 3}) {
    std::vector<TextSpan> spans;
    for (int line = 0; line < 2; ++line) {
      const float y = 40.0f * static_cast<float>(line);
      spans.push_back(piece(line == 0 ? "c" : "f", 220, y, 200, 28, 0));
      spans.push_back(piece(line == 0 ? "b" : "e", 205, y + 6, 10, 30, 0));
      spans.push_back(piece(line == 0 ? "a" : "d", 0, y, 200, 28, 0));
    }
    auto& box = *spans[1].box;
    std::rotate(box.begin(), box.begin() + 2 * n_quarters, box.end());
    CHECK(image::join_lines(spans, image::sort_into_lines(spans)) == "a b c\nd e f");
  }
}

TEST_CASE("pages with one piece or none", "[unit][image]") {
  std::vector<TextSpan> spans;
  CHECK(image::sort_into_lines(spans).empty());
  CHECK(image::join_lines(spans, {}).empty());
  spans.push_back(piece("alone", 5, 5, 50, 20, 0));
  CHECK(image::join_lines(spans, image::sort_into_lines(spans)) == "alone");
}

TEST_CASE("the scan is read as it was drawn", "[weights][image]") {
  const std::string model = GENERATE("pp-ocr-v4"s, "pp-ocr-v6-tiny"s);
  const auto installed = [&]() -> std::optional<std::filesystem::path> {
    try {
      return ModelLocator().find(model);
    } catch (const Error& error) {
      morph::testing::skipped(error.what());
      return std::nullopt;
    }
  }();
  if (!installed) return;
  Registry registry;
  image::register_read_text(registry);
  StageHarness harness(*registry.find_stage("image/read_text"), Params({{"model", model}}));
  harness.feed("image", Packet::data<Image>(image::decode_file(bytes_of(content(samples() / "scan.png")), "scan.png")));
  harness.end("image");
  REQUIRE(harness.run() == StepStatus::done);
  const auto texts = harness.take_as<Text>("text");
  REQUIRE(texts.size() == 1);
  const std::string expected = drawn_text();
  REQUIRE(std::count(expected.begin(), expected.end(), '\n') == 4);
  INFO(model << ":\n" << texts[0].utf8);
  CHECK(edits(texts[0].utf8, expected) <= 1);
  CHECK(texts[0].spans.size() >= 5);
  for (const TextSpan& span : texts[0].spans) {
    CHECK(span.confidence > 0.5f);
    REQUIRE(span.box);
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK((*span.box)[i] >= -1.0f);
      CHECK((*span.box)[i] <= (i % 2 == 0 ? 901.0f : 401.0f));
    }
  }
}

TEST_CASE("a page that was scanned upside down or on its side is read from its own top", "[weights][image]") {
  const std::string model = GENERATE("pp-ocr-v4"s, "pp-ocr-v6-tiny"s);
  const int n_quarters = GENERATE(1, 2, 3);
  try {
    ModelLocator().find(model);
  } catch (const Error& error) {
    morph::testing::skipped(error.what());
    return;
  }
  Image page = *image::decode_file(bytes_of(content(samples() / "scan.png")), "scan.png");
  for (int i = 0; i < n_quarters; ++i) page = turned_left(page);
  Registry registry;
  image::register_read_text(registry);
  StageHarness harness(*registry.find_stage("image/read_text"), Params({{"model", model}}));
  harness.feed("image", page);
  harness.end("image");
  REQUIRE(harness.run() == StepStatus::done);
  const auto texts = harness.take_as<Text>("text");
  REQUIRE(texts.size() == 1);
  INFO(model << ", turned left " << n_quarters << " times:\n" << texts[0].utf8);
  CHECK(edits(texts[0].utf8, drawn_text()) <= 1);
}

TEST_CASE("a blank page says nothing", "[weights][image]") {
  try {
    ModelLocator().find("pp-ocr-v4");
  } catch (const Error& error) {
    morph::testing::skipped(error.what());
    return;
  }
  Registry registry;
  image::register_read_text(registry);
  for (const auto& [width, height] : {std::pair(400, 300), std::pair(1, 1), std::pair(2000, 3)}) {
    INFO(width << " x " << height);
    Image blank;
    blank.width = width;
    blank.height = height;
    blank.pixels.assign(static_cast<std::size_t>(width * height * 3), 250);
    StageHarness harness(*registry.find_stage("image/read_text"));
    harness.feed("image", blank);
    harness.end("image");
    REQUIRE(harness.run() == StepStatus::done);
    const auto texts = harness.take_as<Text>("text");
    REQUIRE(texts.size() == 1);
    CHECK(texts[0].utf8.empty());
  }
}
