#include "tools/options.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

namespace fd::run {

const char* const kHelp =
    "fastdiff-run ENGINE.fdiff [options]: draws images with an engine file\n"
    "\n"
    "  --n N                  how many images (64)\n"
    "  --seed S               first seed; image k has seed S + k (0)\n"
    "  --label NAME           draw this class\n"
    "  --context WHAT         each (class in turn), none, or the vector itself: 0,0.5,0.5\n"
    "                         (each where the model has named classes, else none)\n"
    "  --guidance G           classifier-free guidance scale (1: none)\n"
    "  --guidance-rescale P   0 to 1, against the glare of large scales (0)\n"
    "  --out FILE             .png: a grid; .raw: float32 [n, C, H, W] (out/samples.png)\n"
    "  --columns C            images in a row of the grid\n"
    "  --scale S              screen pixels per pixel, 1 to 64 (4)\n"
    "  --threads T            at most so many (FASTDIFF_THREADS, else all CPUs)\n"
    "  --precision P          float32 or bf16 (float32)\n"
    "  --no-autotune          choose algorithms by rule, time none\n"
    "  --quiet                print nothing but errors\n"
    "  --info                 say what the file holds and how it would be computed; draw nothing\n"
    "  --help, --version\n";

void fail(const std::string& name, const std::string& expected, const std::string& got) {
  throw Failure(name + ": expected " + expected + ", got '" + got + "'");
}

bool Options::raw() const { return out.size() >= 4 && out.compare(out.size() - 4, 4, ".raw") == 0; }

float parse_float(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const float value = std::strtof(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value)) fail(name, "a number", text);
  return value;
}

namespace {

std::uint64_t whole(const std::string& name, const std::string& text, std::uint64_t low,
                    std::uint64_t high) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
  // strtoull takes signs and leading blanks, and -1 for its largest number.
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || errno != 0 || value < low || value > high) {
    fail(name, "a whole number from " + std::to_string(low) + " to " + std::to_string(high), text);
  }
  return value;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() > end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// What makes sense of single flags but not of all together.
void check(const Options& options) {
  if (options.help || options.version) return;
  if (options.engine.empty()) {
    throw Failure("ENGINE: expected an engine file (see fastdiff-run --help), got none");
  }
  if (options.label && options.context) {
    throw Failure("--label: expected none beside --context, got both");
  }
  if (!ends_with(options.out, ".png") && !ends_with(options.out, ".raw")) {
    fail("--out", "a .png or .raw file", options.out);
  }
}

}  // namespace

Options parse(int argc, const char* const* argv) {
  Options options;
  using Take = std::function<void(const std::string& name, const std::string& value)>;
  const std::map<std::string, Take> valued = {
      {"--n", [&](auto& name, auto& value) { options.n = whole(name, value, 1, 10'000'000); }},
      {"--seed",
       [&](auto& name, auto& value) { options.seed = whole(name, value, 0, UINT64_MAX); }},
      {"--label", [&](auto&, auto& value) { options.label = value; }},
      {"--context", [&](auto&, auto& value) { options.context = value; }},
      {"--guidance", [&](auto& name, auto& value) { options.guidance = parse_float(name, value); }},
      {"--guidance-rescale",
       [&](auto& name, auto& value) { options.guidance_rescale = parse_float(name, value); }},
      {"--out", [&](auto&, auto& value) { options.out = value; }},
      {"--columns",
       [&](auto& name, auto& value) { options.columns = whole(name, value, 1, 1024); }},
      {"--scale", [&](auto& name, auto& value) { options.scale = whole(name, value, 1, 64); }},
      {"--threads",
       [&](auto& name, auto& value) {
         options.threads = static_cast<int>(whole(name, value, 1, 1024));
       }},
      {"--precision",
       [&](auto& name, auto& value) {
         if (value != "float32" && value != "bf16") fail(name, "float32 or bf16", value);
         options.bf16 = value == "bf16";
       }},
  };
  const std::map<std::string, bool*> switches = {
      {"--quiet", &options.quiet}, {"--info", &options.info},       {"--help", &options.help},
      {"-h", &options.help},       {"--version", &options.version},
  };
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.size() < 2 || argument[0] != '-') {
      if (!options.engine.empty())
        fail("ENGINE", "one file, after '" + options.engine + "' no other", argument);
      options.engine = argument;
      continue;
    }
    if (argument == "--no-autotune") {
      options.autotune = false;
      continue;
    }
    if (const auto found = switches.find(argument); found != switches.end()) {
      *found->second = true;
      continue;
    }
    const std::size_t equals = argument.find('=');  // --n=8 is --n 8
    const std::string name = argument.substr(0, equals);
    const auto found = valued.find(name);
    if (found == valued.end()) {
      fail("option", "one of those that fastdiff-run --help lists", name);
    }
    if (equals == std::string::npos && i + 1 == argc) throw Failure(name + ": expected a value");
    found->second(name, equals == std::string::npos ? argv[++i] : argument.substr(equals + 1));
  }
  check(options);
  return options;
}

}  // namespace fd::run
