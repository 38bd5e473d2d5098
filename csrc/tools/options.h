// The command line of fastdiff-run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace fd::run {

// Told in one sentence on stderr; exit code 2.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What "expected ..., got ..." says of a flag's value.
[[noreturn]] void fail(const std::string& name, const std::string& expected,
                       const std::string& got);

struct Options {
  std::string engine;  // path
  std::string out = "out/samples.png";
  std::size_t n = 64;
  std::uint64_t seed = 0;
  std::optional<std::string> context;  // as typed: each, none or numbers
  std::optional<std::string> label;
  std::optional<float> guidance;
  float guidance_rescale = 0;
  std::size_t columns = 0;  // 0: as many as suits
  std::size_t scale = 4;
  int threads = 0;
  bool bf16 = false, autotune = true, quiet = false, info = false, help = false, version = false;

  bool raw() const;  // whether `out` takes the numbers themselves
};

extern const char* const kHelp;

// The options of a command line; Failure where it makes no sense.
Options parse(int argc, const char* const* argv);

// The whole text as a finite number.
float parse_float(const std::string& name, const std::string& text);

}  // namespace fd::run
