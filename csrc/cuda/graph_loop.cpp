#include "cuda/graph_loop.h"

#include <string>
#include <utility>

#include "core/error.h"

namespace fd {
namespace {

constexpr int kFirstWithLoops = 12040;  // CUDA 12.4

LoopMode resolve_mode(GraphDriver& driver, LoopMode wanted) {
  if (wanted == LoopMode::launches) return wanted;
  int version = 0;
  check_driver("asking for the driver's CUDA version", driver.driver_version(&version));
  if (version >= kFirstWithLoops) return LoopMode::in_graph;
  if (wanted == LoopMode::automatic) return LoopMode::launches;
  fail_argument("mode", "'launches' with a driver older than CUDA 12.4",
                "'while' with one of CUDA " + std::to_string(version / 1000) + "." +
                    std::to_string(version % 1000 / 10));
}

GraphDriver& checked_driver(const std::shared_ptr<GraphDriver>& driver, const LoopParts& parts) {
  check_loop_parts(parts);
  return *driver;
}

}  // namespace

LoopMailbox::LoopMailbox(GraphDriver& driver) : host_(driver) {
  check_driver("allocating the graph loop's shared words",
               driver.allocate_words(host_.out(), &device_));
  reset();
}

void LoopMailbox::reset() {
  std::lock_guard<std::mutex> lock(mutex_);
  write_shared(&host_.get()->rows_done, 0);
  write_shared(&host_.get()->rows_wanted, 0);
  write_shared(&host_.get()->cancelled, 0);
}

void LoopMailbox::cancel() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (host_.get() != nullptr) write_shared(&host_.get()->cancelled, 1);
}

std::int32_t LoopMailbox::rows_done() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return host_.get() != nullptr ? read_shared(&host_.get()->rows_done) : last_rows_done_;
}

void LoopMailbox::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (host_.get() == nullptr) return;
  last_rows_done_ = read_shared(&host_.get()->rows_done);
  host_.reset();
}

GraphLoop::GraphLoop(std::shared_ptr<GraphDriver> driver, const LoopParts& parts)
    : driver_(std::move(driver)),
      mode_(resolve_mode(checked_driver(driver_, parts), parts.mode)),
      mailbox_(*driver_),
      done_(*driver_),
      end_(*driver_) {
  check_driver("allocating the graph loop's counter", driver_->allocate_counter(done_.out()));
  check_driver("creating the graph loop's events", driver_->create_event(end_.out()));
  LoopState state;
  state.done = done_.get();
  state.rows = parts.rows;
  state.count = parts.count;
  state.words = mailbox_.device();
  state.batch = static_cast<std::int32_t>(parts.batch);
  runner_ = mode_ == LoopMode::in_graph
                ? make_while_loop(*driver_, parts, state)
                : make_launched_loop(*driver_, parts, state, mailbox_.host());
  nodes_ = runner_->node_count();
}

GraphLoop::~GraphLoop() {
  finish();  // where even this fails the device is lost, and nothing runs on it any more
}

GraphDriver::Reason GraphLoop::finish() {
  if (!running_) return "";
  GraphDriver::Reason reason = driver_->wait_for_event(end_.get());
  if (reason.empty()) running_ = false;
  return reason;
}

// Whatever a launch put on the stream has to be waited for before anything is given back.
void GraphLoop::mark_end(StreamHandle stream) {
  const GraphDriver::Reason reason = driver_->record_event(end_.get(), stream);
  running_ = reason.empty();
  if (running_) return;
  driver_->wait_for_stream(stream);
  check_driver("recording the graph loop's end", reason);
}

void GraphLoop::launch(StreamHandle stream) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (runner_ == nullptr) fail_argument("launch", "an open graph loop", "a closed one");
  check_driver("waiting for the launch before", finish());
  mailbox_.reset();
  try {
    runner_->queue(stream);
  } catch (...) {
    try {
      mark_end(stream);
    } catch (const std::runtime_error&) {
      // What went wrong first is told.
    }
    throw;
  }
  mark_end(stream);
}

void GraphLoop::wait(StreamHandle stream) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (runner_ == nullptr) fail_argument("wait", "an open graph loop", "a closed one");
  check_driver("waiting for the stream", driver_->wait_for_stream(stream));
  check_driver("waiting for the graph loop", finish());
}

void GraphLoop::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (runner_ == nullptr) return;
  check_driver("waiting for the graph loop", finish());
  runner_.reset();
  end_.reset();
  done_.reset();
  mailbox_.close();
}

}  // namespace fd
