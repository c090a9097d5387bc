/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_head.c - writing and reading key and headers. The reading half takes a peer's bytes:
 * every length is checked.
 */
#include "api/message_head.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "format/ring_layout.h"

static uint32_t name_length(const struct bus_header *h)
{
	if (h->name_len != 0)
		return h->name_len;
	return h->name == NULL ? 0 : (uint32_t)strnlen(h->name, 256);
}

int message_head_length(const struct bus_out *out, uint32_t *ret)
{
	uint64_t total = out->key_len;

	if (out->key_len > BUS_KEY_MAX || (out->key_len != 0 && out->key == NULL) ||
	    out->header_count > BUS_HEADERS_MAX ||
	    (out->header_count != 0 && out->headers == NULL) || out->flags != 0)
		return -EINVAL;
	for (uint32_t i = 0; i < out->header_count; i++) {
		const struct bus_header *h = &out->headers[i];
		uint32_t n = name_length(h);

		if (n == 0 || n > 255 || h->value_len > 65535 ||
		    (h->value_len != 0 && h->value == NULL))
			return -EINVAL;
		total += RING_HEADER_FIXED + (uint64_t)n + h->value_len;
	}
	if (total > BUS_HEAD_MAX)
		return -EINVAL;
	*ret = (uint32_t)total;
	return 0;
}

void message_head_write(uint8_t *at, uint32_t head_len, const struct bus_out *out)
{
	uint8_t *end = at + head_len;

	if (out->key_len != 0)
		memcpy(at, out->key, out->key_len);
	at += out->key_len;
	for (uint32_t i = 0; i < out->header_count; i++) {
		const struct bus_header *h = &out->headers[i];
		uint32_t n = name_length(h);

		at[0] = (uint8_t)n;
		at[1] = 0;
		at[2] = (uint8_t)(h->value_len & 0xff);
		at[3] = (uint8_t)(h->value_len >> 8);
		memcpy(at + RING_HEADER_FIXED, h->name, n);
		if (h->value_len != 0)
			memcpy(at + RING_HEADER_FIXED + n, h->value, h->value_len);
		at += RING_HEADER_FIXED + n + h->value_len;
	}
	memset(at, 0, (size_t)(end - at));
}

int bus_msg_header_next(const struct bus_msg *msg, uint32_t *at, struct bus_header *ret)
{
	const uint8_t *p = msg->headers;
	const volatile uint8_t *fixed;
	uint32_t left, name_len, value_len;

	if (p == NULL || *at >= msg->headers_len)
		return 0;
	p += *at;
	left = msg->headers_len - *at;
	if (left < RING_HEADER_FIXED)
		return 0;
	/* each byte is read once: its publisher may change it */
	fixed = (const volatile uint8_t *)p;
	name_len = fixed[0];
	value_len = fixed[2];
	value_len |= (uint32_t)fixed[3] << 8;
	if (name_len == 0 || left - RING_HEADER_FIXED < name_len + value_len)
		return 0;
	*ret = (struct bus_header){ .name = (const char *)p + RING_HEADER_FIXED,
				    .value = p + RING_HEADER_FIXED + name_len,
				    .value_len = value_len,
				    .name_len = name_len };
	*at += RING_HEADER_FIXED + name_len + value_len;
	return 1;
}

int bus_msg_header(const struct bus_msg *msg, const char *name, const void **value,
		   uint32_t *value_len)
{
	size_t n = strlen(name);
	struct bus_header h;
	uint32_t at = 0;

	while (bus_msg_header_next(msg, &at, &h)) {
		if (h.name_len != n || memcmp(h.name, name, n) != 0)
			continue;
		if (value != NULL)
			*value = h.value;
		if (value_len != NULL)
			*value_len = h.value_len;
		return 1;
	}
	return 0;
}

/* FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/ (public domain) */
uint32_t bus_key_hash(const void *key, uint32_t key_len)
{
	const uint8_t *p = key;
	uint32_t hash = 2166136261u;

	for (uint32_t i = 0; i < key_len; i++)
		hash = (hash ^ p[i]) * 16777619u;
	return hash;
}
