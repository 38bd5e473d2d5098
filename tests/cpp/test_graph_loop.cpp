// The graph loop over a driver that simulates: rows, previews, cancelling, lifetimes, in both
// modes.

#include <condition_variable>
#include <thread>

#include "check.h"
#include "core/error.h"
#include "cuda/graph_loop.h"
#include "fake_graph_driver.h"

namespace {

using fake::Driver;
using fake::Request;
using fd::GraphLoop;
using fd::LoopMode;
using fd::NodeKind;
using fd::StreamHandle;

constexpr LoopMode kModes[] = {LoopMode::in_graph, LoopMode::launches};
constexpr StreamHandle kStream{7};

// Runs a check in both modes, with launches that run at once and with ones that wait to be run.
void in_all_ways(void (*check)(const std::shared_ptr<Driver>&, LoopMode)) {
  for (LoopMode mode : kModes) {
    for (bool deferred : {false, true}) {
      auto driver = std::make_shared<Driver>();
      driver->deferred = deferred;
      check(driver, mode);
      fake::check_clean(*driver);
    }
  }
}

}  // namespace

TEST(rows_run_in_order_and_previews_are_kept) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    const std::size_t sizes[][2] = {{1, 1}, {3, 5}, {2, 8}, {5, 4}, {1, 64}};
    for (const auto& [batch, elements] : sizes) {
      Request request(batch, elements, {-1, 2, -1, 0, 5, -1, 7});
      GraphLoop loop(driver, request.parts(driver.get(), mode));
      CHECK_EQUAL(loop.rows_done(), 0);
      CHECK(loop.mode() == mode);
      for (std::int32_t count : {7, 1, 2, 6}) {
        request.count = count;
        loop.launch(kStream);
        loop.wait(kStream);
        CHECK_EQUAL(loop.rows_done(), count);
        request.check_result(count);
      }
      CHECK_EQUAL(request.starts, 4);
    }
  });
}

TEST(previews_off_16_bytes_are_copied_too) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 8, {3, 1});
    std::vector<float> x(17), kept(17 * 8, fake::kNotKept);
    fd::LoopParts parts = request.parts(driver.get(), mode);
    parts.x = x.data() + 1;
    parts.previews = kept.data() + 1;
    for (int i = 0; i < 16; ++i) x[static_cast<std::size_t>(i) + 1] = static_cast<float>(i);
    request.count = 2;
    GraphLoop loop(driver, parts);
    loop.launch(kStream);
    loop.wait(kStream);
    for (std::size_t i = 0; i < 8 * 16; ++i) {
      const bool is_kept = i / 16 == 3 || i / 16 == 1;
      CHECK_EQUAL(kept[1 + i], is_kept ? static_cast<float>(i % 16) : fake::kNotKept);
    }
    CHECK_EQUAL(kept[0], fake::kNotKept);
  });
}

TEST(quads_are_copied_only_where_all_starts_and_sizes_allow) {
  alignas(16) float memory[8];
  alignas(16) std::int32_t word = 0;
  fd::LoopParts parts;
  parts.x = parts.x0 = parts.previews = parts.x0_previews = memory;
  parts.schedule = &word;
  parts.batch = 3;
  parts.elements = 4;
  CHECK(fd::preview_copy(parts, &word).in_quads);
  CHECK_EQUAL(fd::preview_copy(parts, &word).values, 12u);
  parts.x0 = parts.x0_previews = nullptr;
  CHECK(fd::preview_copy(parts, &word).in_quads);
  parts.elements = 5;
  CHECK(!fd::preview_copy(parts, &word).in_quads);
  parts.elements = 4;
  parts.previews = memory + 1;
  CHECK(!fd::preview_copy(parts, &word).in_quads);
  parts.previews = memory;
  parts.x = memory + 2;
  CHECK(!fd::preview_copy(parts, &word).in_quads);
}

TEST(x_or_x0_alone_may_be_kept) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    for (bool keep_x : {false, true}) {
      Request request(2, 3, {-1, 4, -1});
      fd::LoopParts parts = request.parts(driver.get(), mode);
      if (keep_x) {
        parts.x0 = parts.x0_previews = nullptr;
      } else {
        parts.previews = nullptr;
      }
      request.count = 3;
      GraphLoop loop(driver, parts);
      loop.launch(kStream);
      loop.wait(kStream);
      const std::size_t first = 4 * request.values();
      CHECK_EQUAL(request.previews()[first], keep_x ? Request::after(2) : fake::kNotKept);
      CHECK_EQUAL(request.x0_previews()[first], keep_x ? fake::kNotKept : -Request::after(2));
    }
  });
}

