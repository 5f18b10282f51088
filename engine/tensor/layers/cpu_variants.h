// Compiles a function for several x86 levels and picks one at run time; nothing elsewhere. Private to .cpp files of
// layers: our build is for the oldest machine, its arithmetic loops should not be.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define MORPH_CPU_VARIANTS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MORPH_CPU_VARIANTS
#endif
