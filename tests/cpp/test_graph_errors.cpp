// The graph loop where things go wrong: wrong parts, graphs that it can't hold, old drivers, and a
// driver that fails at every call in turn.

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "check.h"
#include "core/error.h"
#include "cuda/graph_loop.h"
#include "cuda/graph_nodes.h"
#include "fake_graph_driver.h"

namespace {

using fake::Driver;
using fake::Request;
using fd::GraphHandle;
using fd::GraphLoop;
using fd::InvalidArgument;
using fd::LoopMode;
using fd::LoopParts;
using fd::NodeKind;
using fd::StreamHandle;

constexpr LoopMode kModes[] = {LoopMode::in_graph, LoopMode::launches};
constexpr StreamHandle kStream{7};

// What the message of a call that failed must speak of.
const std::map<std::string, std::vector<std::string>>& phrases() {
  static const std::map<std::string, std::vector<std::string>> by_call = {
      {"driver_version", {"asking for the driver's CUDA version"}},
      {"graph_nodes", {"listing the nodes of a captured graph"}},
      {"node_kind", {"asking for the kind of a captured node"}},
      {"child_graph", {"opening a child graph of a captured graph"}},
      {"create_graph", {"creating the graph loop's"}},
      {"create_condition", {"creating the graph loop's condition"}},
      {"add_begin", {"adding begin to the graph loop"}},
      {"add_advance", {"adding advance to the graph loop"}},
      {"add_keep_preview", {"adding keep_preview to the graph loop"}},
      {"add_child", {"adding the start graph", "adding the step graph"}},
      {"add_while", {"adding the while node to the graph loop"}},
      {"instantiate", {"instantiating the"}},
      {"launch", {"launching the"}},
      {"create_event", {"creating the graph loop's events"}},
      {"record_event", {"recording the graph loop's"}},
      {"wait_for_event", {"waiting for the", "waiting for a row"}},
      {"wait_for_stream", {"waiting for the stream"}},
      {"allocate_words", {"allocating the graph loop's shared words"}},
      {"allocate_counter", {"allocating the graph loop's counter"}},
  };
  return by_call;
}

void check_message(const std::string& call, const std::string& message) {
  bool told = false;
  for (const std::string& phrase : phrases().at(call)) {
    told = told || message.rfind(phrase, 0) == 0;
  }
  const std::string words = ": out of memory";
  const bool ends = message.size() > words.size() &&
                    message.compare(message.size() - words.size(), words.size(), words) == 0;
  const bool one_sentence = !check::contains(message, "\n") && !check::contains(message, ". ");
  if (!told || !ends || !one_sentence) check::report(__FILE__, __LINE__, call + ": " + message);
}

LoopParts nested_parts(Driver* driver, Request* request, LoopMode mode) {
  LoopParts parts = request->parts(driver, mode);
  parts.step =
      driver->capture([] {}, {NodeKind::fill, NodeKind::child, NodeKind::copy}, parts.step);
  return parts;
}

}  // namespace

TEST(every_call_may_fail_and_nothing_is_lost) {
  std::map<std::string, int> failed;
  for (LoopMode mode : {LoopMode::automatic, LoopMode::in_graph, LoopMode::launches}) {
    for (bool deferred : {false, true}) {
      int failures = 0;
      for (int n = 1;; ++n) {
        auto driver = std::make_shared<Driver>();
        driver->deferred = deferred;
        Request request(2, 4, {-1, 0, -1, 1, 2, -1});
        request.count = 6;
        const LoopParts parts = nested_parts(driver.get(), &request, mode);
        driver->fail_at(n);
        std::string message;
        bool was_made = false;
        {
          std::optional<GraphLoop> loop;
          try {
            loop.emplace(driver, parts);
            was_made = true;
            loop->launch(kStream);
            loop->launch(kStream);
            loop->wait(kStream);
            loop->launch(kStream);
            loop->close();
          } catch (const InvalidArgument& error) {
            check::report(__FILE__, __LINE__,
                          std::string("not the caller's fault: ") + error.what());
          } catch (const std::runtime_error& error) {
            message = error.what();
          }
          if (message.empty()) {
            CHECK_EQUAL(driver->failed(), "");
          } else if (!was_made) {
            CHECK_EQUAL(driver->alive(), 0u);  // before the driver itself goes
          } else if (driver->alive() != 0) {
            // Not closed: it can go on. What an end that failed to be seen left in the stream runs.
            loop->wait(kStream);
            request.rows_seen.clear();
            request.clear_previews();
            loop->launch(kStream);
            loop->wait(kStream);
            CHECK_EQUAL(loop->rows_done(), 6);
            request.check_result(6);
          }
        }
        fake::check_clean(*driver);
        if (message.empty()) break;
        check_message(driver->failed(), message);
        ++failed[driver->failed()];
        ++failures;
      }
      CHECK(failures > 20);
    }
  }
  for (const auto& [call, phrase] : phrases()) {
    if (failed[call] == 0) check::report(__FILE__, __LINE__, "never failed: " + call);
  }
}

