/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_own.h - what the tool_*.c files need of each other; tools themselves include tool.h.
 */
#ifndef TOOL_OWN_H
#define TOOL_OWN_H

#include "tool.h"

/* "bus-pub"; "bus" before tool_begin(). */
const char *tool_name(void);

/* Closes what tool_close_at_exit() was given, once. */
void tool_close_now(void);

#endif
