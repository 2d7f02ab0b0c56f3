/* core/trace_values.h: datasets of an open trace, between the two files that read them (core/trace_read.c checks a
 * file, core/trace_values.c reads its numbers, core/trace_list.c lists what is there).                       */
#ifndef CORE_TRACE_VALUES_H
#define CORE_TRACE_VALUES_H

#include "core/trace_read.h"
#include "core/trace_vars.h"

#include <hdf5.h>

/* Above what any run can have, and small enough that the size of a slab is checked without overflow. */
enum { TRACE_MAX_LENGTH = 1 << 28 };

hid_t       trace_dataset_open(const struct trace_file *f, const char *name); /* -1 with a message; the caller's H5Dclose */
/* The number of dimensions, their lengths in n [TRACE_MAX_DIMS]; -1 where they are more or longer than can be. */
int         trace_dataset_extent(const struct trace_file *f, hid_t id, const char *name, hsize_t *n);
H5T_class_t trace_dataset_class(hid_t id);
/* The dimensions of a variable that this program writes; those of any other are not known by name (n 0). */
struct trace_dim_list trace_dims_known(const char *name);

#endif
