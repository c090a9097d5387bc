/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_value.h - texts of a configuration as values: sizes, durations, numbers, names. Pure.
 */
#ifndef BUSD_CONFIG_VALUE_H
#define BUSD_CONFIG_VALUE_H

#include "base/base.h"

/* "4096", "64K", "256M", "1G", "64KiB": powers of 1024. 0 or -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *ret);
/* "500ms", "10s", "2m", "1h", "100us", "5000ns"; a unit is needed, but for 0. */
int config_parse_duration(const char *text, uint64_t *ret_ns);
int config_parse_count(const char *text, uint64_t *ret);
int config_parse_octal(const char *text, uint32_t *ret);
/* true/yes/on, false/no/off */
int config_parse_bool(const char *text, bool *ret);

/* The one of `known` (ended by NULL) that somebody who typed `text` may have meant, or NULL. */
const char *config_nearest(const char *text, const char *const *known);

#endif
