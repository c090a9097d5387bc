/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.c - the sentence that bus_why() gives, one per thread. Allocated on the first failure of a
 * thread: static TLS is scarce in a library that may be loaded late.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/bus_internal.h"

static pthread_key_t why_key;
static pthread_once_t why_once = PTHREAD_ONCE_INIT;
static int why_error;

static void why_init(void)
{
	why_error = pthread_key_create(&why_key, free);
}

static char *why_text(void)
{
	char *text;

	pthread_once(&why_once, why_init);
	if (why_error != 0)
		return NULL;
	text = pthread_getspecific(why_key);
	if (text == NULL) {
		text = calloc(1, CTL_WHY_MAX);
		if (text != NULL && pthread_setspecific(why_key, text) != 0) {
			free(text);
			text = NULL;
		}
	}
	return text;
}

int bus__fail(int err, const char *format, ...)
{
	char *text = why_text();
	va_list ap;

	if (text == NULL)
		return err;
	va_start(ap, format);
	vsnprintf(text, CTL_WHY_MAX, format, ap);
	va_end(ap);
	return err;
}

void bus__why_clear(void)
{
	char *text = why_text();

	if (text != NULL)
		text[0] = '\0';
}

void bus__why_save(char save[CTL_WHY_MAX])
{
	const char *text = why_text();

	snprintf(save, CTL_WHY_MAX, "%s", text != NULL ? text : "");
}

void bus__why_restore(const char save[CTL_WHY_MAX])
{
	char *text = why_text();

	if (text != NULL)
		snprintf(text, CTL_WHY_MAX, "%s", save);
}

const char *bus_why(struct bus *bus)
{
	const char *text = why_text();

	/* kept per thread, so that two threads of one connection do not read each other's */
	(void)bus;
	if (text == NULL)
		return "no memory for the reason";
	return text[0] != '\0' ? text : "no failure recorded";
}
