// Runs one fuzz target over the files of corpus folders, for compilers without libFuzzer. A crash or an uncaught
// exception ends the program; so does a corpus that is missing or empty, because a replay of nothing tests nothing.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::size_t n_files = 0;
  for (int i = 1; i < argc; ++i) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(argv[i], error)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      std::cerr << "replay " << entry.path().filename().string() << " (" << bytes.size() << " bytes)\n";
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
      ++n_files;
    }
  }
  if (n_files == 0) {
    std::cerr << "replay: expected corpus files in the folders given, found none\n";
    return 1;
  }
  LLVMFuzzerTestOneInput(nullptr, 0);
  std::cout << n_files << " corpus files replayed\n";
  return 0;
}