TEST(start_and_previews_may_be_left_out) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 3, {});
    fd::LoopParts parts = request.parts(driver.get(), mode);
    parts.start = fd::GraphHandle::none;
    parts.x0 = nullptr;
    parts.previews = parts.x0_previews = nullptr;
    parts.schedule = nullptr;
    for (std::size_t i = 0; i < request.values(); ++i) request.x()[i] = fake::kStart;
    request.count = 3;
    GraphLoop loop(driver, parts);
    // begin, the while node, step, advance
    CHECK_EQUAL(loop.node_count(), mode == LoopMode::in_graph ? 4u : 3u);
    loop.launch(kStream);
    loop.wait(kStream);
    CHECK_EQUAL(request.starts, 0);
    CHECK_EQUAL(request.x()[0], Request::after(3));
    CHECK_EQUAL(driver->calls("add_keep_preview"), 0);
  });
}

TEST(no_rows_means_the_start_alone) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(3, 2, {0});
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    for (std::int32_t count : {0, -1, -2147483647}) {
      request.count = count;
      loop.launch(kStream);
      loop.wait(kStream);
      CHECK_EQUAL(loop.rows_done(), 0);
      request.check_result(0);
    }
    CHECK_EQUAL(request.starts, 3);
  });
}

TEST(nothing_is_built_or_allocated_after_the_constructor) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 4, {0, 1, 2, 3, 4});
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    const std::size_t made = driver->made();
    const int instantiated = driver->calls("instantiate");
    for (int i = 0; i < 1000; ++i) {
      request.count = 1 + i % 5;
      request.schedule.assign(5, -1);
      request.schedule[static_cast<std::size_t>(i % 3)] = i % 8;
      loop.launch(kStream);
      loop.wait(kStream);
      request.check_result(request.count);
    }
    CHECK_EQUAL(driver->made(), made);
    CHECK_EQUAL(driver->calls("instantiate"), instantiated);
  });
}

TEST(while_mode_is_one_launch_a_request) {
  auto driver = std::make_shared<Driver>();
  Request request(2, 4, {-1, 0, -1, 1});
  GraphLoop loop(driver, request.parts(driver.get(), LoopMode::in_graph));
  request.count = 4;
  for (int i = 1; i <= 3; ++i) {
    loop.launch(kStream);
    CHECK_EQUAL(driver->calls("launch"), i);
  }
}

TEST(rows_done_is_seen_while_the_loop_runs) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 4, std::vector<std::int32_t>(6, -1));
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    request.in_step = [&](int row) { CHECK_EQUAL(loop.rows_done(), row); };
    request.count = 6;
    loop.launch(kStream);
    loop.wait(kStream);
    request.check_result(6);
  });
}

TEST(a_cancelled_loop_ends_after_the_row_that_runs) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 4, std::vector<std::int32_t>(50, -1));
    request.schedule[2] = 1;
    request.schedule[40] = 2;
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    request.count = 50;
    request.in_step = [&](int row) {
      if (row == 3) loop.cancel();
    };
    loop.launch(kStream);
    loop.wait(kStream);
    const std::int32_t done = loop.rows_done();
    if (mode == LoopMode::launches && driver->deferred) {
      CHECK(done >= 4 && done <= 4 + 4);  // the host is at most four rows ahead
    } else {
      CHECK_EQUAL(done, 4);
    }
    request.check_result(done);

    request.in_step = nullptr;
    loop.cancel();  // nothing runs: the next launch is not meant
    loop.launch(kStream);
    loop.wait(kStream);
    CHECK_EQUAL(loop.rows_done(), 50);
    request.check_result(50);
  });
}

TEST(a_launch_cancelled_before_it_begins_runs_no_row) {
  auto driver = std::make_shared<Driver>();
  driver->deferred = true;
  Request request(2, 4, std::vector<std::int32_t>(5, -1));
  GraphLoop loop(driver, request.parts(driver.get(), LoopMode::in_graph));
  request.count = 5;
  loop.launch(kStream);
  loop.cancel();
  loop.wait(kStream);
  CHECK_EQUAL(loop.rows_done(), 0);
  CHECK_EQUAL(request.starts, 1);
  request.check_result(0);
}

