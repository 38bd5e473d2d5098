// The memory of one block of samples, kept from one request to the next.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "pixelcnn/evaluator.h"
#include "pixelcnn/sample_inputs.h"

namespace fd {

struct PixelWorkspace {
  PixelWorkspace(const PixelEvaluator& evaluator, const SampleInputs& values, int capacity,
                 int threads)
      : run(evaluator, capacity, threads), request(values.memory(capacity)) {}
  PixelRun run;
  SampleInputs::Memory request;
  std::vector<float> uniforms;              // [samples, row, column, colour]
  std::vector<std::vector<float>> scratch;  // of each thread's choices
};

// Hands out workspaces that nobody else has: a new one only where none of the kind is free.
class PixelWorkspaces {
 public:
  struct Key {
    const PixelEvaluator* evaluator;
    int capacity, threads;
    bool operator==(const Key& other) const {
      return evaluator == other.evaluator && capacity == other.capacity && threads == other.threads;
    }
  };

  std::unique_ptr<PixelWorkspace> take(const Key& key, const SampleInputs& values) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (auto& entry : free_) {
        if (!(entry.first == key) || entry.second.empty()) continue;
        auto taken = std::move(entry.second.back());
        entry.second.pop_back();
        return taken;
      }
    }
    return std::make_unique<PixelWorkspace>(*key.evaluator, values, key.capacity, key.threads);
  }
  void give_back(const Key& key, std::unique_ptr<PixelWorkspace> workspace) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& entry : free_) {
      if (entry.first == key) return entry.second.push_back(std::move(workspace));
    }
    free_.emplace_back(key, std::vector<std::unique_ptr<PixelWorkspace>>());
    free_.back().second.push_back(std::move(workspace));
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<Key, std::vector<std::unique_ptr<PixelWorkspace>>>> free_;
};

}  // namespace fd
