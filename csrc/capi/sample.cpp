// Requests from C, and what a callback may look at.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "capi/engine.h"
#include "capi/growing.h"
#include "capi/guard.h"
#include "sampling/loop.h"

struct fd_row {
  const fd::RowView* view;
  std::size_t elements;  // of x
};

namespace fd {
namespace {

// The size of the first version of the struct; never changed when fields are added.
constexpr std::size_t kFirstRequestSize = offsetof(fd_request, user) + sizeof(void*);
static_assert(kFirstRequestSize == sizeof(fd_request), "no padding that a later field could use");

// Values given once for all or for each image: float [n, width], from [count, width]; null where
// count is 0. `copy` holds them where they had to be repeated.
const float* for_each_image(const char* name, const float* values, std::size_t count, std::size_t n,
                            std::size_t width, std::vector<float>* copy) {
  const auto field = [name](const char* suffix) { return std::string("request.") + name + suffix; };
  if (count == 0) {
    if (values != nullptr) fail_argument(field("_count"), "1 or n with values", "0");
    return nullptr;
  }
  if (count != 1 && count != n) {
    fail_argument(field("_count"), "0, 1 or n = " + std::to_string(n), std::to_string(count));
  }
  if (values == nullptr) fail_argument(field(""), "a pointer to its values", "null");
  if (count == n) return values;
  copy->resize(n * width);
  for (std::size_t i = 0; i < n; ++i) std::copy_n(values, width, copy->data() + i * width);
  return copy->data();
}

// fd_request as fd::SampleRequest; what has to be made for it lies in `memory`.
class Prepared {
 public:
  Prepared(const Engine& engine, const fd_request& given, RequestMemory& memory) : memory_(memory) {
    const EngineFile& file = engine.file();
    const std::size_t n = given.n;
    const auto width = static_cast<std::size_t>(file.context_width);
    const std::size_t largest =
        SIZE_MAX / sizeof(double) / std::max(engine.shape().elements(), width + 1);
    if (n > largest) {
      fail_argument("request.n", "at most " + std::to_string(largest), std::to_string(n));
    }
    request.n = n;
    set_table(file, given);
    set_seeds(given);
    if (width == 0 && (given.context != nullptr || given.context_count != 0)) {
      fail_argument("request.context", "none, this model takes no context",
                    std::to_string(given.context_count));
    }
    request.context =
        for_each_image("context", given.context, given.context_count, n, width, &memory_.context);
    request.guidance =
        for_each_image("guidance", given.guidance, given.guidance_count, n, 1, &memory_.guidance);
    if (request.guidance != nullptr &&
        std::all_of(request.guidance, request.guidance + n, [](float g) { return g == 1.0f; })) {
      request.guidance = nullptr;
    }
    if (request.guidance != nullptr && request.context == nullptr) {
      fail_argument("request.guidance", "a context to guide towards", "none");
    }
    request.guidance_rescale =
        for_each_image("guidance_rescale", given.guidance_rescale, given.guidance_rescale_count, n,
                       1, &memory_.guidance_rescale);
    if (given.guided_rows != 0) request.guided_rows = given.guided_rows;
    set_start(given);
  }

  SampleRequest request;

 private:
  void set_table(const EngineFile& file, const fd_request& given) {
    if (given.table == nullptr) {
      if (given.table_rows != 0) fail_argument("request.table", "a pointer to its rows", "null");
      request.table = {file.table.data(), file.table_rows(), file.init_scale};
      return;
    }
    if (given.table_rows == 0) fail_argument("request.table_rows", "at least 1", "0");
    const double scale = given.init_scale == 0 ? 1 : given.init_scale;
    request.table = {given.table, given.table_rows, scale};
  }

  void set_seeds(const fd_request& given) {
    request.seeds = given.seeds;
    if (given.seeds != nullptr) return;
    if (given.n > 0 && given.seed > UINT64_MAX - (given.n - 1)) {
      fail_argument("request.seed", "seed + n - 1 below 2^64", std::to_string(given.seed));
    }
    memory_.seeds.resize(given.n);
    std::iota(memory_.seeds.begin(), memory_.seeds.end(), given.seed);
    request.seeds = memory_.seeds.data();
  }

  void set_start(const fd_request& given) {
    if (given.mask != nullptr && given.image == nullptr) {
      fail_argument("request.mask", "an image to keep a part of", "none");
    }
    if (given.x_T != nullptr && given.image != nullptr) {
      fail_argument("request.x_T", "none beside an image, which is a start of its own", "both");
    }
    request.x_T = given.x_T;
    request.image = given.image;
    request.mask = given.mask;
    request.from_image = given.image != nullptr && (given.mask == nullptr || given.from_image != 0);
  }

  RequestMemory& memory_;
};

// Written so that nan, which a broken model may make, stays nan.
void clip(float* x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) x[i] = x[i] < -1.0f ? -1.0f : x[i] > 1.0f ? 1.0f : x[i];
}

}  // namespace
}  // namespace fd

fd_status fd_sample(const fd_engine* engine, const fd_request* request, float* out,
                    size_t* rows_done) {
  return fd::guarded([&] {
    const fd::Engine& made = fd::engine_of(engine);
    const fd_request given = fd::known_part("request", request, fd::kFirstRequestSize);
    const auto memory = engine->requests.take();
    fd::Prepared prepared(made, given, *memory);
    const size_t values = given.n * made.shape().elements();
    if (values != 0 && out == nullptr) {
      fd::fail_argument("out", "a pointer to n * C * H * W values", "null");
    }
    const size_t rows = prepared.request.table.rows;
    const auto after_row = [&](const fd::RowView& view) {
      const fd_row row = {&view, values};
      return given.after_row(given.user, view.rows_done(), rows, &row) == 0;
    };
    // By reference: the closure itself would not fit into a std::function without an allocation.
    if (given.after_row != nullptr) prepared.request.after_row = std::cref(after_row);
    const size_t done = made.sample(prepared.request, out);
    const bool latents = given.table == nullptr && made.file().to_noise;
    if (given.no_clip == 0 && !latents) fd::clip(out, values);
    if (rows_done != nullptr) *rows_done = done;
  });
}

const float* fd_row_x(const fd_row* row) { return row->view->x(); }

fd_status fd_row_x0(const fd_row* row, float* out) {
  return fd::guarded([&] {
    if (row == nullptr) fd::fail_argument("row", "the callback's", "null");
    if (!row->view->has_x0()) {
      fd::fail_argument("x0", "a table that says how the image follows from x and m",
                        "none of that in row " + std::to_string(row->view->rows_done() - 1));
    }
    if (out == nullptr && row->elements != 0) {
      fd::fail_argument("out", "a pointer to n * C * H * W values", "null");
    }
    row->view->x0(out);
  });
}
