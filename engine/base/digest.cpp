// Digests by OpenSSL's libcrypto. See digest.h.
#include "base/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph {

std::string file_digest(const std::filesystem::path& file, Digest kind, std::string_view prefix) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(fdopen(open_regular_file(file, ErrorCode::resource), "rb"),
                                                           std::fclose);
  if (!in) throw Error(ErrorCode::resource, file.string(), "cannot be read to compute its digest");
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), kind == Digest::sha1 ? EVP_sha1() : EVP_sha256(), nullptr);
  EVP_DigestUpdate(context.get(), prefix.data(), prefix.size());
  std::vector<char> buffer(1 << 20);
  for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), in.get())) > 0;)
    EVP_DigestUpdate(context.get(), buffer.data(), got);
  if (std::ferror(in.get()) != 0) throw Error(ErrorCode::resource, file.string(), "cannot be read to its end");
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &length);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

}  // namespace morph
