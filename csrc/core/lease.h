// Objects kept from one user to the next, so that what they hold need not be allocated again: each
// is lent to one user at a time, and made only where none is free.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fd {

template <class T>
class LeasePool {
 public:
  // Gives the object back when it goes away; the pool must still be there then.
  class Lease {
   public:
    Lease(LeasePool* pool, std::unique_ptr<T> object) : pool_(pool), object_(std::move(object)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (object_ != nullptr) pool_->give_back(std::move(object_));
    }
    T& operator*() const { return *object_; }
    T* operator->() const { return object_.get(); }

   private:
    LeasePool* pool_;
    std::unique_ptr<T> object_;
  };

  // One that nobody else has, as its last user left it. Thread-safe.
  Lease take() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<T> object = std::move(free_.back());
        free_.pop_back();
        return Lease(this, std::move(object));
      }
      free_.reserve(++made_);  // giving back needs no memory
    }
    return Lease(this, std::make_unique<T>());
  }

 private:
  void give_back(std::unique_ptr<T> object) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(object));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
  std::size_t made_ = 0;
};

}  // namespace fd
