/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fiber.h - a stack switch of a few instructions. A fiber's whole state is its stack and the stack
 * pointer, so that copying the used part of the stack away and back is taking and restoring a
 * snapshot of it.
 */
#ifndef MODEL_FIBER_H
#define MODEL_FIBER_H

#include <stdint.h>

/*
 * Saves the caller's registers on its stack, stores its stack pointer in *from, and goes on where
 * `to` was saved.
 */
void bus__fiber_switch(void **from, void *to);

/*
 * Prepares a stack so that switching to the returned pointer calls entry(), which must never
 * return.
 */
void *bus__fiber_make(void *stack_top, void (*entry)(void));

#endif