TEST(another_thread_can_cancel_while_launch_has_not_returned) {
  for (LoopMode mode : kModes) {
    auto driver = std::make_shared<Driver>();
    Request request(1, 4, std::vector<std::int32_t>(100, -1));
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    request.count = 100;
    std::mutex mutex;
    std::condition_variable changed;
    bool in_row_5 = false, cancelled = false;
    request.in_step = [&](int row) {
      if (row != 5) return;
      std::unique_lock<std::mutex> lock(mutex);
      in_row_5 = true;
      changed.notify_all();
      changed.wait(lock, [&] { return cancelled; });
    };
    std::thread other([&] {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return in_row_5; });
      CHECK_EQUAL(loop.rows_done(), 5);
      loop.cancel();
      cancelled = true;
      changed.notify_all();
    });
    loop.launch(kStream);
    other.join();
    loop.wait(kStream);
    CHECK_EQUAL(loop.rows_done(), 6);
    request.check_result(6);
  }
}

TEST(two_loops_run_at_once) {
  for (LoopMode mode : kModes) {
    auto driver = std::make_shared<Driver>();
    Request requests[2] = {Request(2, 4, {0, 1, 2, 3, 4}), Request(3, 3, {4, -1, 3, -1, 0})};
    std::thread threads[2];
    for (int i = 0; i < 2; ++i) {
      threads[i] = std::thread([&, i] {
        Request& request = requests[i];
        GraphLoop loop(driver, request.parts(driver.get(), mode));
        for (int k = 0; k < 50; ++k) {
          request.count = 1 + (k + i) % 5;
          loop.launch(StreamHandle{static_cast<std::uintptr_t>(i + 1)});
          loop.wait(StreamHandle{static_cast<std::uintptr_t>(i + 1)});
          CHECK_EQUAL(loop.rows_done(), request.count);
          request.check_result(request.count);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    fake::check_clean(*driver);
  }
}

TEST(two_loops_lie_in_their_streams_at_once) {
  auto driver = std::make_shared<Driver>();
  driver->deferred = true;
  Request a(2, 4, {0, 1, 2}), b(1, 3, {2, -1, 0});
  {
    GraphLoop first(driver, a.parts(driver.get(), LoopMode::in_graph));
    GraphLoop second(driver, b.parts(driver.get(), LoopMode::in_graph));
    a.count = 3;
    b.count = 2;
    first.launch(StreamHandle{1});
    second.launch(StreamHandle{2});
    second.wait(StreamHandle{2});
    CHECK_EQUAL(first.rows_done(), 0);
    b.check_result(2);
    first.wait(StreamHandle{1});
    a.check_result(3);
  }
  fake::check_clean(*driver);
}

TEST(a_launch_waits_for_the_one_before) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 4, std::vector<std::int32_t>(3, -1));
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    request.count = 3;
    loop.launch(kStream);
    loop.launch(StreamHandle{8});
    loop.wait(StreamHandle{8});
    CHECK_EQUAL(request.starts, 2);
    CHECK_EQUAL(request.rows_seen.size(), 6u);
    CHECK_EQUAL(loop.rows_done(), 3);
  });
}

TEST(wait_takes_any_stream_and_waits_for_the_launch_all_the_same) {
  in_all_ways([](const auto& driver, LoopMode mode) {
    Request request(2, 4, std::vector<std::int32_t>(3, -1));
    GraphLoop loop(driver, request.parts(driver.get(), mode));
    loop.wait(kStream);  // nothing was launched
    request.count = 3;
    loop.launch(kStream);
    loop.wait(StreamHandle{9});
    request.check_result(3);
  });
}

TEST(destroying_or_closing_waits_for_the_launch) {
  for (bool close : {false, true}) {
    for (LoopMode mode : kModes) {
      auto driver = std::make_shared<Driver>();
      driver->deferred = true;
      Request request(2, 4, std::vector<std::int32_t>(6, -1));
      request.count = 6;
      {
        GraphLoop loop(driver, request.parts(driver.get(), mode));
        loop.launch(kStream);
        if (close) {
          loop.close();
          fake::check_clean(*driver);
          CHECK_EQUAL(loop.rows_done(), 6);  // remembered
          loop.cancel();                     // does no harm
          loop.close();
          CHECK_THROWS(fd::InvalidArgument, "launch: expected an open graph loop, got a closed one",
                       loop.launch(kStream));
          CHECK_THROWS(fd::InvalidArgument, "wait: expected an open graph loop, got a closed one",
                       loop.wait(kStream));
        }
      }
      request.check_result(6);
      fake::check_clean(*driver);
    }
  }
}

TEST_MAIN