TEST(a_failed_launch_leaves_what_is_queued_to_be_waited_for) {
  // Call 10 is the event behind the second row: destroying waits for both rows all the same.
  auto driver = std::make_shared<Driver>();
  driver->deferred = true;
  Request request(2, 4, std::vector<std::int32_t>(6, -1));
  request.count = 6;
  {
    GraphLoop loop(driver, request.parts(driver.get(), LoopMode::launches));
    driver->fail_at(10);
    CHECK_THROWS(std::runtime_error, "recording the graph loop's events: out of memory",
                 loop.launch(kStream));
  }
  CHECK_EQUAL(request.starts, 1);
  request.check_result(2);
  fake::check_clean(*driver);
}

TEST(a_step_that_a_while_node_cannot_hold_is_named) {
  const std::pair<NodeKind, const char*> kinds[] = {
      {NodeKind::host_function, "host function"},
      {NodeKind::allocation, "memory allocation"},
      {NodeKind::free, "memory free"},
      {NodeKind::event_wait, "event wait"},
      {NodeKind::event_record, "event record"},
      {NodeKind::semaphore_signal, "semaphore signal"},
      {NodeKind::semaphore_wait, "semaphore wait"},
      {NodeKind::conditional, "conditional"},
      {NodeKind::unknown, "unknown"},
  };
  for (const auto& [kind, name] : kinds) {
    for (bool nested : {false, true}) {
      for (LoopMode mode : {LoopMode::in_graph, LoopMode::automatic}) {
        auto driver = std::make_shared<Driver>();
        Request request(2, 4, {-1, -1});
        LoopParts parts = request.parts(driver.get(), mode);
        parts.step = driver->capture([] {}, {NodeKind::kernel, kind});
        if (nested) parts.step = driver->capture([] {}, {NodeKind::child}, parts.step);
        const std::string expected =
            "step: expected a graph of kernels, copies, fills and child graphs alone, which a loop "
            "inside a graph can hold (mode 'launches' takes others too), got one with a node of "
            "kind '" +
            std::string(name) + "'";
        CHECK_THROWS(InvalidArgument, expected, GraphLoop(driver, parts));
        fake::check_clean(*driver);

        parts.mode = LoopMode::launches;
        request.count = 2;
        GraphLoop loop(driver, parts);
        loop.launch(kStream);
        CHECK_EQUAL(loop.rows_done(), 2);
      }
    }
  }
}

TEST(a_start_that_cannot_be_a_child_is_named) {
  auto driver = std::make_shared<Driver>();
  Request request(2, 4, {-1});
  LoopParts parts = request.parts(driver.get(), LoopMode::in_graph);
  parts.start = driver->capture([] {}, {NodeKind::kernel, NodeKind::allocation});
  CHECK_THROWS(
      InvalidArgument,
      "start: expected a graph without allocations and conditions, which can be a child of "
      "another (mode 'launches' takes others too), got one with a node of kind 'memory "
      "allocation'",
      GraphLoop(driver, parts));
  parts.start = driver->capture([] {}, {NodeKind::kernel, NodeKind::host_function});
  const GraphLoop loop(driver, parts);
  CHECK_EQUAL(loop.node_count(), 7u);
}

TEST(nodes_are_counted_through_child_graphs) {
  for (LoopMode mode : kModes) {
    auto driver = std::make_shared<Driver>();
    Request request(2, 4, {-1});
    const GraphLoop flat(driver, request.parts(driver.get(), mode));
    // begin, start's one, the while node, step's one, keep_preview, advance
    CHECK_EQUAL(flat.node_count(), mode == LoopMode::in_graph ? 6u : 5u);
    const GraphLoop nested(driver, nested_parts(driver.get(), &request, mode));
    CHECK_EQUAL(nested.node_count(), mode == LoopMode::in_graph ? 8u : 7u);
  }
}

