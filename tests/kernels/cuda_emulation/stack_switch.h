// SPDX-License-Identifier: Apache-2.0
// A stack to run on, and the change to another one. swapcontext of <ucontext.h> does it everywhere, with a system
// call each time; on x86-64 a few instructions do.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)

struct Context {
  void* top = nullptr;  // of the stack, where the registers that a call keeps are saved

  void start(char* stack, size_t bytes, void (*entry)()) {
    auto* words = reinterpret_cast<uintptr_t*>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
    *--words = 0;  // where `entry` would return to
    *--words = reinterpret_cast<uintptr_t>(entry);
    for (int i = 0; i < 6; ++i) *--words = 0;
    top = words;
  }
};

// Saves this stack in `from` and goes on where `to` was saved.
__attribute__((naked, noinline)) inline void change_stack(Context* /*from*/, Context* /*to*/) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15;"
      "mov %rsp, (%rdi); mov (%rsi), %rsp;"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}

#else

#include <ucontext.h>

struct Context {
  ucontext_t saved;

  void start(char* stack, size_t bytes, void (*entry)()) {
    getcontext(&saved);
    saved.uc_stack.ss_sp = stack;
    saved.uc_stack.ss_size = bytes;
    saved.uc_link = nullptr;
    makecontext(&saved, entry, 0);
  }
};

inline void change_stack(Context* from, Context* to) { swapcontext(&from->saved, &to->saved); }

#endif
