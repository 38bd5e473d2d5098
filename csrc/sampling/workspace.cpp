#include "sampling/workspace.h"

#include <utility>

namespace fd {
namespace {

void grow(AlignedFloats& floats, std::size_t size) {
  if (floats.size() < size) floats = AlignedFloats(size);
}

}  // namespace

WorkspacePool::Lease WorkspacePool::take(const WorkspaceSize& size) {
  std::unique_ptr<Workspace> workspace;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      workspace = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (workspace == nullptr) workspace = std::make_unique<Workspace>();
  if (workspace->workers.size() < size.workers) workspace->workers.resize(size.workers);
  for (WorkerMemory& worker : workspace->workers) {
    grow(worker.arena, size.arena);
    grow(worker.scratch, size.scratch);
    grow(worker.staging, size.staging);
  }
  return Lease(this, std::move(workspace));
}

void WorkspacePool::give_back(std::unique_ptr<Workspace> workspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(std::move(workspace));
}

}  // namespace fd
