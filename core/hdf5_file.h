/* core/hdf5_file.h: the few things this project does with HDF5, each with one line of error text.
 *
 * Files follow netCDF-4's rules: creation order is tracked, no object carries times (so that equal data give equal
 * bytes), every axis of every dataset has a dimension scale, strings are of variable length and UTF-8.
 *
 * HDF5's own error output is switched off; hdf5_fail() appends the deepest reason of its error stack ("File too
 * large", "No space left on device") to the message.  An id is an HDF5 identifier; <= 0 means "not open".            */
#ifndef CORE_HDF5_FILE_H
#define CORE_HDF5_FILE_H

#include <hdf5.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "fmt: reason" with the reason of the last failed HDF5 call; returns -1 as fail() does. */
int hdf5_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Replaces what is at path.  Datasets get no chunk cache: they are written in whole chunks. */
int  hdf5_create(hid_t *file, const char *path);
int  hdf5_open(hid_t *file, const char *path); /* for reading */
/* Flushes and closes; after -1 the file is not whole and hdf5_abandon() is due. */
int  hdf5_close(hid_t *file, const char *path);
/* Empties and closes a file that is being given up and whose name is gone already. */
void hdf5_abandon(hid_t *file);

/* A dimension: the dataset that is its scale, and its length. */
struct hdf5_dim {
    hid_t id;
    hsize_t n;
};

enum { HDF5_MAX_DIMS = 5 };

/* What hdf5_dataset_create() makes.  type: H5T_NATIVE_*, or NULL text: a variable-length UTF-8 string. */
struct hdf5_dataset {
    const char *name, *units, *long_name; /* units, long_name: NULL for none */
    hid_t type;                           /* a native type, stored little-endian; 0: string */
    int n_dims;                           /* 0: a scalar */
    const struct hdf5_dim *dims[HDF5_MAX_DIMS];
    hsize_t chunk[HDF5_MAX_DIMS];         /* chunk[0] 0: contiguous; else chunked, shuffled, gzip 1, dims[0] unlimited */
    const void *fill;                     /* one element: fill value and attribute _FillValue; NULL: none */
};

int  hdf5_dataset_create(hid_t *id, hid_t file, const struct hdf5_dataset *d);
/* A 1-D int32 coordinate 0 .. n-1 named name, which becomes the scale of dim.  growing: n may still be changed. */
int  hdf5_dim_create(struct hdf5_dim *dim, hid_t file, const char *name, const char *long_name, size_t n, bool growing);
void hdf5_id_close(hid_t *id);            /* a dataset's; safe on one that is not open */

/* data: whole dataset, in the memory type `type` (0: const char * [n], as UTF-8). */
int hdf5_dataset_write(hid_t id, hid_t type, const void *data, const char *name);
/* Rows first .. first + n - 1 of the first dimension, everything of the others. */
int hdf5_rows_write(hid_t id, hid_t type, hsize_t first, hsize_t n, const void *data, const char *name);

/* Attributes of an object; scalars. */
int hdf5_attr_text(hid_t id, const char *name, const char *value);
int hdf5_attr_int(hid_t id, const char *name, int64_t value);
int hdf5_attr_float(hid_t id, const char *name, double value);
int hdf5_attr_array(hid_t id, const char *name, hid_t type, size_t n, const void *values); /* 1-D [n] */

/* Reading.  The text's owner is the caller (mem_free); a missing attribute or one of another kind fails. */
bool hdf5_attr_exists(hid_t id, const char *name);
int  hdf5_attr_read_text(hid_t id, const char *name, char **value);
int  hdf5_attr_read_int(hid_t id, const char *name, int64_t *value);

#endif
