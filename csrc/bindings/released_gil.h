// SPDX-License-Identifier: Apache-2.0
// The GIL, given up while a kernel runs and taken back afterwards, also when the interpreter shuts down meanwhile.
#pragma once

#include <Python.h>

#include <chrono>
#include <thread>

namespace diffhpo {

// Before 3.14, CPython ends a thread that asks for the GIL of an interpreter that shuts down by pthread_exit. Its
// unwinding ends the process (std::terminate) at the first destructor, so such a thread, a daemon, sleeps here until
// the process has ended. From 3.14 on CPython does the same.
template <class Take>
auto take_gil(Take take) noexcept {
  try {
    return take();
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

class ReleasedGil {
 public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ~ReleasedGil() {
    take_gil([this] { PyEval_RestoreThread(state_); });
  }
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;

 private:
  PyThreadState* const state_;
};

// Held again for a moment, in a thread that gave it up.
class HeldGil {
 public:
  HeldGil() : state_(take_gil([] { return PyGILState_Ensure(); })) {}
  ~HeldGil() { PyGILState_Release(state_); }
  HeldGil(const HeldGil&) = delete;
  HeldGil& operator=(const HeldGil&) = delete;

 private:
  const PyGILState_STATE state_;
};

}  // namespace diffhpo
