/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_head.h - key and headers as bytes before the payload: format/ring_layout.h says how they
 * lie. Pure functions.
 */
#ifndef BUS_MESSAGE_HEAD_H
#define BUS_MESSAGE_HEAD_H

#include <bus.h>

/* Bytes of key and headers, unpadded. 0, or -EINVAL where one breaks its limit. */
int message_head_length(const struct bus_out *out, uint32_t *ret);

/* Writes them to `at` and zeroes up to head_len. */
void message_head_write(uint8_t *at, uint32_t head_len, const struct bus_out *out);

#endif
