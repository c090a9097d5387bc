/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail_nth.h - what a test tells fail_nth.c, in a file that both map: kind last, once the rest is
 * there.
 */
#ifndef TESTS_FAIL_NTH_H
#define TESTS_FAIL_NTH_H

#include <stdatomic.h>

enum fail_kind {
	FAIL_NOTHING,
	FAIL_MALLOC,
	FAIL_MMAP,
	FAIL_MEMFD,
	FAIL_FALLOCATE, /* and ftruncate: memory that is not there */
	FAIL_SOCKET,
	FAIL_ACCEPT,
	FAIL_DESCRIPTOR, /* eventfd, epoll, pidfd */
	FAIL_EPOLL,
	FAIL_OPEN,
	FAIL_SEND,
	FAIL_THREAD,
	FAIL_KINDS,
};

struct fail_control {
	_Atomic int kind;
	_Atomic int only_pid; /* 0: any process that maps this */
	_Atomic long countdown;
	_Atomic unsigned burst;  /* how many fail in a row from there on */
	_Atomic unsigned failed; /* how many did */
};

#endif
