// fastdiff-run: draws images with an engine file, through the C API alone.

#include <fastdiff/fastdiff.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/options.h"
#include "tools/output.h"
#include "tools/png.h"
#include "tools/sheet.h"

namespace fd::run {
namespace {

constexpr std::size_t kGridImages = 1024;  // a larger sheet is no picture that anyone can open
constexpr std::size_t kPlannedBatch = 64;  // what --info describes at most

using Clock = std::chrono::steady_clock;
using Handle = std::unique_ptr<fd_engine, decltype(&fd_engine_free)>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(fd_status status) {
  if (status != FD_OK) throw Failure(fd_last_error());
}

void show_tuning(void*, std::size_t done, std::size_t total) {
  std::fprintf(stderr, "\rtiming algorithms: %zu of %zu%s", done, total,
               done == total ? "\r\033[K" : "");
}

Handle load(const Options& options) {
  fd_engine_options how{};
  how.size = sizeof(how);
  how.threads = options.threads;
  how.precision = options.bf16 ? FD_BF16 : FD_FLOAT32;
  how.no_autotune = !options.autotune;
  if (!options.quiet && isatty(STDERR_FILENO)) how.progress = show_tuning;
  fd_engine* engine = nullptr;
  check(fd_engine_load(options.engine.c_str(), &how, &engine));
  return Handle(engine, &fd_engine_free);
}

fd_info info_of(const fd_engine* engine) {
  fd_info info{};
  info.size = sizeof(info);
  check(fd_engine_info(engine, &info));
  return info;
}

void print_info(const Options& options, const fd_engine* engine) {
  const fd_info info = info_of(engine);
  std::printf("%s: %zu x %zu x %zu, %s, %zu rows\n", info.name, info.channels, info.height,
              info.width, info.table_name, info.table_rows);
  if (info.context_width != 0) std::printf("context: %zu numbers", info.context_width);
  for (std::size_t k = 0; k < info.label_count; ++k) {
    std::printf("%s%s", k == 0 ? ": " : ", ", info.labels[k]);
  }
  std::printf("%sschedule: %s\n", info.context_width != 0 ? "\n" : "", info.schedule);
  std::printf("fastdiff %s, %s, %s, %d thread%s\n", fd_version(), info.isa, info.precision,
              info.threads, info.threads == 1 ? "" : "s");
  const std::size_t batch = std::min(options.n, kPlannedBatch);
  std::size_t length = 0;
  check(fd_engine_describe(engine, batch, nullptr, 0, &length));
  std::vector<char> text(length + 1);
  check(fd_engine_describe(engine, batch, text.data(), text.size(), nullptr));
  std::printf("\n%s\n", text.data());
}

struct Contexts {
  std::vector<float> values;        // [count, width]
  std::size_t count = 0;            // 0, 1 or n
  std::vector<std::size_t> groups;  // images of each class, where each has some
};

std::vector<float> numbers(const std::string& text) {
  std::vector<float> values;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    values.push_back(parse_float("--context", text.substr(at, comma - at)));
    at = comma + 1;
  }
  return values;
}

// As the Python command reads them: n shared out evenly among the classes, in their order.
Contexts each(const Options& options, const fd_engine* engine, const fd_info& info) {
  Contexts contexts;
  contexts.count = options.n;
  contexts.values.reserve(options.n * info.context_width);
  std::vector<float> one(info.context_width);
  for (std::size_t k = 0; k < info.label_count; ++k) {
    const std::size_t share =
        options.n / info.label_count + (k < options.n % info.label_count ? 1 : 0);
    check(fd_engine_context(engine, info.labels[k], one.data()));
    for (std::size_t i = 0; i < share; ++i) {
      contexts.values.insert(contexts.values.end(), one.begin(), one.end());
    }
    contexts.groups.push_back(share);
  }
  return contexts;
}

Contexts contexts_of(const Options& options, const fd_engine* engine, const fd_info& info) {
  Contexts contexts;
  if (options.label) {
    if (info.context_width == 0)
      throw Failure("--label: expected none, this model takes no context");
    contexts.count = 1;
    contexts.values.resize(info.context_width);
    check(fd_engine_context(engine, options.label->c_str(), contexts.values.data()));
    return contexts;
  }
  const std::string typed = options.context.value_or(info.label_count != 0 ? "each" : "none");
  if (typed == "none") return contexts;
  if (typed == "each") {
    if (info.label_count == 0) {
      throw Failure("--context: expected numbers or none, 'each' needs a model with named classes");
    }
    return each(options, engine, info);
  }
  contexts.values = numbers(typed);
  contexts.count = 1;
  if (contexts.values.size() != info.context_width) {
    throw Failure("--context: expected " + std::to_string(info.context_width) + " numbers, got " +
                  std::to_string(contexts.values.size()));
  }
  return contexts;
}

std::vector<float> draw(const Options& options, const fd_engine* engine, const fd_info& info,
                        const Contexts& contexts) {
  fd_request request{};
  request.size = sizeof(request);
  request.n = options.n;
  request.seed = options.seed;
  request.context = contexts.count == 0 ? nullptr : contexts.values.data();
  request.context_count = contexts.count;
  if (options.guidance) {
    request.guidance = &*options.guidance;
    request.guidance_count = 1;
  }
  request.guidance_rescale = &options.guidance_rescale;
  request.guidance_rescale_count = 1;
  std::vector<float> images(options.n * info.channels * info.height * info.width);
  check(fd_sample(engine, &request, images.data(), nullptr));
  return images;
}

void write(const Options& options, const fd_info& info, const std::vector<float>& images,
           const Contexts& contexts, Output* output) {
  if (options.raw()) {
    output->finish(images.data(), images.size() * sizeof(float));
    return;
  }
  std::vector<std::uint8_t> pixels(images.size());
  check(fd_images_to_u8(images.data(), options.n, info.channels, info.height, info.width,
                        pixels.data()));
  const SheetImages drawn = {pixels.data(), options.n, info.height, info.width, info.channels};
  const Sheet sheet = lay_out(drawn, contexts.groups, options.columns, options.scale);
  const auto file = png(sheet.pixels, static_cast<std::uint32_t>(sheet.width),
                        static_cast<std::uint32_t>(sheet.height));
  output->finish(file.data(), file.size());
}

void check_picture(const Options& options, const fd_info& info) {
  if (options.raw()) return;
  if (info.channels != 1 && info.channels != 3) {
    throw Failure("--out: expected a .raw file, images of " + std::to_string(info.channels) +
                  " channels are no picture");
  }
  if (options.n > kGridImages) {
    throw Failure("--out: expected a .raw file for more than " + std::to_string(kGridImages) +
                  " images, got " + options.out);
  }
}

void run(const Options& options) {
  const auto start = Clock::now();
  const Handle engine = load(options);
  const double loading = seconds_since(start);
  if (options.info) return print_info(options, engine.get());
  const fd_info info = info_of(engine.get());
  check_picture(options, info);
  const Contexts contexts = contexts_of(options, engine.get(), info);
  Output output(options.out);

  const auto drawing_start = Clock::now();
  const std::vector<float> images = draw(options, engine.get(), info, contexts);
  const double drawing = seconds_since(drawing_start);
  const auto writing_start = Clock::now();
  write(options, info, images, contexts, &output);
  const double writing = seconds_since(writing_start);
  if (options.quiet) return;
  std::printf(
      "%zu image%s of %s, %s, %s, %s, %d thread%s; load %.3f s, sampling %.3f s, writing %.3f s: "
      "%s\n",
      options.n, options.n == 1 ? "" : "s", info.name, info.table_name, info.isa, info.precision,
      info.threads, info.threads == 1 ? "" : "s", loading, drawing, writing, options.out.c_str());
}

}  // namespace
}  // namespace fd::run

int main(int argc, char** argv) {
  try {
    const fd::run::Options options = fd::run::parse(argc, argv);
    if (options.help) {
      std::fputs(fd::run::kHelp, stdout);
    } else if (options.version) {
      std::printf("fastdiff-run %s\n", fd_version());
    } else {
      fd::run::run(options);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fastdiff-run: error: %s\n", error.what());
    return 2;
  }
}
