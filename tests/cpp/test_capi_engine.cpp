// Engines through the C API: what they say of themselves, samples, callbacks, and the error of each
// wrong input. The images themselves are held against other references in tests/native.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "fastdiff/fastdiff.h"

namespace {

const char* const kFile = FASTDIFF_GOLDEN_DIR "/tiny.fdiff";
constexpr std::size_t kElements = 2 * 8 * 6, kWidth = 3;

using Handle = std::unique_ptr<fd_engine, decltype(&fd_engine_free)>;

fd_engine_options plain_options(int threads = 2) {
  fd_engine_options options{};
  options.size = sizeof(options);
  options.threads = threads;
  options.no_autotune = 1;
  return options;
}

Handle loaded(int threads = 2) {
  const fd_engine_options options = plain_options(threads);
  fd_engine* engine = nullptr;
  CHECK_EQUAL(fd_engine_load(kFile, &options, &engine), FD_OK);
  if (engine == nullptr) throw std::runtime_error(fd_last_error());
  return Handle(engine, &fd_engine_free);
}

std::vector<char> file_bytes() {
  std::ifstream file(kFile, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

fd_request request_for(std::size_t n) {
  fd_request request{};
  request.size = sizeof(request);
  request.n = n;
  return request;
}

std::vector<float> drawn(const fd_engine* engine, const fd_request& request) {
  std::vector<float> out(request.n * kElements, 7.0f);
  std::size_t rows = 0;
  CHECK_EQUAL(fd_sample(engine, &request, out.data(), &rows), FD_OK);
  CHECK_EQUAL(rows, request.table_rows != 0 ? request.table_rows : 4u);
  return out;
}

// What the last call failed with.
std::string error_of(fd_status status) {
  CHECK_EQUAL(status, FD_INVALID_ARGUMENT);
  return fd_last_error();
}

bool begins(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

}  // namespace

TEST(an_engine_says_what_it_is) {
  const Handle engine = loaded(3);
  fd_info info{};
  info.size = sizeof(info);
  CHECK_EQUAL(fd_engine_info(engine.get(), &info), FD_OK);
  CHECK_EQUAL(std::string(info.name), "tiny");
  CHECK_EQUAL(info.channels, 2u);
  CHECK_EQUAL(info.height, 8u);
  CHECK_EQUAL(info.width, 6u);
  CHECK_EQUAL(info.context_width, kWidth);
  CHECK_EQUAL(info.label_count, 3u);
  CHECK_EQUAL(std::string(info.labels[2]), "\xce\xb3");
  CHECK_EQUAL(info.table_rows, 4u);
  CHECK_EQUAL(info.table[0], 1.0);  // t of the first row: level T
  CHECK_EQUAL(info.init_scale, 1.0);
  CHECK(check::contains(info.table_name, "ddim"));
  CHECK(check::contains(info.schedule, "\"course\""));
  CHECK_EQUAL(info.threads, 3);
  CHECK_EQUAL(info.to_noise, 0);
  CHECK_EQUAL(std::string(info.precision), "float32");
  CHECK_EQUAL(std::string(info.isa), fd_isa_name());
}

TEST(a_file_in_memory_may_go_away) {
  const fd_engine_options options = plain_options();
  fd_engine* engine = nullptr;
  {
    std::vector<char> bytes = file_bytes();
    CHECK_EQUAL(fd_engine_load_memory(bytes.data(), bytes.size(), &options, &engine), FD_OK);
    std::fill(bytes.begin(), bytes.end(), '\xff');
  }
  const Handle from_memory(engine, &fd_engine_free);
  CHECK(drawn(engine, request_for(2)) == drawn(loaded().get(), request_for(2)));
}

TEST(wrong_files_and_options_are_named) {
  fd_engine* engine = nullptr;
  const fd_engine_options good = plain_options();
  const auto load = [&](const char* path, const fd_engine_options& options) {
    engine = reinterpret_cast<fd_engine*>(&engine);
    const std::string error = error_of(fd_engine_load(path, &options, &engine));
    CHECK(engine == nullptr);
    return error;
  };
  CHECK_EQUAL(load(nullptr, good), "path: expected an engine file's path, got null");
  CHECK(begins(load("no/such.fdiff", good), "no/such.fdiff: "));
  CHECK_EQUAL(error_of(fd_engine_load(kFile, &good, nullptr)),
              "out: expected a pointer to an fd_engine*, got null");
  CHECK_EQUAL(error_of(fd_engine_load_memory(nullptr, 8, &good, &engine)),
              "bytes: expected an engine file's content, got null");
  const std::vector<char> bytes = file_bytes();
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, bytes.size() / 2}) {
    CHECK(begins(error_of(fd_engine_load_memory(bytes.data(), size, &good, &engine)), "bytes: "));
  }
  fd_engine_options options = good;
  options.size = 4;
  CHECK(begins(load(kFile, options), "options.size: expected the struct's sizeof, at least"));
  options = good;
  options.threads = -1;
  CHECK_EQUAL(load(kFile, options), "options.threads: expected 0 to 1024, got -1");
  options = good;
  options.precision = 7;
  CHECK_EQUAL(load(kFile, options), "options.precision: expected FD_FLOAT32 or FD_BF16, got 7");
  fd_engine_free(nullptr);
}

TEST(structs_may_be_longer_or_shorter_than_ours) {
  struct Longer {
    fd_engine_options known;
    std::uint64_t more;
  } longer{plain_options(), 0};
  longer.known.size = sizeof(longer);
  fd_engine* engine = nullptr;
  CHECK_EQUAL(fd_engine_load(kFile, &longer.known, &engine), FD_OK);
  fd_engine_free(engine);
  longer.more = 1;
  CHECK(begins(error_of(fd_engine_load(kFile, &longer.known, &engine)),
               "options.size: expected zeros beyond the"));

  const Handle held = loaded();
  struct LongerInfo {
    fd_info known;
    std::uint64_t more;
  } info{};
  info.known.size = sizeof(info);
  info.more = 42;
  CHECK_EQUAL(fd_engine_info(held.get(), &info.known), FD_OK);
  CHECK_EQUAL(info.more, 42u);
  CHECK_EQUAL(info.known.size, sizeof(info));
  CHECK_EQUAL(info.known.channels, 2u);
}

TEST(contexts_by_label) {
  const Handle engine = loaded();
  float context[kWidth] = {9, 9, 9};
  CHECK_EQUAL(fd_engine_context(engine.get(), "b", context), FD_OK);
  CHECK(context[0] == 0 && context[1] == 1 && context[2] == 0);
  CHECK_EQUAL(fd_engine_context(engine.get(), "", context), FD_OK);
  CHECK(context[0] == 0 && context[1] == 0 && context[2] == 0);
  CHECK_EQUAL(error_of(fd_engine_context(engine.get(), "z", context)),
              "label: expected one of a, b, \xce\xb3, got 'z'");
  CHECK_EQUAL(error_of(fd_engine_context(engine.get(), nullptr, context)),
              "label: expected a class's name, got null");
}

TEST(descriptions_fit_where_they_are_put) {
  const Handle engine = loaded();
  std::size_t length = 0;
  CHECK_EQUAL(fd_engine_describe(engine.get(), 8, nullptr, 0, &length), FD_OK);
  std::vector<char> text(length + 2, '#');
  CHECK_EQUAL(fd_engine_describe(engine.get(), 8, text.data(), length + 1, nullptr), FD_OK);
  CHECK_EQUAL(std::strlen(text.data()), length);
  CHECK_EQUAL(text[length + 1], '#');
  CHECK_EQUAL(fd_engine_describe(engine.get(), 8, text.data(), 5, &length), FD_OK);
  CHECK_EQUAL(std::string(text.data()).size(), 4u);
  CHECK_EQUAL(length + 2, text.size());
}

TEST(an_image_depends_on_its_seed_alone) {
  const Handle engine = loaded();
  fd_request request = request_for(5);
  request.seed = 11;
  const std::vector<float> five = drawn(engine.get(), request);
  const std::uint64_t seeds[2] = {14, 12};
  fd_request two = request_for(2);
  two.seeds = seeds;
  const std::vector<float> some = drawn(engine.get(), two);
  CHECK(std::equal(some.begin(), some.begin() + kElements, five.begin() + 3 * kElements));
  CHECK(std::equal(some.begin() + kElements, some.end(), five.begin() + kElements));
  CHECK(!std::equal(some.begin(), some.begin() + kElements, five.begin()));
  for (const float value : five) CHECK(value >= -1 && value <= 1);
}

TEST(no_clip_gives_what_is_clipped_otherwise) {
  const Handle engine = loaded();
  fd_request request = request_for(3);
  std::vector<float> clipped = drawn(engine.get(), request);
  request.no_clip = 1;
  std::vector<float> plain = drawn(engine.get(), request);
  for (float& value : plain) value = std::clamp(value, -1.0f, 1.0f);
  CHECK(plain == clipped);
}

TEST(values_are_for_all_or_for_each) {
  const Handle engine = loaded();
  const float one[kWidth] = {0, 0.5f, 1};
  const std::vector<float> three = {0, 0.5f, 1, 0, 0.5f, 1, 0, 0.5f, 1};
  const float scales[3] = {2, 2, 2}, rescales[3] = {0.5f, 0.5f, 0.5f};
  fd_request request = request_for(3);
  const std::vector<float> unconditional = drawn(engine.get(), request);
  request.context = one;
  request.context_count = 1;
  const std::vector<float> conditional = drawn(engine.get(), request);
  CHECK(conditional != unconditional);
  request.guidance = scales;
  request.guidance_count = 1;
  request.guidance_rescale = rescales;
  request.guidance_rescale_count = 1;
  const std::vector<float> once = drawn(engine.get(), request);
  CHECK(once != conditional);
  request.context = three.data();
  request.context_count = request.guidance_count = request.guidance_rescale_count = 3;
  CHECK(drawn(engine.get(), request) == once);
  request.guided_rows = 4;
  CHECK(drawn(engine.get(), request) == once);
  request.guided_rows = 1;
  CHECK(drawn(engine.get(), request) != once);
  const float ones[3] = {1, 1, 1};  // scale 1 is no guidance
  request.guidance = ones;
  CHECK(drawn(engine.get(), request) == conditional);
}

TEST(starts_masks_and_tables_of_the_caller) {
  const Handle engine = loaded();
  fd_info info{};
  info.size = sizeof(info);
  CHECK_EQUAL(fd_engine_info(engine.get(), &info), FD_OK);
  fd_request request = request_for(1);
  const std::vector<float> own = drawn(engine.get(), request);
  request.table = info.table;
  request.table_rows = info.table_rows;
  CHECK(drawn(engine.get(), request) == own);
  // x_T as the seed makes it, up to the noise's own rounding: here from the same function.
  std::vector<float> start(kElements);
  const std::uint64_t seed = 0;
  CHECK_EQUAL(fd_normal(&seed, 1, 0, 0, kElements, start.data(), 1), FD_OK);
  request = request_for(1);
  request.x_T = start.data();
  CHECK(drawn(engine.get(), request) == own);
  // Nothing drawn anew: the image itself.
  std::vector<float> image(kElements), mask(8 * 6, 0.0f);
  for (std::size_t i = 0; i < kElements; ++i) image[i] = static_cast<float>(i) / 100 - 0.5f;
  request = request_for(1);
  request.image = image.data();
  request.mask = mask.data();
  CHECK(drawn(engine.get(), request) == image);
  request.mask = nullptr;
  CHECK(drawn(engine.get(), request) != own);
}

namespace {

struct Seen {
  std::size_t calls = 0, stop_at = SIZE_MAX, rows = 0;
  std::vector<float> x, x0;
};

int look(void* user, std::size_t rows_done, std::size_t rows, const fd_row* row) {
  Seen* seen = static_cast<Seen*>(user);
  CHECK_EQUAL(rows_done, ++seen->calls);
  seen->rows = rows;
  std::copy_n(fd_row_x(row), seen->x.size(), seen->x.begin());
  CHECK_EQUAL(fd_row_x0(row, seen->x0.data()), FD_OK);
  return rows_done == seen->stop_at;
}

}  // namespace

TEST(callbacks_see_every_row_and_can_stop) {
  const Handle engine = loaded();
  fd_request request = request_for(3);
  request.no_clip = 1;
  const std::vector<float> plain = drawn(engine.get(), request);
  Seen seen;
  seen.x.resize(plain.size());
  seen.x0.resize(plain.size());
  request.after_row = look;
  request.user = &seen;
  CHECK(drawn(engine.get(), request) == plain);
  CHECK_EQUAL(seen.calls, 4u);
  CHECK_EQUAL(seen.rows, 4u);
  CHECK(seen.x == plain);

  seen.calls = 0;
  seen.stop_at = 2;
  std::vector<float> out(plain.size());
  std::size_t rows = 99;
  CHECK_EQUAL(fd_sample(engine.get(), &request, out.data(), &rows), FD_OK);
  CHECK_EQUAL(rows, 2u);
  CHECK_EQUAL(seen.calls, 2u);
  CHECK(seen.x == out);
  CHECK(seen.x0 != out);
}

TEST(wrong_requests_are_named) {
  const Handle engine = loaded();
  std::vector<float> out(2 * kElements), values(2 * kElements, 0.5f);
  const auto error = [&](auto&& change) {
    fd_request request = request_for(2);
    change(request);
    return error_of(fd_sample(engine.get(), &request, out.data(), nullptr));
  };
  using Request = fd_request&;
  CHECK(begins(error([](Request r) { r.size = 8; }), "request.size: expected"));
  CHECK(begins(error([](Request r) { r.n = SIZE_MAX / 2; }), "request.n: expected at most"));
  CHECK(begins(error([](Request r) { r.seed = UINT64_MAX; }), "request.seed: expected seed + n"));
  CHECK_EQUAL(error([&](Request r) { r.context = values.data(); }),
              "request.context_count: expected 1 or n with values, got 0");
  CHECK_EQUAL(error([&](Request r) {
                r.context = values.data();
                r.context_count = 3;
              }),
              "request.context_count: expected 0, 1 or n = 2, got 3");
  CHECK_EQUAL(error([](Request r) { r.context_count = 1; }),
              "request.context: expected a pointer to its values, got null");
  CHECK_EQUAL(error([&](Request r) {
                r.guidance = values.data();
                r.guidance_count = 1;
              }),
              "request.guidance: expected a context to guide towards, got none");
  CHECK_EQUAL(error([&](Request r) { r.mask = values.data(); }),
              "request.mask: expected an image to keep a part of, got none");
  CHECK(begins(error([&](Request r) { r.x_T = r.image = values.data(); }), "request.x_T: "));
  CHECK(begins(error([](Request r) { r.table_rows = 1; }), "request.table: "));
  const float nan[2] = {std::numeric_limits<float>::quiet_NaN(), 1};
  CHECK(check::contains(error([&](Request r) {
                          r.context = values.data();
                          r.context_count = 1;
                          r.guidance = nan;
                          r.guidance_count = 2;
                        }),
                        "guidance"));
  const fd_request good = request_for(2);
  CHECK(begins(error_of(fd_sample(nullptr, &good, out.data(), nullptr)), "engine: "));
  CHECK(begins(error_of(fd_sample(engine.get(), nullptr, out.data(), nullptr)), "request: "));
  CHECK(begins(error_of(fd_sample(engine.get(), &good, nullptr, nullptr)), "out: "));
  const fd_request none = request_for(0);
  CHECK_EQUAL(fd_sample(engine.get(), &none, nullptr, nullptr), FD_OK);
}

TEST(many_threads_may_sample_at_once) {
  const Handle engine = loaded(2);
  const std::vector<float> expected = drawn(engine.get(), request_for(6));
  std::vector<std::vector<float>> got(4, std::vector<float>(expected.size()));
  std::vector<std::thread> threads;
  for (auto& out : got) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5; ++k) {
        const fd_request request = request_for(6);
        if (fd_sample(engine.get(), &request, out.data(), nullptr) != FD_OK) out.clear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& out : got) CHECK(out == expected);
}

TEST(pixels_are_rounded_and_clipped) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Two images of 3 x 1 x 2: channels become the last dimension.
  const float images[12] = {-1, 1, 0, -2, 2, nan, -0.5f, 0.5f, 1e30f, -1e30f, 0.25f, 0.9999f};
  const std::uint8_t expected[12] = {0, 128, 255, 255, 0, 0, 64, 255, 159, 191, 0, 255};
  std::uint8_t pixels[12];
  CHECK_EQUAL(fd_images_to_u8(images, 2, 3, 1, 2, pixels), FD_OK);
  for (int i = 0; i < 12; ++i) CHECK_EQUAL(int{pixels[i]}, int{expected[i]});
  CHECK_EQUAL(fd_images_to_u8(nullptr, 0, 3, 1, 2, nullptr), FD_OK);
  CHECK(begins(error_of(fd_images_to_u8(nullptr, 1, 3, 1, 2, pixels)), "images: "));
  CHECK(begins(error_of(fd_images_to_u8(images, SIZE_MAX, 3, 1, 2, pixels)), "n: "));
}

TEST_MAIN
