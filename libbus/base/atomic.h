/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.h - the only way to touch a word that another process may touch: the order is in the name.
 *
 * The sole owner of <stdatomic.h>. Three builds share these names:
 *   normal       the C11 operations;
 *   TSan         gcc 12's thread sanitizer does not see fences: there a fence is a
 *   read-modify-write of one word,
 *                which orders at least as much;
 *   BUS_EXPLORE  each operation first calls the interleaving explorer (tests/model), which decides
 *   who runs next
 *                and what a load may see.
 * A word is declared _Atomic with its exact width. Labels (R1, A1, W2, ...) stand where the call
 * is; what each pair publishes stands in docs/memory-model.md.
 */
#ifndef BUS_ATOMIC_H
#define BUS_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#if defined(BUS_EXPLORE)

uint64_t explore_load(const volatile void *word, unsigned size, int order);
void explore_store(volatile void *word, unsigned size, uint64_t value, int order);
uint64_t explore_add(volatile void *word, unsigned size, uint64_t value);
int explore_cas(volatile void *word, unsigned size, uint64_t *expected, uint64_t desired);
void explore_fence(int order);

#define bus_load_relaxed(p) \
	((__typeof__(atomic_load(p)))explore_load((p), sizeof(*(p)), memory_order_relaxed))
#define bus_load_acquire(p) \
	((__typeof__(atomic_load(p)))explore_load((p), sizeof(*(p)), memory_order_acquire))
#define bus_store_relaxed(p, v) \
	explore_store((p), sizeof(*(p)), (uint64_t)(v), memory_order_relaxed)
#define bus_store_release(p, v) \
	explore_store((p), sizeof(*(p)), (uint64_t)(v), memory_order_release)
#define bus_add_seq_cst(p, v) \
	((__typeof__(atomic_load(p)))explore_add((p), sizeof(*(p)), (uint64_t)(v)))
#define bus_fence_acquire() explore_fence(memory_order_acquire)
#define bus_fence_release() explore_fence(memory_order_release)
#define bus_fence_seq_cst() explore_fence(memory_order_seq_cst)
#define bus_fence_light()   ((void)0)

#else

#define bus_load_relaxed(p)     atomic_load_explicit((p), memory_order_relaxed)
#define bus_load_acquire(p)     atomic_load_explicit((p), memory_order_acquire)
#define bus_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define bus_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define bus_add_seq_cst(p, v)   atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define bus_cas_seq_cst(p, expected, desired) \
	atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_seq_cst, \
						memory_order_seq_cst)

#if defined(__SANITIZE_THREAD__)
extern _Atomic uint32_t bus__tsan_fence_word;
#define bus_fence_acquire() ((void)atomic_fetch_add(&bus__tsan_fence_word, 0))
#define bus_fence_release() ((void)atomic_fetch_add(&bus__tsan_fence_word, 0))
#define bus_fence_seq_cst() ((void)atomic_fetch_add(&bus__tsan_fence_word, 0))
#else
#define bus_fence_acquire() atomic_thread_fence(memory_order_acquire)
#define bus_fence_release() atomic_thread_fence(memory_order_release)
#define bus_fence_seq_cst() atomic_thread_fence(memory_order_seq_cst)
#endif

/*
 * The cheap half of an asymmetric pair: keeps the compiler from reordering, costs nothing. The
 * other half is wake_barrier() of os/wake.h, which has the kernel put a full fence into every
 * running thread that may be here.
 */
#define bus_fence_light() atomic_signal_fence(memory_order_seq_cst)

#endif

/*
 * Two neighbouring words, the first at a multiple of 16, as one store where the processor has one: how far a publisher
 * runs ahead of the lines that it must take from its readers is bounded by the number of stores that wait in its store
 * buffer. Each word is whole by itself; nothing is promised about the two together. `release` orders both after what
 * stands before.
 */
#if defined(__x86_64__) && !defined(BUS_EXPLORE) && !defined(__SANITIZE_THREAD__)
static inline void bus_store_pair_release(_Atomic uint64_t *at, uint64_t first, uint64_t second)
{
	const __m128i pair = _mm_set_epi64x((long long)second, (long long)first);

	__asm__ __volatile__("movdqa %1, %0" : "=m"(*(__m128i *)(void *)at) : "x"(pair) : "memory");
}
#else
#define bus_store_pair_release(at, first, second) \
	(bus_store_release((at), (first)), bus_store_release((at) + 1, (second)))
#endif

/*
 * Asks for a line that will be written. gcc's builtin means a line to read on x86-64, unless told that
 * each processor has the instruction; those that have not take it for none.
 */
static inline void bus_prefetch_to_write(const void *at)
{
#if defined(__x86_64__)
	__asm__ __volatile__("prefetchw %0" ::"m"(*(const char *)at));
#else
	__builtin_prefetch(at, 1);
#endif
}

/*
 * Tells the core that this is a wait loop: fewer speculative loads of the watched line, and the
 * sibling thread runs.
 */
static inline void bus_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("isb" ::: "memory");
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

#endif
