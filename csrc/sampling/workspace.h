// Memory for requests, kept from one to the next.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "plan/aligned.h"

namespace fd {

// What one member of a team computes in.
struct WorkerMemory {
  AlignedFloats arena, scratch, staging;
};

struct Workspace {
  std::vector<WorkerMemory> workers;
};

struct WorkspaceSize {
  std::size_t workers = 0, arena = 0, scratch = 0, staging = 0;  // floats, each worker's
};

// Hands out workspaces that nobody else has, of at least the size asked for: a new one only where
// none is free.
class WorkspacePool {
 public:
  class Lease {
   public:
    Lease(WorkspacePool* pool, std::unique_ptr<Workspace> workspace)
        : pool_(pool), workspace_(std::move(workspace)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&& other) {
      std::swap(pool_, other.pool_);
      std::swap(workspace_, other.workspace_);
      return *this;
    }
    ~Lease() {
      if (workspace_ != nullptr) pool_->give_back(std::move(workspace_));
    }
    Workspace& operator*() const { return *workspace_; }
    Workspace* operator->() const { return workspace_.get(); }

   private:
    WorkspacePool* pool_;
    std::unique_ptr<Workspace> workspace_;
  };

  Lease take(const WorkspaceSize& size);

 private:
  void give_back(std::unique_ptr<Workspace> workspace);
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace fd
