// How threads of the tensor library wait for each other: they look for some microseconds and then sleep until they are
// woken. As published they look on without end, so that on a machine where something else wants a core (the normal
// machine) a waiting thread takes the time that the one it waits for needs, and a step takes many times as long.
// Measured: setup/substrate/README.md. Included by ggml-cpu.c, put there by setup/substrate.sh; C11.
#pragma once

#include <stdatomic.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <sched.h>
#endif

// Looks at a barrier before a thread sleeps: about 2 microseconds, less than a sleep and a wake cost.
#define MORPH_PATIENT_LOOKS 100
// Looks for a next graph before a pool's thread sleeps, times the pool's `poll` (50 when left out): about 40
// microseconds.
#define MORPH_PATIENT_POLLS 32UL

// patient_wait: returns when *word is no longer `old`. `sleeping` counts who must be woken.
static inline void patient_wait(atomic_int* word, int old, atomic_int* sleeping, void (*relax)(void)) {
  for (int look = 0; look < MORPH_PATIENT_LOOKS; ++look) {
    if (atomic_load_explicit(word, memory_order_acquire) != old) return;
    relax();
  }
#if defined(__linux__)
  // Counted before the word is read again: who changes the word reads the count after it, so that one of the two sees
  // the other (both orders are sequentially consistent); the kernel compares the word once more before it sleeps.
  atomic_fetch_add_explicit(sleeping, 1, memory_order_seq_cst);
  while (atomic_load_explicit(word, memory_order_seq_cst) == old)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
  atomic_fetch_sub_explicit(sleeping, 1, memory_order_seq_cst);
#else
  (void)sleeping;
  while (atomic_load_explicit(word, memory_order_seq_cst) == old) sched_yield();
#endif
}

// patient_wake: call after *word was changed (sequentially consistent).
static inline void patient_wake(atomic_int* word, atomic_int* sleeping) {
#if defined(__linux__)
  if (atomic_load_explicit(sleeping, memory_order_seq_cst) > 0)
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
#else
  (void)word;
  (void)sleeping;
#endif
}