TEST(what_instantiate_refuses_is_told) {
  auto driver = std::make_shared<Driver>();
  driver->refused =
      "operation not supported (cudaErrorNotSupported) at a node of kind 'memory copy'";
  Request request(2, 4, {-1});
  CHECK_THROWS(std::runtime_error, "instantiating the graph loop: " + driver->refused,
               GraphLoop(driver, request.parts(driver.get(), LoopMode::automatic)));
  fake::check_clean(*driver);
}

TEST(old_drivers_get_launches_or_a_reason) {
  for (int version : {11080, 12020, 12039}) {
    auto driver = std::make_shared<Driver>();
    driver->version = version;
    Request request(2, 4, {-1, 0});
    request.count = 2;
    GraphLoop loop(driver, request.parts(driver.get(), LoopMode::automatic));
    CHECK(loop.mode() == LoopMode::launches);
    loop.launch(kStream);
    request.check_result(2);
    CHECK_EQUAL(driver->calls("create_condition"), 0);
    CHECK_THROWS(InvalidArgument,
                 "mode: expected 'launches' with a driver older than CUDA 12.4, got 'while' with "
                 "one of CUDA 1",
                 GraphLoop(driver, request.parts(driver.get(), LoopMode::in_graph)));
  }
  auto driver = std::make_shared<Driver>();
  driver->version = 12040;
  Request request(2, 4, {-1});
  const GraphLoop loop(driver, request.parts(driver.get(), LoopMode::automatic));
  CHECK(loop.mode() == LoopMode::in_graph);
}

TEST(modes_have_names) {
  CHECK(fd::loop_mode("auto") == LoopMode::automatic);
  CHECK(fd::loop_mode("while") == LoopMode::in_graph);
  CHECK(fd::loop_mode("launches") == LoopMode::launches);
  for (LoopMode mode : kModes) CHECK(fd::loop_mode(fd::loop_mode_name(mode)) == mode);
  CHECK_THROWS(InvalidArgument, "mode: expected 'auto', 'while' or 'launches', got 'While'",
               fd::loop_mode("While"));
}

TEST(a_wrong_part_is_named) {
  alignas(16) static std::int32_t word = 0;
  alignas(16) static float values[4];
  auto* odd = reinterpret_cast<float*>(reinterpret_cast<std::uintptr_t>(values) + 2);
  const std::pair<const char*, std::function<void(LoopParts*)>> wrong[] = {
      {"step: expected a captured graph, got 0", [](auto* p) { p->step = GraphHandle::none; }},
      {"rows: expected a device address, got 0", [](auto* p) { p->rows = nullptr; }},
      {"count: expected a device address, got 0", [](auto* p) { p->count = nullptr; }},
      {"x: expected a device address, got 0", [](auto* p) { p->x = nullptr; }},
      {"x: expected a multiple of 4, got ", [&](auto* p) { p->x = odd; }},
      {"previews: expected a multiple of 4, got ", [&](auto* p) { p->previews = odd; }},
      {"batch: expected 1 to 1073741823, got 0", [](auto* p) { p->batch = 0; }},
      {"batch: expected 1 to 1073741823, got 1073741824", [](auto* p) { p->batch = 1u << 30; }},
      {"elements: expected 1 to 1099511627776, got 0", [](auto* p) { p->elements = 0; }},
      {"elements: expected 1 to 549755813888, got ",
       [](auto* p) {
         p->batch = 2;
         p->elements = (std::size_t{1} << 39) + 1;
       }},
      {"x0: expected a device address, got 0", [](auto* p) { p->x0 = nullptr; }},
      {"x0_previews: expected a device address, got 0", [](auto* p) { p->x0_previews = nullptr; }},
      {"schedule: expected a device address, got 0", [](auto* p) { p->schedule = nullptr; }},
      {"schedule: expected none without previews or x0_previews, got ",
       [](auto* p) {
         p->previews = p->x0_previews = nullptr;
         p->x0 = nullptr;
       }},
  };
  for (const auto& [message, spoil] : wrong) {
    auto driver = std::make_shared<Driver>();
    LoopParts parts;
    parts.step = GraphHandle{1};
    parts.rows = &word;
    parts.batch = parts.elements = 1;
    parts.count = parts.schedule = &word;
    parts.x = parts.x0 = parts.previews = parts.x0_previews = values;
    fd::check_loop_parts(parts);
    spoil(&parts);
    CHECK_THROWS(InvalidArgument, message, GraphLoop(driver, parts));
    CHECK_EQUAL(driver->made(), 0u);
  }
}

TEST_MAIN
