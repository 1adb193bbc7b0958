#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <thread>
#include <unsupported/Eigen/CXX11/ThreadPool>

#include "denormals.hpp"

namespace {

struct FlushingEnvironment : Eigen::StlThreadEnvironment {
  EnvThread* CreateThread(std::function<void()> body) {
    return new EnvThread([body = std::move(body)] {
      const Flushed flushed;  // the calling thread's word is the program's business
      body();
    });
  }
};

using Pool = Eigen::ThreadPoolTempl<FlushingEnvironment>;

// One amp_pool_run in flight, on the caller's stack; the barrier keeps it alive for the helpers.
struct Run {
  void (*task)(void*, int64_t);
  void* argument;
  int64_t count;
  std::atomic<int64_t> next;
  Eigen::Barrier helpers;

  void work() {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) task(argument, i);
  }
};

// Wait until every worker is at work: a thread's own memory is made at its start, which may be late.
void await_workers(Pool& pool) {
  const int count = pool.NumThreads();
  std::atomic<int> arrived{0};
  Eigen::Barrier left(static_cast<unsigned>(count));
  for (int i = 0; i < count; ++i) {
    pool.Schedule([&arrived, &left, count] {
      ++arrived;
      while (arrived < count) std::this_thread::yield();  // so that no worker takes two
      left.Notify();
    });
  }
  left.Wait();
}

}  // namespace

extern "C" void* amp_pool_create(int64_t threads) {
  try {
    auto pool = std::make_unique<Pool>(static_cast<int>(std::max<int64_t>(threads, 1)));
    await_workers(*pool);
    return pool.release();
  } catch (...) {
    return nullptr;  // no exception may cross into C
  }
}

extern "C" void amp_pool_destroy(void* pool) { delete static_cast<Pool*>(pool); }

extern "C" void amp_pool_run(void* handle, void (*task)(void*, int64_t), void* argument,
                             int64_t count) {
  auto* pool = static_cast<Pool*>(handle);
  // A worker that waited for other workers could wait for ever: inner runs stay on their worker.
  const bool alone = pool == nullptr || count < 2 || pool->CurrentThreadId() >= 0;
  const int64_t helpers = alone ? 0 : std::min<int64_t>(pool->NumThreads(), count - 1);
  Run run{task, argument, count, {0}, Eigen::Barrier(static_cast<unsigned>(helpers))};
  for (int64_t h = 0; h < helpers; ++h) {
    // One captured pointer fits std::function's own buffer, so scheduling allocates nothing.
    pool->Schedule([&run] {
      run.work();
      run.helpers.Notify();
    });
  }
  run.work();
  run.helpers.Wait();
}
