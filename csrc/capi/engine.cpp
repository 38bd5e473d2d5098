// Engines for C: load, describe, free.
#include "capi/engine.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "capi/growing.h"
#include "capi/guard.h"
#include "core/cpu_count.h"
#include "cpu/dispatch.h"

namespace fd {

const Engine& engine_of(const fd_engine* engine) {
  if (engine == nullptr) fail_argument("engine", "one from fd_engine_load", "null");
  return *engine->engine;
}

namespace {

// The sizes that the first version of the structs had; never changed when fields are added.
constexpr std::size_t kFirstOptionsSize =
    offsetof(fd_engine_options, progress_user) + sizeof(void*);
constexpr std::size_t kFirstInfoSize = offsetof(fd_info, isa) + sizeof(const char*);
static_assert(kFirstOptionsSize == sizeof(fd_engine_options) && kFirstInfoSize == sizeof(fd_info),
              "no padding at the end that a later field could use");

const char* precision_name(Precision precision) {
  return precision == Precision::bf16 ? "bf16" : "float32";
}

EngineOptions options_of(const fd_engine_options& given) {
  if (given.threads < 0 || given.threads > kMaxThreads) {
    fail_argument("options.threads", "0 to " + std::to_string(kMaxThreads),
                  std::to_string(given.threads));
  }
  if (given.precision != FD_FLOAT32 && given.precision != FD_BF16) {
    fail_argument("options.precision", "FD_FLOAT32 or FD_BF16", std::to_string(given.precision));
  }
  EngineOptions options;
  options.threads = given.threads;
  options.precision = given.precision == FD_BF16 ? Precision::bf16 : Precision::float32;
  options.exact = given.exact != 0;
  options.autotune = given.no_autotune == 0;
  if (given.cache_dir != nullptr) options.cache_dir = given.cache_dir;
  if (given.progress != nullptr) {
    options.progress = [call = given.progress, user = given.progress_user](
                           std::size_t done, std::size_t total) { call(user, done, total); };
  }
  return options;
}

// What both ways of loading share; `read` gives the file.
template <class Read>
fd_status load(const fd_engine_options* given, fd_engine** out, Read&& read) {
  return guarded([&] {
    if (out == nullptr) fail_argument("out", "a pointer to an fd_engine*", "null");
    *out = nullptr;
    fd_engine_options known{};
    if (given != nullptr) known = known_part("options", given, kFirstOptionsSize);
    const EngineOptions options = options_of(known);
    auto handle = std::make_unique<fd_engine>();
    handle->precision = options.precision;
    handle->engine = Engine::make(read(), options);
    for (const std::string& label : handle->engine->file().labels) {
      handle->labels.push_back(label.c_str());
    }
    *out = handle.release();
  });
}

}  // namespace
}  // namespace fd

fd_status fd_engine_load(const char* path, const fd_engine_options* options, fd_engine** out) {
  return fd::load(options, out, [&] {
    if (path == nullptr) fd::fail_argument("path", "an engine file's path", "null");
    return fd::read_engine_file(std::string(path));
  });
}

fd_status fd_engine_load_memory(const void* bytes, size_t size, const fd_engine_options* options,
                                fd_engine** out) {
  return fd::load(options, out, [&] {
    if (bytes == nullptr) fd::fail_argument("bytes", "an engine file's content", "null");
    return fd::read_engine_file(bytes, size, "bytes");
  });
}

void fd_engine_free(fd_engine* engine) { delete engine; }

fd_status fd_engine_info(const fd_engine* engine, fd_info* info) {
  return fd::guarded([&] {
    const fd::Engine& made = fd::engine_of(engine);
    const size_t size = fd::known_size("info", info, fd::kFirstInfoSize);
    const fd::EngineFile& file = made.file();
    fd_info all{};
    all.size = size;
    all.name = file.name.c_str();
    all.channels = made.shape().channels;
    all.height = made.shape().height;
    all.width = made.shape().width;
    all.context_width = static_cast<size_t>(file.context_width);
    all.label_count = engine->labels.size();
    all.labels = engine->labels.data();
    all.table_name = file.table_name.c_str();
    all.table = file.table.data();
    all.table_rows = file.table_rows();
    all.init_scale = file.init_scale;
    all.schedule = file.schedule.c_str();
    all.threads = made.threads();
    all.to_noise = file.to_noise;
    all.precision = fd::precision_name(engine->precision);
    all.isa = fd::isa_name(fd::active_isa());
    std::memcpy(info, &all, std::min(size, sizeof(all)));
  });
}

fd_status fd_engine_context(const fd_engine* engine, const char* label, float* out) {
  return fd::guarded([&] {
    const fd::EngineFile& file = fd::engine_of(engine).file();
    if (label == nullptr) fd::fail_argument("label", "a class's name", "null");
    const auto at = std::find(file.labels.begin(), file.labels.end(), label);
    if (*label != '\0' && at == file.labels.end()) {
      std::string known;
      for (const std::string& name : file.labels) known += (known.empty() ? "" : ", ") + name;
      fd::fail_argument(
          "label",
          file.labels.empty() ? "none, this model has no named classes" : "one of " + known,
          "'" + std::string(label) + "'");
    }
    if (file.context_width == 0) return;
    if (out == nullptr) fd::fail_argument("out", "a pointer to context_width values", "null");
    std::fill_n(out, file.context_width, 0.0f);
    if (*label != '\0') out[at - file.labels.begin()] = 1.0f;
  });
}

fd_status fd_engine_describe(const fd_engine* engine, size_t batch, char* text, size_t capacity,
                             size_t* length) {
  return fd::guarded([&] {
    const fd::Engine& made = fd::engine_of(engine);
    if (batch == 0) fd::fail_argument("batch", "at least 1", "0");
    if (capacity != 0 && text == nullptr) {
      fd::fail_argument("text", "a pointer to capacity bytes", "null");
    }
    const std::string all = made.describe(batch);
    if (length != nullptr) *length = all.size();
    if (capacity == 0) return;
    const size_t kept = std::min(capacity - 1, all.size());
    std::memcpy(text, all.data(), kept);
    text[kept] = '\0';
  });
}
