// Counts heap allocations of the process that links it, for tests that a loop allocates nothing.
// malloc, calloc and realloc are replaced and forward to glibc's own; Swift objects and arrays come through them too.
#ifndef TEMPER_ALLOCATION_COUNTER_H
#define TEMPER_ALLOCATION_COUNTER_H

/// Allocations since the process started, by all threads; -1 where counting is not supported (not glibc).
long temper_allocation_count(void);

/// Allocations of the calling thread alone: other tests of the process may run meanwhile.
long temper_thread_allocation_count(void);

#endif
